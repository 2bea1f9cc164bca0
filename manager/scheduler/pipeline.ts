/** The filters that concern tasks that are alike, as one question to a node. */
import { keepShape } from '../../common/base/kept-shapes.ts';
import type { Task } from '../../common/model/task.ts';
import type { Filter, NodeCheck } from './filter.ts';
import { FILTERS } from './filters.ts';
import type { NodeSet } from './node-set.ts';
import { NodeTable } from './node-table.ts';

/** A filter that concerns the task; `number` is its place in FILTERS, counted from 1. */
export interface Stage {
  readonly number: number;
  readonly filter: Filter;
  readonly check: NodeCheck;
}

/** The filters that concern the task, by the table's networks of this moment. */
export function stagesOf(task: Task, table: NodeTable): readonly Stage[] {
  return FILTERS.flatMap((filter, at) => {
    const check = filter.prepare(task, table);
    return check ? [{ number: at + 1, filter, check }] : [];
  });
}

function looksAtNode({ filter }: Stage): boolean {
  return filter.looksAt === 'node';
}

/** A part of what a pipeline with these stages would begin with: see NodeSets.prepare. */
export function preparePipeline(stages: readonly Stage[], table: NodeTable): boolean {
  return table.sets.prepare(stages.filter(looksAtNode));
}

/**
 * What the table says at this moment, each time it is asked. A verdict is the number of the first filter
 * that refuses; 0 = the task could run there.
 */
export class Pipeline {
  readonly stages: readonly Stage[];
  readonly #table: NodeTable;
  readonly #set: NodeSet;
  readonly #load: readonly Stage[];

  /** @param stages of the tasks, as `stagesOf` answered in this turn: some take a while to make ready */
  constructor(table: NodeTable, stages: readonly Stage[]) {
    this.#table = table;
    this.stages = stages;
    this.#load = this.stages.filter(({ filter }) => filter.looksAt === 'load');
    this.#set = table.sets.get(this.stages.filter(looksAtNode));
  }

  /** Brings what is remembered of nodes up to date; to be called after the table changed. */
  refresh(): void {
    this.#table.sets.refresh(this.#set);
  }

  /** Indexes of the nodes that pass but for the tasks there, ascending. */
  candidates(): Int32Array {
    return this.#set.members();
  }

  passes(index: number): boolean {
    return this.#set.passes(index) && this.hasRoom(index);
  }

  /** Whether the tasks there leave room for one more. */
  hasRoom(index: number): boolean {
    for (const { check } of this.#load) if (!check.passes(index)) return false;
    return true;
  }

  verdict(index: number): number {
    const byNode = this.#set.verdict(index);
    for (const { number, check } of this.#load) {
      if (byNode !== 0 && byNode < number) return byNode;
      if (!check.passes(index)) return number;
    }
    return byNode;
  }
}

keepShape(new Pipeline(new NodeTable(), []));
