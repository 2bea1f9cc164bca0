/** The outputs of a command, written to as fast as they are read: what a reader does not take stays where it comes from. */
import { once } from 'node:events';
import type { CommandContext } from './context.ts';

type Name = 'stdout' | 'stderr';

/** For any number of writers at once. */
export class PacedOutput {
  readonly #context: Pick<CommandContext, Name | 'signal'>;
  /** those that are full, with one wait for all writers */
  readonly #full = new Map<Name, Promise<unknown>>();

  constructor(context: Pick<CommandContext, Name | 'signal'>) {
    this.#context = context;
  }

  /** Resolves when more can be written. Rejects with the reason of the command's end. */
  async write(name: Name, chunk: Buffer | string): Promise<void> {
    const { [name]: out, signal } = this.#context;
    if (out.write(chunk)) return;
    let wait = this.#full.get(name);
    if (!wait) {
      wait = once(out, 'drain', { signal }).finally(() => this.#full.delete(name));
      this.#full.set(name, wait);
    }
    await wait;
  }
}
