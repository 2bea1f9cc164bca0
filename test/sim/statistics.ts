/** What was done and what came of it, as counts that can be added up. */

export class Statistics {
  readonly counts = new Map<string, number>();

  add(name: string, by = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + by);
  }

  get(name: string): number {
    return this.counts.get(name) ?? 0;
  }

  merge(other: Iterable<readonly [string, number]>): void {
    for (const [name, count] of other) this.add(name, count);
  }

  /** `name count` pairs whose names begin with `prefix`, without it, by name. */
  under(prefix: string): [string, number][] {
    return [...this.counts]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, count]): [string, number] => [name.slice(prefix.length), count])
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }
}
