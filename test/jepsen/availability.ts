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
 * The longest time in which nothing succeeded while one and the same serving set was whole; null when
 * there was never one. A set begins to count when it becomes whole. `successesMs` ascending.
 * Nothing after `endMs` counts: while the last fault is mended nobody asks any more.
 */
export function longestOutage(
  changes: readonly ReachChange[],
  successesMs: readonly number[],
  endMs: number,
): Span | null {
  let longest: Span | null = null;
  let since = new Map<string, number>();
  let lastSuccessMs = Number.NEGATIVE_INFINITY;
  /** No success between `lastSuccessMs` and `toMs`. */
  const close = (toMs: number): void => {
    if (since.size === 0) return;
    const fromMs = Math.max(lastSuccessMs, Math.min(...since.values()));
    if (longest === null || toMs - fromMs > longest.toMs - longest.fromMs) {
      longest = { fromMs, toMs };
    }
  };
  let next = 0;
  const during = changes.filter(({ atMs }) => atMs < endMs);
  for (const { atMs, reach } of [...during, { atMs: endMs, reach: null }]) {
    for (; next < successesMs.length && successesMs[next]! <= atMs; next++) {
      close(successesMs[next]!);
      lastSuccessMs = successesMs[next]!;
    }
    close(atMs);
    if (reach === null) break;
    const sets = servingSets(reach).map((set) => set.join(' '));
    since = new Map(sets.map((set) => [set, since.get(set) ?? atMs]));
  }
  return longest;
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
