/**
 * JSON texts of objects that lists show again and again: dashboards and `docker service ps` ask for the same rows many times
 * a second. One version of an object of the store does not change, so that its text is as good. Knows nothing of what they are.
 */

/** Of each of the two generations. A row of a task is some 1.5 KB. */
const ROWS_MAX = 4_096;

interface Row {
  readonly text: string;
  readonly parts: readonly (string | number)[];
}

/** INVARIANT: holds at most the last 2 * ROWS_MAX rows that were asked for, of each object one, and no objects. */
export class RenderedRows {
  readonly #rowsMax: number;
  #young = new Map<string, Row>();
  #old = new Map<string, Row>();

  constructor(rowsMax = ROWS_MAX) {
    this.#rowsMax = rowsMax;
  }

  /**
   * @param id of the object
   * @param parts what the JSON is made of, by value: the object's version, and what it shows besides. One that is another
   *   makes it anew. No objects: users are shown copies without credentials, each time others.
   */
  text(id: string, parts: readonly (string | number)[], toJson: () => object): string {
    const known = this.#young.get(id);
    if (known && isSame(known.parts, parts)) return known.text;
    const old = this.#old.get(id);
    const row = old && isSame(old.parts, parts) ? old : { text: JSON.stringify(toJson()), parts };
    if (this.#young.size >= this.#rowsMax && !known) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#old.delete(id);
    this.#young.set(id, row);
    return row.text;
  }
}

function isSame<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((part, index) => part === b[index]);
}

/** The text of an object with one more field at its end. */
export function withField(text: string, name: string, value: object): string {
  return `${text.slice(0, -1)},${JSON.stringify(name)}:${JSON.stringify(value)}}`;
}

export function arrayOf(texts: readonly string[]): string {
  return `[${texts.join(',')}]`;
}
