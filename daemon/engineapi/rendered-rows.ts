/**
 * JSON texts of objects that lists show again and again: dashboards and `docker service ps` ask for the same rows many times
 * a second. Objects of the store do not change, so that a text is as good as its object. Knows nothing of what they are.
 */

/** Of each of the two generations. A row of a task is some 1.5 KB. */
const ROWS_MAX = 4_096;

interface Row {
  readonly text: string;
  /** what else the text is made of, by identity */
  readonly parts: readonly unknown[];
}

/** INVARIANT: holds at most the last 2 * ROWS_MAX rows that were asked for. */
export class RenderedRows<T extends object> {
  readonly #rowsMax: number;
  #young = new Map<T, Row>();
  #old = new Map<T, Row>();

  constructor(rowsMax = ROWS_MAX) {
    this.#rowsMax = rowsMax;
  }

  /** @param parts what the JSON is made of beside the object: one that is another makes it anew */
  text(object: T, parts: readonly unknown[], toJson: (object: T) => object): string {
    const known = this.#young.get(object);
    if (known && isSame(known.parts, parts)) return known.text;
    const old = this.#old.get(object);
    const row =
      old && isSame(old.parts, parts) ? old : { text: JSON.stringify(toJson(object)), parts };
    if (this.#young.size >= this.#rowsMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(object, row);
    return row.text;
  }
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((part, index) => part === b[index]);
}

/** The text of an object with one more field at its end. */
export function withField(text: string, name: string, value: object): string {
  return `${text.slice(0, -1)},${JSON.stringify(name)}:${JSON.stringify(value)}}`;
}

export function arrayOf(texts: readonly string[]): string {
  return `[${texts.join(',')}]`;
}
