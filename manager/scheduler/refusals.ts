/** Why no node will do for tasks that are alike: how many nodes each filter refused, and which. */
import { FILTERS } from './filters.ts';
import type { NodeTable } from './node-table.ts';
import type { Pipeline } from './pipeline.ts';

/** How many nodes a filter refused. */
export interface PendingReason {
  readonly filter: string;
  readonly nodes: number;
}

/** Index has no node. */
const NOBODY = 255;

/** Kept while tasks wait, and brought up to date node by node. */
export class Refusals {
  readonly #table: NodeTable;
  readonly #pipeline: Pipeline;
  #verdicts: Uint8Array;
  /** by filter number; [0] = nodes that pass */
  readonly #counts = new Int32Array(FILTERS.length + 1);

  constructor(table: NodeTable, pipeline: Pipeline) {
    this.#table = table;
    this.#pipeline = pipeline;
    this.#verdicts = new Uint8Array(table.slots).fill(NOBODY);
    for (let index = 0; index < table.slots; index++) this.#judge(index);
  }

  /** Asks nodes that changed again; true when one of them would do now. */
  review(indexes: Iterable<number>): boolean {
    this.#pipeline.refresh();
    for (const index of indexes) this.#judge(index);
    return this.#counts[0]! > 0;
  }

  /** Most nodes first, equal ones in the order of the filters. */
  reasons(): PendingReason[] {
    return FILTERS.map(({ name }, at) => ({ filter: name, nodes: this.#counts[at + 1]! }))
      .filter(({ nodes }) => nodes > 0)
      .sort((a, b) => b.nodes - a.nodes);
  }

  /** For the status of a task. */
  explanation(): string {
    return explain(this.reasons());
  }

  #judge(index: number): void {
    if (index >= this.#verdicts.length) this.#grow();
    const before = this.#verdicts[index]!;
    const now = this.#table.nodeAt(index) ? this.#pipeline.verdict(index) : NOBODY;
    if (before !== NOBODY) this.#counts[before]!--;
    if (now !== NOBODY) this.#counts[now]!++;
    this.#verdicts[index] = now;
  }

  #grow(): void {
    const grown = new Uint8Array(this.#table.slots * 2).fill(NOBODY);
    grown.set(this.#verdicts);
    this.#verdicts = grown;
  }
}

/** The filters' clauses, in Swarm's words. */
export function explain(reasons: readonly PendingReason[]): string {
  return reasons
    .map(({ filter, nodes }) => FILTERS.find(({ name }) => name === filter)!.explain(nodes))
    .join('; ');
}

export function noSuitableNode(explanation: string): string {
  return explanation === '' ? 'no suitable node' : `no suitable node (${explanation})`;
}
