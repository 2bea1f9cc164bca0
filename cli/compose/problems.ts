/**
 * What is wrong with a stack file, and where: file, line, column, the line itself with a caret, the
 * nearest known word. Knows text and positions, not what keys mean.
 */

export interface Problem {
  readonly source: SourceText;
  /** from 1 */
  readonly line: number;
  /** from 1, in characters */
  readonly column: number;
  /** how many characters to underline, >= 1 */
  readonly length: number;
  readonly message: string;
}

/** problems */
const SHOWN_MAX = 20;
/** characters of a line; of a longer one, those around the problem are shown */
const SHOWN_LINE_MAX = 200;
/** characters */
const MESSAGE_MAX = 400;

/** Stack files that cannot be used. The message names every problem found, file by file. */
export class StackFileError extends Error {
  override readonly name = 'StackFileError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const sorted = sortProblems(problems);
    const shown = sorted.slice(0, SHOWN_MAX).map((problem) => problem.source.render(problem));
    const rest = sorted.length - shown.length;
    super([...shown, ...(rest > 0 ? [`and ${rest} more problems`] : [])].join('\n'));
    this.problems = sorted;
  }
}

/** By file in the order of their first problems, then by place; each once. */
function sortProblems(problems: readonly Problem[]): Problem[] {
  const files = [...new Set(problems.map(({ source }) => source))];
  const seen = new Set<string>();
  return problems
    .filter(({ source, line, column, message }) => {
      const key = `${files.indexOf(source)}:${line}:${column}:${message}`;
      return !seen.has(key) && seen.add(key);
    })
    .sort(
      (a, b) =>
        files.indexOf(a.source) - files.indexOf(b.source) || a.line - b.line || a.column - b.column,
    );
}

/** A stretch of the text of a file. */
export interface Place {
  readonly source: SourceText;
  /** offsets of characters: from, and up to but not with */
  readonly start: number;
  readonly end: number;
}

/** `file:line:column` */
export function shownPlace({ source, start }: Place): string {
  const { line, column } = source.position(Math.min(start, source.text.length));
  return `${source.path}:${line}:${column}`;
}

/** A problem of at least one character, underlined up to the end of its line at most. */
export function problemAt({ source, start, end }: Place, message: string): Problem {
  const { line, column } = source.position(Math.min(start, source.text.length));
  const lineEnd = source.line(line).length + 1;
  const length = Math.max(1, Math.min(end - start, lineEnd - column));
  return { source, line, column, length, message };
}

/** The text of a file and where its lines begin. */
export class SourceText {
  /** as the user named it */
  readonly path: string;
  readonly text: string;
  readonly #starts: readonly number[];

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
    const starts = [0];
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
    this.#starts = starts;
  }

  /** Where a character offset is, both from 1. */
  position(offset: number): { readonly line: number; readonly column: number } {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - this.#starts[low]! + 1 };
  }

  /** @param line from 1 */
  line(line: number): string {
    const end = this.#starts[line] ?? this.text.length + 1;
    return this.text.slice(this.#starts[line - 1] ?? 0, end - 1).replace(/\r$/, '');
  }

  get lineCount(): number {
    return this.#starts.length;
  }

  render({ line, column, length, message }: Problem): string {
    const whole = this.line(line);
    const start = whole.length > SHOWN_LINE_MAX ? Math.max(0, column - SHOWN_LINE_MAX / 2) : 0;
    // Odd blanks are shown as plain ones, so that the caret stands under what it means.
    const shown = whole.slice(start, start + SHOWN_LINE_MAX).replace(/[\t\u00a0]/g, ' ');
    const number = String(line);
    const at = column - 1 - start;
    const caret = '^'.repeat(Math.max(1, Math.min(length, shown.length - at)));
    return [
      `${this.path}:${line}:${column}: ${cropped(message)}`,
      `  ${number} | ${shown}`,
      `  ${' '.repeat(number.length)} | ${' '.repeat(at)}${caret}`,
    ].join('\n');
  }
}

/** A value may be a whole file. */
function cropped(message: string): string {
  if (message.length <= MESSAGE_MAX) return message;
  return `${message.slice(0, MESSAGE_MAX / 2)} ... ${message.slice(-MESSAGE_MAX / 2)}`;
}

/** Shorter beginnings are those of too many words. */
const BEGINNING_MIN = 3;

/** The word of `known` that `word` is most likely meant to be, or begins; null when none is near. */
export function nearestWord(word: string, known: readonly string[]): string | null {
  const limit = Math.max(1, Math.floor(word.length / 3));
  let best: string | null = null;
  let bestDistance = limit + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best ?? shortestBeginningWith(word.toLowerCase(), known);
}

function shortestBeginningWith(start: string, known: readonly string[]): string | null {
  if (start.length < BEGINNING_MIN) return null;
  const longer = known.filter((candidate) => candidate.startsWith(start));
  return longer.sort((a, b) => a.length - b.length)[0] ?? null;
}

/** Insertions, removals, replacements and swaps of neighbours (restricted Damerau-Levenshtein). */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        last[column]! + 1,
        current[column - 1]! + 1,
        last[column - 1]! + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, before[column - 2]! + 1);
      }
      current.push(cost);
    }
    before = last;
    last = current;
  }
  return last[b.length]!;
}
