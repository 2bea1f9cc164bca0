/** The size of a terminal as clients tell it: `ConsoleSize`, and the query of a `resize`. */
import { SkepError } from '../../../common/base/errors.ts';
import type { RequestContext } from '../http-context.ts';
import type { JsonReader } from './reader.ts';

/** `struct winsize` has 16 bits for each. */
const CELLS_MAX = 0xffff;

type Size = readonly [rows: number, columns: number];

/** null = nobody said. Throws `invalid-argument` for one that no terminal has. */
export function consoleSizeFromJson(json: JsonReader): Size | null {
  const [rows, columns] = json.integers('ConsoleSize');
  if (rows === undefined || columns === undefined) return null;
  const size = requireSize(rows, columns);
  return rows > 0 && columns > 0 ? size : null;
}

/** Throws `invalid-argument`. */
export function consoleSizeOf(context: Pick<RequestContext, 'integer'>): Size {
  return requireSize(context.integer('h'), context.integer('w'));
}

function requireSize(rows: number, columns: number): Size {
  for (const cells of [rows, columns]) {
    if (cells >= 0 && cells <= CELLS_MAX) continue;
    const words = `size of a terminal: ${cells} is not between 0 and ${CELLS_MAX}`;
    throw new SkepError('invalid-argument', words);
  }
  return [rows, columns];
}
