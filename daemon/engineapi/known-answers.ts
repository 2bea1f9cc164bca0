/**
 * Answers of lists as bytes, for as long as nothing has changed: commands and dashboards ask for the same again and again. Knows
 * nothing of what they say; who keeps one vouches that it follows from the state of the cluster alone.
 */

/** Of different questions to one state. */
const ANSWERS_MAX = 16;
/** A larger answer costs its making little beside its way to the client. */
const ANSWER_BYTES_MAX = 1 << 20;

interface Known {
  readonly revision: number;
  readonly byQuestion: Map<string, Buffer>;
}

/** INVARIANT: holds answers of one revision of each state, and none of a state that is gone. */
export class KnownAnswers {
  readonly #known = new WeakMap<object, Known>();

  /** null = it is to be made. @param state whose revision it is: that of another cluster counts from the beginning */
  get(state: object, revision: number, question: string): Buffer | null {
    const known = this.#known.get(state);
    return known?.revision === revision ? (known.byQuestion.get(question) ?? null) : null;
  }

  /** The bytes to send. @param revision of what was read for it */
  keep(state: object, revision: number, question: string, json: string): Buffer {
    const bytes = Buffer.from(`${json}\n`);
    let known = this.#known.get(state);
    if (!known || known.revision < revision) {
      known = { revision, byQuestion: new Map() };
      this.#known.set(state, known);
    }
    const hasRoom = known.byQuestion.size < ANSWERS_MAX && bytes.length <= ANSWER_BYTES_MAX;
    if (known.revision === revision && hasRoom) known.byQuestion.set(question, bytes);
    return bytes;
  }
}
