/**
 * A process that a benchmark starts and asks to do things: the two ends of it. A helper ends with the
 * one that started it, because its channel is cut then.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { endAtExit } from './cleanup.ts';

/** What a helper can be asked, by name. Arguments and results pass by structured clone. */
export type Operations = Readonly<Record<string, (argument: never) => unknown>>;

type Arguments<Op> = Op extends (...args: infer A) => unknown ? A : never;
type Result<Op> = Op extends (argument: never) => infer R ? Awaited<R> : never;

interface Question {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly failure?: string;
}

/** In the helper: answers until the channel is cut. */
export function serve(operations: Operations): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', (question: Question) => {
    void answer(operations, question).then((reply) => process.send?.(reply));
  });
}

async function answer(operations: Operations, { id, name, argument }: Question): Promise<Answer> {
  try {
    return { id, value: await operations[name]!(argument as never) };
  } catch (err) {
    return { id, failure: err instanceof Error ? (err.stack ?? err.message) : String(err) };
  }
}

/** Flags of Node that the daemon runs with. The working directory is the root of the repository. */
function productFlags(): string[] {
  const flags = /^exec node ((?:--\S+ )*)-- "\$main"/m.exec(readFileSync('bin/skepd', 'utf8'))?.[1];
  if (flags === undefined) throw new Error('bin/skepd: where does it start node?');
  return flags.trim().split(' ').filter(Boolean);
}

/** In the benchmark: a running helper with the operations `Ops`. */
export class HelperProcess<Ops extends Operations> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #gone: Promise<unknown>;
  #lastId = 0;

  /**
   * @param module compiled file that calls `serve`
   * @param within a command that executes what follows it, e.g. in other namespaces
   */
  constructor(module: string, within: readonly string[] = []) {
    const [execPath = process.execPath, ...rest] = [...within, process.execPath];
    const execArgv = [...rest, ...productFlags()];
    this.#child = fork(module, { serialization: 'advanced', execPath, execArgv });
    this.#gone = once(this.#child, 'exit');
    const release = endAtExit(this.pid);
    this.#child.on('message', (reply: Answer) => this.#waiting.get(reply.id)?.(reply));
    this.#child.on('exit', () => {
      release();
      for (const [id, settle] of this.#waiting) settle({ id, failure: 'the process has ended' });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Rejects with what the operation threw, or when the process ends before it answers. */
  ask<Name extends keyof Ops & string>(
    name: Name,
    ...[argument]: Arguments<Ops[Name]>
  ): Promise<Result<Ops[Name]>> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ value, failure }) => {
        this.#waiting.delete(id);
        if (failure === undefined) resolve(value as Result<Ops[Name]>);
        else reject(new Error(`${name}: ${failure}`));
      });
      this.#child.send({ id, name, argument } satisfies Question);
    });
  }

  /** As the power failing to this process alone. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone;
  }
}
