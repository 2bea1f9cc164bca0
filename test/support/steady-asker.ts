/** A process that asks for a page at a fixed rate, here or in the namespace of a task. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const SCRIPT = join(import.meta.dirname, 'steady-asker.mjs');

export interface Asked {
  readonly asked: number;
  readonly answered: number;
  /** in which they were asked */
  readonly seconds: number;
  /** how each was lost, and when */
  readonly failures: readonly string[];
}

export interface AskerRequest {
  /** requests a second, of the addresses in turn */
  readonly rate: number;
  readonly port: number;
  readonly addresses: readonly string[];
  /** path of the namespace from which it asks; absent = this process's */
  readonly netns?: string;
}

export class SteadyAsker {
  readonly #child: ChildProcess;
  readonly #said: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    this.#said = lines[Symbol.asyncIterator]();
  }

  /** Resolves when it asks. */
  static async start({ rate, port, addresses, netns }: AskerRequest): Promise<SteadyAsker> {
    const argv = [process.execPath, SCRIPT, `${rate}`, `${port}`, ...addresses];
    const [program = '', ...args] = netns ? ['nsenter', `--net=${netns}`, ...argv] : argv;
    const asker = new SteadyAsker(spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
    await asker.#line();
    return asker;
  }

  /** Asks no more; resolves when all has its answer or is lost. */
  async stop(): Promise<Asked> {
    this.#child.kill('SIGTERM');
    return JSON.parse(await this.#line());
  }

  /** Whatever it waits for. Idempotent. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#said.next();
    if (done) throw new Error(`asker ended: ${this.#child.spawnargs.join(' ')}`);
    return value;
  }
}
