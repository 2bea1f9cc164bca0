/**
 * Blanks that look like indentation and are none: tabs, no-break spaces and their kin. Finds them,
 * and mends a text that is full of them (pasted from a web page or a document).
 */
import type { SourceText } from './problems.ts';

const NAMES: Readonly<Record<string, string>> = {
  '\t': 'tab',
  '\u00a0': 'no-break space (U+00A0)',
  '\u2002': 'en space (U+2002)',
  '\u2003': 'em space (U+2003)',
  '\u2009': 'thin space (U+2009)',
  '\u202f': 'narrow no-break space (U+202F)',
  '\u3000': 'ideographic space (U+3000)',
};
const ODD = `\\t\\u00a0\\u2002\\u2003\\u2009\\u202f\\u3000`;
const INDENTATION = new RegExp(`^[ ${ODD}]*`);
/** After the dash of a list or the colon of a key; tabs are separators there, and no mistake. */
const SEPARATION = new RegExp(
  `^(?:- *)*(?:-|"[^"]*":|'[^']*':|[\\w.<-]+:)[ ${ODD}]*[${ODD.replace('\\t', '')}][ ${ODD}]*`,
);
const BLOCK_TEXT = /(?:^|[\s:-])[|>][-+\d]*\s*(?:#.*)?$/;
const FALLBACK_STEP = 2;

/** A stretch of blanks that YAML does not take as such. */
export interface OddBlanks {
  /** from 1 */
  readonly line: number;
  /** from 1 */
  readonly column: number;
  readonly length: number;
  /** of the first one */
  readonly name: string;
  readonly where: 'indentation' | 'separation';
}

/** Lines of block texts (`key: |`) may hold what they like after their own spaces. */
export function findOddBlanks(source: SourceText): OddBlanks[] {
  const found: OddBlanks[] = [];
  let blockIndent: number | null = null;
  for (let line = 1; line <= source.lineCount; line++) {
    const text = source.line(line);
    const indent = INDENTATION.exec(text)![0];
    const rest = text.slice(indent.length);
    if (rest === '') continue;
    const spaces = /^ */.exec(text)![0].length;
    if (blockIndent !== null && spaces > blockIndent) continue;
    blockIndent = BLOCK_TEXT.test(rest) ? spaces : null;
    if (rest.startsWith('#')) continue;
    const inIndent = oddOf(indent, 0, line, 'indentation');
    if (inIndent) found.push(inIndent);
    const separated = SEPARATION.exec(rest)?.[0];
    if (separated === undefined) continue;
    const blanks = /[\s]*$/.exec(separated)![0];
    const start = indent.length + separated.length - blanks.length;
    const inSeparation = oddOf(blanks, start, line, 'separation');
    if (inSeparation) found.push(inSeparation);
  }
  return found;
}

function oddOf(
  blanks: string,
  start: number,
  line: number,
  where: OddBlanks['where'],
): OddBlanks | null {
  const at = [...blanks].findIndex((char) => char in NAMES);
  if (at < 0) return null;
  return {
    line,
    column: start + at + 1,
    length: blanks.length - at,
    name: NAMES[blanks[at]!]!,
    where,
  };
}

export interface Mended {
  readonly text: string;
  /** one line for each place that is read differently, without the file's name */
  readonly notes: readonly string[];
}

/** A tab goes to the next multiple of the file's own step; any other odd blank is one space. */
export function mendBlanks(source: SourceText): Mended {
  const odd = findOddBlanks(source);
  const step = indentationStep(source);
  const lines = source.text.split('\n');
  const notes: string[] = [];
  // From the end, so that the columns of what comes before stay true.
  for (const { line, column, length, name, where } of [...odd].reverse()) {
    const text = lines[line - 1]!;
    let mended = text.slice(0, column - 1);
    for (const char of text.slice(column - 1, column - 1 + length)) {
      mended += char === '\t' ? ' '.repeat(step - (mended.length % step)) : ' ';
    }
    lines[line - 1] = mended + text.slice(column - 1 + length);
    const spaces = mended.length - column + 1;
    const read = `${spaces} space${spaces === 1 ? '' : 's'}`;
    notes.unshift(`${line}:${column}: ${name} as ${where} is read as ${read}`);
  }
  return { text: lines.join('\n'), notes };
}

/** The least indentation by spaces alone. */
function indentationStep(source: SourceText): number {
  let least = Number.POSITIVE_INFINITY;
  for (let line = 1; line <= source.lineCount; line++) {
    const spaces = /^ +(?=[^\s#])/.exec(source.line(line))?.[0].length;
    if (spaces !== undefined && spaces > 1) least = Math.min(least, spaces);
  }
  return Number.isFinite(least) ? least : FALLBACK_STEP;
}
