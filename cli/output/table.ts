/** Columns as Docker prints them: three blanks between, ten characters at least, the last one ragged. */

const CELL_CHARS_MIN = 10;
const GAP = 3;

/** One line per row, each ended by a newline; the first row is the header. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: Math.max(0, columns - 1) }, (_, column) =>
    Math.max(CELL_CHARS_MIN, ...rows.map((row) => (row[column]?.length ?? 0) + GAP)),
  );
  return rows
    .map((row) => `${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('')}\n`)
    .join('');
}

/** A text cut to `max` characters, the last of them an ellipsis. */
export function ellipsis(text: string, max: number): string {
  if (text.length <= max) return text;
  return max <= 1 ? text.slice(0, max) : `${text.slice(0, max - 1)}…`;
}

/** Names in the order people expect: `web.2` before `web.10`. */
export function naturalCompare(a: string, b: string): number {
  const split = (text: string): string[] => text.split(/(\d+)/);
  const [left, right] = [split(a), split(b)];
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const [x, y] = [left[at] ?? '', right[at] ?? ''];
    if (x === y) continue;
    const numeric = at % 2 === 1 && x !== '' && y !== '';
    const order = numeric ? Number(x) - Number(y) : x < y ? -1 : 1;
    if (order !== 0) return order;
  }
  return 0;
}
