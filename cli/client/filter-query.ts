/** Filters as the Engine API takes them. Pure. */

/** Filter name -> its values. */
export type FilterMap = Readonly<Record<string, readonly string[]>>;

/** The `filters` query value; undefined when there is none. */
export function encodeFilters(filters: FilterMap | undefined): string | undefined {
  const entries = Object.entries(filters ?? {}).filter(([, values]) => values.length > 0);
  if (entries.length === 0) return undefined;
  return JSON.stringify(
    Object.fromEntries(
      entries.map(([name, values]) => [name, Object.fromEntries(values.map((v) => [v, true]))]),
    ),
  );
}
