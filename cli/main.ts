#!/usr/bin/env node
/**
 * The skep command: finds the command's module, parses its flags, turns errors into exit statuses
 * (0 done, 1 failed, 125 wrong flag). Knows no command in particular.
 */
import { Command, CommanderError } from 'commander';
import { SystemClock } from '../common/base/clock.ts';
import { EngineClient } from './client/engine-client.ts';
import { COMMANDS, type FoundCommand, findCommand, GROUPS } from './command-table.ts';
import { type CommandContext, ExitError, errorLine } from './commands/context.ts';

const DEFAULT_HOST = 'unix:///run/skep/skep.sock';
const EXIT_FLAG = 125;
const EXIT_INTERRUPTED = 130;

interface GlobalOptions {
  readonly host: string | null;
  readonly help: boolean;
  readonly version: boolean;
  readonly args: readonly string[];
}

class FlagError extends Error {}

/** Global flags stand before the command; the first word that is no flag begins it. */
function parseGlobal(argv: readonly string[]): GlobalOptions {
  let host: string | null = null;
  let help = false;
  let version = false;
  let at = 0;
  for (; at < argv.length; at++) {
    const arg = argv[at]!;
    if (!arg.startsWith('-')) break;
    const [name, inline] = splitInline(arg);
    if (name === '-H' || name === '--host') {
      host = inline ?? argv[++at] ?? null;
      if (host === null) throw new FlagError(`flag needs an argument: ${name}`);
    } else if (arg === '-h' || arg === '--help') help = true;
    else if (arg === '-v' || arg === '--version') version = true;
    else throw new FlagError(`unknown flag: ${arg}`);
  }
  return { host, help, version, args: argv.slice(at) };
}

function splitInline(arg: string): readonly [string, string | null] {
  if (/^-H./.test(arg)) return ['-H', arg.slice(2).replace(/^=/, '')];
  const equals = arg.indexOf('=');
  return equals < 0 ? [arg, null] : [arg.slice(0, equals), arg.slice(equals + 1)];
}

function overview(): string {
  const width = Math.max(
    ...[...Object.keys(GROUPS), ...Object.keys(COMMANDS)].map((w) => w.length),
  );
  const rows = (table: Readonly<Record<string, { readonly summary: string }>>): string =>
    Object.entries(table)
      .map(([name, { summary }]) => `  ${name.padEnd(width + 2)}${summary}`)
      .join('\n');
  return `Usage:  skep [OPTIONS] COMMAND

A container orchestrator for many hosts

Management Commands:
${rows(GROUPS)}

Commands:
${rows(COMMANDS)}

Global Options:
  -H, --host string   Daemon socket (env SKEP_HOST, DOCKER_HOST; default ${DEFAULT_HOST})
  -v, --version       Print the version and quit

Run 'skep COMMAND --help' for more information on a command.
`;
}

function groupHelp(name: string): string {
  const group = GROUPS[name]!;
  const width = Math.max(...Object.keys(group.commands).map((word) => word.length));
  const rows = Object.entries(group.commands)
    .map(([word, { summary }]) => `  ${word.padEnd(width + 2)}${summary}`)
    .join('\n');
  return `Usage:  skep ${name} COMMAND

${group.summary}

Commands:
${rows}

Run 'skep ${name} COMMAND --help' for more information on a command.
`;
}

/** Go's flags take `--detach=false`; commander's booleans take no value. */
function applyBooleanValues(command: Command, args: readonly string[]): string[] {
  const out: string[] = [];
  for (const [index, arg] of args.entries()) {
    if (arg === '--') return [...out, ...args.slice(index)];
    const match = /^(--?[A-Za-z][\w-]*)=(.*)$/.exec(arg);
    const option =
      match && command.options.find((o) => o.long === match[1] || o.short === match[1]);
    if (!match || !option || option.required || option.optional) {
      out.push(arg);
      continue;
    }
    const value = parseBoolean(match[1]!, match[2]!);
    command.setOptionValueWithSource(option.attributeName(), value, 'cli');
  }
  return out;
}

function parseBoolean(name: string, text: string): boolean {
  if (['1', 't', 'true', 'True', 'TRUE', 'T'].includes(text)) return true;
  if (['0', 'f', 'false', 'False', 'FALSE', 'F'].includes(text)) return false;
  throw new FlagError(`invalid argument "${text}" for "${name}" flag: expected true or false`);
}

function makeContext(host: string, signal: AbortSignal): CommandContext & { close(): void } {
  let client: EngineClient | null = null;
  return {
    get client() {
      client ??= new EngineClient(host, signal);
      return client;
    },
    close: () => client?.close(),
    stdout: process.stdout,
    stderr: process.stderr,
    get stdin() {
      return process.stdin; // made at the first use: it holds a descriptor
    },
    clock: new SystemClock(),
    env: process.env,
    cwd: process.cwd(),
    signal,
  };
}

async function runCommand(found: FoundCommand, context: CommandContext): Promise<void> {
  const command = new Command(found.words)
    .exitOverride()
    .helpOption('--help', 'Print usage')
    .allowExcessArguments(false)
    .configureOutput({ writeErr: () => {}, outputError: () => {} });
  command.description(found.entry.summary);
  const configure = await found.entry.load();
  configure(command, context);
  const rest = applyBooleanValues(command, found.rest);
  await command.parseAsync(rest, { from: 'user' });
}

/** Docker's words and statuses for mistakes in flags and arguments. */
function usageFailure(err: CommanderError, words: string): number {
  if (err.code === 'commander.helpDisplayed' || err.code === 'commander.help') return 0;
  const text = err.message.replace(/^error: /, '');
  const unknown = /^unknown option '([^']*)'/.exec(text);
  const line = unknown ? `unknown flag: ${unknown[1]}` : `${words.replace(/^skep /, '')}: ${text}`;
  process.stderr.write(`${line}\n\nRun '${words} --help' for more information\n`);
  const flagCodes = [
    'commander.unknownOption',
    'commander.invalidArgument',
    'commander.optionMissingArgument',
    'commander.conflictingOption',
  ];
  return flagCodes.includes(err.code) ? EXIT_FLAG : 1;
}

async function main(argv: readonly string[], signal: AbortSignal): Promise<number> {
  let words = 'skep';
  let context: ReturnType<typeof makeContext> | null = null;
  try {
    const options = parseGlobal(argv);
    const args = options.version ? ['version', ...options.args] : options.args;
    const found = findCommand(args);
    if (options.help || args.length === 0) {
      process.stdout.write(overview());
      return 0;
    }
    if (!found) {
      process.stderr.write(
        `skep: unknown command: skep ${args[0]}\n\nRun 'skep --help' for usage\n`,
      );
      return 1;
    }
    if ('group' in found) {
      if (found.unknown === null) {
        process.stdout.write(groupHelp(found.group));
        return 0;
      }
      process.stderr.write(
        `skep: unknown command: skep ${found.group} ${found.unknown}\n\nRun 'skep ${found.group} --help' for more information\n`,
      );
      return 1;
    }
    words = found.words;
    const { SKEP_HOST, DOCKER_HOST } = process.env;
    const host = options.host ?? (SKEP_HOST || DOCKER_HOST || DEFAULT_HOST);
    context = makeContext(host, signal);
    await runCommand(found, context);
    return 0;
  } catch (err) {
    if (err instanceof ExitError) return err.status;
    if (err instanceof CommanderError) return usageFailure(err, words);
    if (err instanceof FlagError) {
      process.stderr.write(`${err.message}\n\nRun '${words} --help' for more information\n`);
      return EXIT_FLAG;
    }
    if (signal.aborted) return EXIT_INTERRUPTED;
    process.stderr.write(`${errorLine(err)}\n`);
    return 1;
  } finally {
    context?.close();
  }
}

const interrupt = new AbortController();
process.once('SIGINT', () => {
  interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', () => process.exit(EXIT_INTERRUPTED));
});
// A reader that goes away (`skep ps | head`) is no error.
process.stdout.on('error', (err: NodeJS.ErrnoException) =>
  process.exit(err.code === 'EPIPE' ? 0 : 1),
);
// Not awaited at the top level: a pending top-level await would hide the exit status.
// The clock's timers do not keep a process alive, and a command may have nothing else to wait for.
const alive = new MessageChannel();
alive.port1.on('message', () => {});
void main(process.argv.slice(2), interrupt.signal).then((status) => {
  alive.port1.close();
  // Standard input may still be open, and writes to files, pipes and terminals are done by now.
  process.exit(status || process.exitCode || 0);
});
