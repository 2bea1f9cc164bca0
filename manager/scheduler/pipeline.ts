/** The filters that concern one task, as one question to a node, and the words for a refusal by all. */
import type { NodeId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import type { Filter, NodeCheck } from './filter.ts';
import { FILTERS } from './filters.ts';
import type { NodeEntry } from './node-entry.ts';
import type { NodeTable } from './node-table.ts';

/** What one node says to a task: null = it could run there. */
export interface NodeVerdict {
  readonly nodeId: NodeId;
  readonly refusal: { readonly filter: string; readonly detail: string } | null;
}

export class Pipeline {
  readonly #stages: readonly { readonly filter: Filter; readonly check: NodeCheck }[];

  constructor(task: Task, table: NodeTable) {
    this.#stages = FILTERS.flatMap((filter) => {
      const check = filter.prepare(task, table);
      return check ? [{ filter, check }] : [];
    });
  }

  passes(entry: NodeEntry): boolean {
    return this.#stages.every(({ check }) => check.passes(entry));
  }

  /** Each node's own answer, for `service explain`. */
  verdict(entry: NodeEntry): NodeVerdict {
    const stage = this.#stages.find(({ check }) => !check.passes(entry));
    const refusal = stage ? { filter: stage.filter.name, detail: stage.check.detail(entry) } : null;
    return { nodeId: entry.node.id, refusal };
  }

  /** Why none of `entries` will do: the filters' clauses, most refusals first. */
  explain(entries: Iterable<NodeEntry>): string {
    const refusals = new Map<Filter, number>();
    for (const { filter } of this.#stages) refusals.set(filter, 0);
    for (const entry of entries) {
      const stage = this.#stages.find(({ check }) => !check.passes(entry));
      if (stage) refusals.set(stage.filter, refusals.get(stage.filter)! + 1);
    }
    return [...refusals]
      .filter(([, nodes]) => nodes > 0)
      .sort(([, a], [, b]) => b - a)
      .map(([filter, nodes]) => filter.explain(nodes))
      .join('; ');
  }
}

/** Every node's verdict on `task`, in the table's order. */
export function explainPlacement(table: NodeTable, task: Task): NodeVerdict[] {
  const pipeline = new Pipeline(task, table);
  return [...table.entries].map((entry) => pipeline.verdict(entry));
}
