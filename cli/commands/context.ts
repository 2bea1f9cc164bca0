/**
 * What every command gets, and how it is declared. Commands read no environment and no global: all
 * of it comes through the context, so that tests can pass their own.
 */
import type { Readable, Writable } from 'node:stream';
import { type Command, InvalidArgumentError } from 'commander';
import type { Clock } from '../../common/base/clock.ts';
import { systemErrorWords } from '../../common/base/system-errors.ts';
import type { EngineClient } from '../client/engine-client.ts';

export interface Terminal extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

export interface CommandContext {
  /** made at the first use, so that a command without a daemon needs none */
  readonly client: EngineClient;
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** aborted by Ctrl-C */
  readonly signal: AbortSignal;
  /** Signals to this process go to `deliver` and do nothing else, until what is returned is called. */
  readonly takeSignals: (deliver: (name: NodeJS.Signals) => void) => () => void;
}

/** A module of commands: declares arguments and flags on `command` and its action. */
export type Configure = (command: Command, context: CommandContext) => void;

/** Ends the command with this status; what there was to say is already printed. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly status: number;

  constructor(status: number) {
    super(`exit ${status}`);
    this.status = status;
  }
}

/** A mistake in how the command was called: printed as it is, exit status 1. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export function printLine(context: CommandContext, line: string): void {
  context.stdout.write(`${line}\n`);
}

export function warnLine(context: CommandContext, line: string): void {
  context.stderr.write(`${line}\n`);
}

/** Collects a flag that may be given several times. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** A whole number >= 0. */
export function unsigned(value: string): number {
  if (!/^\d+$/.test(value)) throw new InvalidArgumentError('expected a whole number, 0 or more.');
  return Number(value);
}

/** A number. */
export function decimal(value: string): number {
  if (value.trim() === '' || !Number.isFinite(Number(value))) {
    throw new InvalidArgumentError('expected a number.');
  }
  return Number(value);
}

/** Turns a parser that throws into a flag parser: the mistake names the flag, exit status 125. */
export function flag<T>(parse: (value: string) => T): (value: string) => T {
  return (value) => {
    try {
      return parse(value);
    } catch (err) {
      throw new InvalidArgumentError(err instanceof Error ? err.message : String(err));
    }
  };
}

/** `key=value` or `key` pairs as a map; later ones win. */
export function pairs(items: readonly string[] | undefined): Record<string, string> {
  const out: Record<string, string> = {};
  for (const item of items ?? []) {
    const at = item.indexOf('=');
    out[at < 0 ? item : item.slice(0, at)] = at < 0 ? '' : item.slice(at + 1);
  }
  return out;
}

/** `--filter name=value`, several times, as the client wants them. Throws `UsageError`. */
export function filterMap(items: readonly string[] | undefined): Record<string, readonly string[]> {
  const out: Record<string, readonly string[]> = {};
  for (const item of items ?? []) {
    const at = item.indexOf('=');
    if (at <= 0) throw new UsageError(`invalid filter '${item}': expected NAME=VALUE`);
    const name = item.slice(0, at).trim().toLowerCase();
    out[name] = [...(out[name] ?? []), item.slice(at + 1).trim()];
  }
  return out;
}

/**
 * Runs `work` on each item; all are tried, each failure is printed, then exit status 1.
 * @param isNamed each failure begins with the item's name
 */
export async function eachOf(
  context: CommandContext,
  items: readonly string[],
  work: (item: string) => Promise<void>,
  isNamed = false,
): Promise<void> {
  let failed = false;
  for (const item of items) {
    try {
      await work(item);
    } catch (err) {
      if (err instanceof ExitError) throw err;
      failed = true;
      warnLine(context, `${isNamed ? `${item}: ` : ''}${errorLine(err)}`);
    }
  }
  if (failed) throw new ExitError(1);
}

/** The words for standard error. */
export function errorLine(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  if (err.name === 'ApiError') return `Error response from daemon: ${err.message}`;
  const refused = fileFailure(err);
  if (refused !== null) return refused;
  const cause = err.cause instanceof Error ? `: ${err.cause.message}` : '';
  return `${err.message}${cause}`;
}

/** What the system says of a file, in the words that people know: `open FILE: no such file or directory`. */
function fileFailure(err: NodeJS.ErrnoException): string | null {
  const { path, errno, syscall } = err;
  if (path === undefined || errno === undefined) return null;
  return `${syscall === 'access' ? 'open' : syscall} ${path}: ${systemErrorWords(err)}`;
}

/** Declares flags that Docker has and we do not do yet: refused by name. */
export function refuseFlags(command: Command, flags: Readonly<Record<string, string>>): void {
  for (const [spelling, why] of Object.entries(flags)) {
    const option = command.createOption(`${spelling} [value]`, 'not supported yet').hideHelp();
    option.argParser(() => {
      throw new InvalidArgumentError(why);
    });
    option.preset('');
    command.addOption(option);
  }
}
