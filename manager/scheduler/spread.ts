/**
 * Which of the nodes that pass gets the next task: fewest recent failures, then fewest tasks of the
 * service, then fewest tasks (swarm-behaviour 3.3). A heap, since one placement moves one node only.
 */
import type { ServiceId } from '../../common/model/ids.ts';
import { FAILURES_TOLERATED, type NodeEntry } from './node-entry.ts';

/** Gives out nodes one by one. */
export interface NodeSource {
  /** The best node, which `book` then changes; null when none is left. */
  placeOn(book: (entry: NodeEntry) => void): NodeEntry | null;
}

interface Candidate {
  readonly entry: NodeEntry;
  /** recent failures; 0 while they are tolerated */
  readonly failures: number;
}

/** INVARIANT: every candidate is at least as good as its children, by the entries' present counts. */
export class SpreadHeap implements NodeSource {
  readonly #serviceId: ServiceId;
  readonly #passes: (entry: NodeEntry) => boolean;
  readonly #heap: Candidate[];

  /** @param entries nodes that pass now */
  constructor(
    entries: Iterable<NodeEntry>,
    serviceId: ServiceId,
    passes: (entry: NodeEntry) => boolean,
    recentFailures: (entry: NodeEntry) => number,
  ) {
    this.#serviceId = serviceId;
    this.#passes = passes;
    this.#heap = [];
    for (const entry of entries) {
      const failures = recentFailures(entry);
      this.#heap.push({ entry, failures: failures >= FAILURES_TOLERATED ? failures : 0 });
    }
    for (let i = (this.#heap.length >>> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  placeOn(book: (entry: NodeEntry) => void): NodeEntry | null {
    const best = this.#heap[0];
    if (!best) return null;
    book(best.entry);
    if (!this.#passes(best.entry)) this.#removeFirst();
    this.#sink(0);
    return best.entry;
  }

  #removeFirst(): void {
    const last = this.#heap.pop()!;
    if (this.#heap.length > 0) this.#heap[0] = last;
  }

  #sink(start: number): void {
    const heap = this.#heap;
    for (let i = start; ; ) {
      const left = 2 * i + 1;
      let smallest = i;
      if (left < heap.length && this.#isBetter(left, smallest)) smallest = left;
      if (left + 1 < heap.length && this.#isBetter(left + 1, smallest)) smallest = left + 1;
      if (smallest === i) return;
      [heap[i], heap[smallest]] = [heap[smallest]!, heap[i]!];
      i = smallest;
    }
  }

  #isBetter(a: number, b: number): boolean {
    const [first, second] = [this.#heap[a]!, this.#heap[b]!];
    const order =
      first.failures - second.failures ||
      first.entry.activeOf(this.#serviceId) - second.entry.activeOf(this.#serviceId) ||
      first.entry.activeTasks - second.entry.activeTasks ||
      first.entry.index - second.entry.index;
    return order < 0;
  }
}
