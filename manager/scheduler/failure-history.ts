/** Recent failures of tasks by node: they make a node second choice for tasks that are alike. */

/** Failures older than this are forgiven; both numbers are Swarm's. */
export const FAILURE_WINDOW_MS = 5 * 60_000;
/** So many recent failures make a node second choice. */
export const FAILURES_TOLERATED = 5;
/** Newest kept for each kind of task and node; more make no difference. */
export const FAILURES_KEPT_MAX = 64;
/** Kinds of tasks kept; then those without a recent failure are dropped. */
const KINDS_MAX = 1_000;

export class FailureHistory {
  /** service and spec version -> node index -> times, oldest first */
  readonly #kinds = new Map<string, Map<number, number[]>>();

  note(kind: string, index: number, nowMs: number): void {
    if (!this.#kinds.has(kind) && this.#kinds.size >= KINDS_MAX) this.#sweep(nowMs);
    const nodes = this.#kinds.get(kind) ?? new Map<number, number[]>();
    this.#kinds.set(kind, nodes);
    const times = nodes.get(index);
    if (!times) nodes.set(index, [nowMs]);
    else if (times.push(nowMs) > FAILURES_KEPT_MAX) times.shift();
  }

  /** Failures within the window, of the nodes where they are too many to be tolerated. */
  recent(kind: string, nowMs: number): ReadonlyMap<number, number> {
    const nodes = this.#kinds.get(kind);
    const counts = new Map<number, number>();
    for (const [index, times] of nodes ?? []) {
      while (times.length > 0 && isOld(times[0]!, nowMs)) times.shift();
      if (times.length === 0) nodes!.delete(index);
      if (times.length >= FAILURES_TOLERATED) counts.set(index, times.length);
    }
    if (nodes?.size === 0) this.#kinds.delete(kind);
    return counts;
  }

  /** The index will be another node's. */
  forgetNode(index: number): void {
    for (const nodes of this.#kinds.values()) nodes.delete(index);
  }

  #sweep(nowMs: number): void {
    for (const [kind, nodes] of this.#kinds) {
      if ([...nodes.values()].every((times) => isOld(times.at(-1)!, nowMs))) {
        this.#kinds.delete(kind);
      }
    }
  }
}

function isOld(timeMs: number, nowMs: number): boolean {
  return timeMs <= nowMs - FAILURE_WINDOW_MS;
}
