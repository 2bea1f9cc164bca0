/**
 * When a cluster had to answer, and how long it did not. Pure: what was up and connected over time, and
 * when operations succeeded, in; spans out.
 *
 * A cluster has to answer while some majority of its voters are up and every two of them can talk both
 * ways. What was broken, impaired or starting counts as down, from just before it was touched until it
 * was whole again. While the voters change, a majority of the old and of the new ones is needed.
 */

export interface Reach {
  /** Hosts whose daemon runs and answers. */
  readonly up: readonly string[];
  /** `a>b`: what a sends may not reach b. */
  readonly cut: readonly string[];
  /** The voters; several lists while it is not known which one holds. */
  readonly voters: readonly (readonly string[])[];
}

export interface ReachChange {
  readonly atMs: number;
  readonly reach: Reach;
}

export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Every set of hosts that could serve, as sorted names. Smaller ones are in larger ones, all are told. */
export function servingSets({ up, cut, voters }: Reach): string[][] {
  const broken = new Set(cut);
  const hosts = [...up].sort();
  const sets: string[][] = [];
  for (let mask = 1; mask < 2 ** hosts.length; mask++) {
    const members = hosts.filter((_, bit) => mask & (1 << bit));
    const isMajority = voters.every(
      (config) => config.filter((host) => members.includes(host)).length * 2 > config.length,
    );
    if (!isMajority) continue;
    const isWhole = members.every((a) => members.every((b) => a === b || !broken.has(`${a}>${b}`)));
    if (isWhole) sets.push(members);
  }
  return sets;
}

/**
 * Watches one run: the longest time in which nothing succeeded while one and the same serving set was
 * whole. A set begins to count when it becomes whole. Times must not fall from one call to the next.
 */
export class OutageWatch {
  /** When each set that can serve now became whole. */
  #since = new Map<string, number>();
  #lastSuccessMs = Number.NEGATIVE_INFINITY;
  #longest: Span | null = null;

  /** Null when there was never a serving set. */
  get longest(): Span | null {
    return this.#longest;
  }

  reach(atMs: number, reach: Reach): void {
    this.look(atMs);
    const sets = servingSets(reach).map((set) => set.join(' '));
    this.#since = new Map(sets.map((set) => [set, this.#since.get(set) ?? atMs]));
  }

  success(atMs: number): void {
    this.look(atMs);
    this.#lastSuccessMs = atMs;
  }

  /** For how long nothing has succeeded, though something should have. */
  look(nowMs: number): number {
    if (this.#since.size === 0) return 0;
    const fromMs = Math.max(this.#lastSuccessMs, Math.min(...this.#since.values()));
    const lastedMs = nowMs - fromMs;
    if (this.#longest === null || lastedMs > this.#longest.toMs - this.#longest.fromMs) {
      this.#longest = { fromMs, toMs: nowMs };
    }
    return lastedMs;
  }
}

/**
 * What an `OutageWatch` would have seen. `successesMs` ascending. Nothing after `endMs` counts: while
 * the last fault is mended nobody asks any more.
 */
export function longestOutage(
  changes: readonly ReachChange[],
  successesMs: readonly number[],
  endMs: number,
): Span | null {
  const watch = new OutageWatch();
  let next = 0;
  const successesUpTo = (atMs: number): void => {
    for (; next < successesMs.length && successesMs[next]! <= atMs; next++) {
      watch.success(successesMs[next]!);
    }
  };
  for (const { atMs, reach } of changes.filter((change) => change.atMs < endMs)) {
    successesUpTo(atMs);
    watch.reach(atMs, reach);
  }
  successesUpTo(endMs);
  watch.look(endMs);
  return watch.longest;
}

/** How much of `span` lies in `spans`, which do not overlap one another. */
export function overlapMs(span: Span, spans: readonly Span[]): number {
  return spans.reduce((sum, { fromMs, toMs }) => {
    return sum + Math.max(0, Math.min(toMs, span.toMs) - Math.max(fromMs, span.fromMs));
  }, 0);
}

/** Spans that overlap or touch become one; ascending. */
export function mergeSpans(spans: readonly Span[]): Span[] {
  const merged: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.fromMs - b.fromMs)) {
    const last = merged.at(-1);
    if (last && span.fromMs <= last.toMs) {
      merged[merged.length - 1] = { ...last, toMs: Math.max(last.toMs, span.toMs) };
    } else merged.push(span);
  }
  return merged;
}
