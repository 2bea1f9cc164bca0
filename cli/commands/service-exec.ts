/**
 * `skep service exec` and `skep stack exec`: a command in the container of a service's task, or of all its tasks, on whatever nodes they
 * run. Its exit status becomes ours; of several the highest.
 */
import { Writable } from 'node:stream';
import {
  type CommandContext,
  type Configure,
  ExitError,
  errorLine,
  UsageError,
} from './context.ts';
import { type ExecFlags, execFlags, requireTerminal, runExec } from './exec.ts';
import { inParallel } from './parallel.ts';
import { environmentOf } from './service-create.ts';
import { runningSeats } from './service-seats.ts';
import { inStack } from './stack.ts';

interface ServiceExecFlags extends ExecFlags {
  readonly all?: boolean;
}

/** Commands that run at once with --all: each holds a connection. */
const AT_ONCE_MAX = 16;
/** A line that is longer is printed in parts, each with its task's name. */
const LINE_BYTES_MAX = 64 * 1024;

export const serviceExec: Configure = (command, context) => {
  execFlags(command, context)
    .argument('<service>', 'name or id, with .SLOT (or .NODE of a global service) for one task')
    .argument('<command...>', 'after --, so that its flags are its own')
    .option('--all', 'in every running task, each line with its name')
    .action((ref: string, words: readonly string[], flags: ServiceExecFlags) =>
      runIn(context, ref, words, flags),
    );
};

export const stackExec: Configure = (command, context) => {
  execFlags(command, context)
    .argument('<stack>', 'name of the stack')
    .argument('<service>', 'without the name of the stack before it; with .SLOT for one task')
    .argument('<command...>', 'after --, so that its flags are its own')
    .option('--all', 'in every running task, each line with its name')
    .action((stack: string, ref: string, words: readonly string[], flags: ServiceExecFlags) =>
      runIn(context, inStack(stack, ref), words, flags),
    );
};

async function runIn(
  context: CommandContext,
  ref: string,
  words: readonly string[],
  flags: ServiceExecFlags,
): Promise<void> {
  const run = flags.all ? runInAll : runInOne;
  const status = await run(context, ref, words, flags);
  if (status !== 0) throw new ExitError(status);
}

async function runInOne(
  context: CommandContext,
  ref: string,
  words: readonly string[],
  flags: ServiceExecFlags,
): Promise<number> {
  requireTerminal(context, flags);
  const env = await environmentOf(context, flags);
  const [seat] = await runningSeats(context, ref);
  if (!seat) throw new UsageError(`${ref} has no running task`);
  return runExec(context, { containerId: seat.containerId, words, env, flags });
}

async function runInAll(
  context: CommandContext,
  ref: string,
  words: readonly string[],
  flags: ServiceExecFlags,
): Promise<number> {
  if (flags.interactive || flags.tty) {
    throw new UsageError('--all passes neither input nor a terminal on: leave -i and -t out');
  }
  const env = await environmentOf(context, flags);
  const seats = await runningSeats(context, ref);
  if (seats.length === 0) throw new UsageError(`${ref} has no running task`);
  const width = Math.max(...seats.map(({ name }) => name.length));
  let highest = 0;
  await inParallel(seats, AT_ONCE_MAX, async (seat) => {
    const label = `${seat.name.padEnd(width)} | `;
    const stdout = new LabelledLines(label, context.stdout);
    const stderr = new LabelledLines(label, context.stderr);
    let status = 1;
    try {
      const { containerId } = seat;
      const output = { stdout, stderr };
      status = await runExec(context, { containerId, words, env, flags, output });
    } catch (err) {
      if (context.signal.aborted) throw err;
      if (err instanceof ExitError) status = err.status;
      else stderr.write(`${errorLine(err)}\n`);
    }
    for (const lines of [stdout, stderr]) lines.flush();
    highest = Math.max(highest, status);
  });
  return highest;
}

/** Puts a label before each line, and prints whole lines only, so that those of several tasks do not mix. */
class LabelledLines extends Writable {
  readonly #label: string;
  readonly #out: Writable;
  #rest: Buffer = Buffer.alloc(0);

  constructor(label: string, out: Writable) {
    super({ decodeStrings: true });
    this.#label = label;
    this.#out = out;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (let at = this.#end(); at > 0; at = this.#end()) {
      this.#print(this.#rest.subarray(0, at));
      this.#rest = this.#rest.subarray(at);
    }
    done();
  }

  /** What is left of a last line without an end. */
  flush(): void {
    if (this.#rest.length > 0) this.#print(this.#rest);
    this.#rest = Buffer.alloc(0);
  }

  /** Length of the first line with its end; 0 when it is not there yet. */
  #end(): number {
    const at = this.#rest.indexOf(0x0a) + 1;
    if (at > 0 && at <= LINE_BYTES_MAX) return at;
    return this.#rest.length > LINE_BYTES_MAX ? LINE_BYTES_MAX : 0;
  }

  #print(line: Buffer): void {
    const end = line.at(-1) === 0x0a ? '' : '\n';
    this.#out.write(Buffer.concat([Buffer.from(this.#label), line, Buffer.from(end)]));
  }
}
