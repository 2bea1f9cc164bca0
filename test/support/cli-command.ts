/**
 * Runs one command of the CLI against a fake engine: an object with the calls that the test expects.
 * A call that the fake does not have fails the command, by name.
 */
import { Readable, Writable } from 'node:stream';
import { Command } from 'commander';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { ApiError } from '../../cli/client/transport.ts';
import {
  type CommandContext,
  type Configure,
  ExitError,
  errorLine,
} from '../../cli/commands/context.ts';
import type { Clock } from '../../common/base/clock.ts';
import { InstantClock } from './instant-clock.ts';

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type FakeEngine = Partial<Record<keyof EngineClient, unknown>>;

export interface CommandWorld {
  readonly engine?: FakeEngine | EngineClient;
  readonly cwd?: string;
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** what is written to is a terminal of this size */
  readonly terminal?: { readonly columns: number; readonly rows: number };
  /** aborted = Ctrl-C */
  readonly signal?: AbortSignal;
  /** what the command gets signals from, if it asks */
  readonly takeSignals?: CommandContext['takeSignals'];
  readonly clock?: Clock;
}

class TextSink extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** The name of a call that the fake lacks is in the error; a fake that tells of no changes is asked again and again. */
function strictEngine(engine: FakeEngine | EngineClient): EngineClient {
  if (engine instanceof EngineClient) return engine;
  const proxy = new Proxy(engine, {
    get(target, name) {
      if (typeof name === 'string' && name in target) return target[name as keyof EngineClient];
      if (name === 'watch') return noWatch;
      throw new Error(`the command made the unexpected call '${String(name)}'`);
    },
  });
  return proxy as EngineClient;
}

// biome-ignore lint/correctness/useYield: it has nothing to tell
async function* noWatch(): AsyncIterable<never> {
  throw new ApiError(404, 'page not found');
}

export async function runCommand(
  configure: Configure,
  argv: readonly string[],
  world: CommandWorld = {},
): Promise<CommandResult> {
  const sink = () =>
    Object.assign(new TextSink(), world.terminal && { isTTY: true, ...world.terminal });
  const [stdout, stderr] = [sink(), sink()];
  const context: CommandContext = {
    client: strictEngine(world.engine ?? {}),
    stdout,
    stderr,
    stdin: Readable.from([world.stdin ?? '']),
    clock: world.clock ?? new InstantClock(),
    env: world.env ?? {},
    cwd: world.cwd ?? '/',
    signal: world.signal ?? new AbortController().signal,
    takeSignals: world.takeSignals ?? (() => () => {}),
  };
  const command = new Command('test').exitOverride().configureOutput({ writeErr: () => {} });
  let status = 0;
  try {
    configure(command, context);
    await command.parseAsync([...argv], { from: 'user' });
  } catch (err) {
    status = err instanceof ExitError ? err.status : 1;
    if (!(err instanceof ExitError)) stderr.write(`${errorLine(err)}\n`);
  }
  return { status, stdout: stdout.text, stderr: stderr.text };
}
