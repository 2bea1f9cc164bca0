/**
 * Runs one command: parses its flags, calls it, turns errors into exit statuses (0 done, 1 failed,
 * 125 wrong flag, 130 interrupted). Knows no command in particular.
 */
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { Command, CommanderError } from 'commander';
import { SystemClock } from '../common/base/clock.ts';
import type { ClientTls } from './client/endpoint.ts';
import { EngineClient } from './client/engine-client.ts';
import type { FoundCommand } from './command-table.ts';
import { type CommandContext, ExitError, errorLine, type Terminal } from './commands/context.ts';
import type { DaemonAddress } from './daemon-address.ts';
import type { TlsFile, TlsFiles } from './global-options.ts';

const EXIT_FLAG = 125;
const EXIT_INTERRUPTED = 130;

/** What the process gives to its command. */
export interface ProcessParts {
  /** asked for at the first call: a command without a daemon runs whatever context is in force */
  readonly address: () => DaemonAddress;
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  /** made at the first use: it holds a descriptor */
  readonly stdin: () => Readable & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly takeSignals: CommandContext['takeSignals'];
}

class FlagError extends Error {}

/** Remembers whether flags end at the first operand, as in `exec CONTAINER ls -l`. */
class SkepCommand extends Command {
  flagsEndAtOperand = false;

  override passThroughOptions(on = true): this {
    this.flagsEndAtOperand = on;
    return super.passThroughOptions(on);
  }
}

/** The exit status. Rejects only for mistakes of ours. */
export async function runCommand(found: FoundCommand, parts: ProcessParts): Promise<number> {
  const { words } = found;
  const context = makeContext(parts);
  try {
    const command = new SkepCommand(words)
      .exitOverride()
      .helpOption('--help', 'Print usage')
      .allowExcessArguments(false)
      .configureOutput({
        writeOut: (text) => parts.stdout.write(text),
        writeErr: () => {},
        outputError: () => {},
      });
    command.description(found.entry.summary);
    const configure = await found.entry.load();
    configure(command, context);
    if (found.rest.includes('--help')) {
      const { examplesText } = await import('./examples.ts');
      command.addHelpText('after', examplesText(found.path));
    }
    await command.parseAsync(applyBooleanValues(command, found.rest), { from: 'user' });
    return 0;
  } catch (err) {
    if (err instanceof ExitError) return err.status;
    if (err instanceof CommanderError) return usageFailure(parts, err, words);
    if (err instanceof FlagError) {
      parts.stderr.write(`${err.message}\n\nRun '${words} --help' for more information\n`);
      return EXIT_FLAG;
    }
    if (parts.signal.aborted) return EXIT_INTERRUPTED;
    parts.stderr.write(`${errorLine(err)}\n`);
    return 1;
  } finally {
    context.close();
  }
}

function makeContext(parts: ProcessParts): CommandContext & { close(): void } {
  const { address, stdin, ...rest } = parts;
  let client: EngineClient | null = null;
  return {
    ...rest,
    get client() {
      if (client === null) {
        const { host, tls } = address();
        client = new EngineClient(host, parts.signal, clientTls(host, tls));
      }
      return client;
    },
    close: () => client?.close(),
    get stdin() {
      return stdin();
    },
    clock: new SystemClock(),
  };
}

/** Read for `tcp://` alone, so that a setting for one host does not stop the others. Throws for a file that is needed. */
function clientTls(host: string, files: TlsFiles | null): ClientTls | null {
  if (files === null || !host.startsWith('tcp://')) return null;
  const textOf = ({ path, isNeeded }: TlsFile): string | undefined => {
    try {
      return readFileSync(path, 'utf8');
    } catch (err) {
      if (isNeeded || (err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
      return undefined;
    }
  };
  const { verify, ca, cert, key } = files;
  return { verify, ca: textOf(ca), cert: textOf(cert), key: textOf(key) };
}

/** Go's flags take `--detach=false`; commander's booleans take no value, and `--no-x` sets `x` to false. */
function applyBooleanValues(command: SkepCommand, args: readonly string[]): string[] {
  const out: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    const isOperand = !arg.startsWith('-') || arg === '-';
    if (arg === '--' || (isOperand && command.flagsEndAtOperand)) {
      return [...out, ...args.slice(at)];
    }
    const [name, value] = splitFlag(arg);
    const option = command.options.find((o) => o.long === name || o.short === name);
    const takesValue = option?.required || option?.optional;
    if (option && !takesValue && value !== null) {
      const isSet = parseBoolean(name, value) !== option.negate;
      command.setOptionValueWithSource(option.attributeName(), isSet, 'cli');
      continue;
    }
    out.push(arg);
    // The value of a flag is no operand, whatever it looks like.
    if (option?.required && value === null && at + 1 < args.length) out.push(args[++at]!);
  }
  return out;
}

function splitFlag(arg: string): readonly [string, string | null] {
  const equals = arg.startsWith('-') ? arg.indexOf('=') : -1;
  return equals < 0 ? [arg, null] : [arg.slice(0, equals), arg.slice(equals + 1)];
}

function parseBoolean(name: string, text: string): boolean {
  if (['1', 't', 'true', 'True', 'TRUE', 'T'].includes(text)) return true;
  if (['0', 'f', 'false', 'False', 'FALSE', 'F'].includes(text)) return false;
  throw new FlagError(`invalid argument "${text}" for "${name}" flag: expected true or false`);
}

const FLAG_CODES: readonly string[] = [
  'commander.unknownOption',
  'commander.invalidArgument',
  'commander.optionMissingArgument',
  'commander.conflictingOption',
];

/** Docker's words and statuses for mistakes in flags and arguments. */
function usageFailure({ stderr }: ProcessParts, err: CommanderError, words: string): number {
  if (err.code === 'commander.helpDisplayed' || err.code === 'commander.help') return 0;
  const text = err.message.replace(/^error: /, '');
  const unknown = /^unknown option '([^']*)'/.exec(text);
  // As `refuseFlags` declares them: it is the flag that is refused, whatever it is given.
  const refused = /^option '(?:-\w, )?(--\S+) \[value\]' argument '.*' is invalid\. (.+)$/s.exec(
    text,
  );
  const said = refused ? `${refused[1]} is refused: ${refused[2]}` : text;
  const line = unknown ? `unknown flag: ${unknown[1]}` : `${words.replace(/^skep /, '')}: ${said}`;
  stderr.write(`${line}\n\nRun '${words} --help' for more information\n`);
  return FLAG_CODES.includes(err.code) ? EXIT_FLAG : 1;
}
