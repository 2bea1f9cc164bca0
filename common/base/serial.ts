/** Work that must not overlap: one piece after another, in the order in which it was handed in. */
export class Serial {
  #tail: Promise<unknown> = Promise.resolve();

  /** Settles as `work` does, which runs when all that was handed in before has ended, well or not. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => {}); // its caller sees the failure; the next one goes on
    return result;
  }

  /** Resolves when what was handed in so far has ended. Never rejects. */
  async idle(): Promise<void> {
    await this.#tail;
  }
}
