/** The flags by which `stack deploy`, `config` and `lint` name their files, and the reading of them. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import type { Command } from 'commander';
import { systemErrorWords } from '../../common/base/system-errors.ts';
import type { StackFile, StackRequest } from '../compose/stack.ts';
import { type CommandContext, collect, UsageError } from './context.ts';

export interface FileFlags {
  readonly composeFile?: readonly string[];
  readonly envFile?: readonly string[];
  readonly profile?: readonly string[];
  readonly fixWhitespace?: boolean;
}

/** `--compose-file` is not among them: `lint` takes its files as arguments. */
export function fileFlags(command: Command): Command {
  return command
    .option('--env-file <file>', 'file of variables, in the place of .env', collect)
    .option('--profile <name>', 'deploy the services of a profile as well', collect)
    .option('--fix-whitespace', 'take tabs and no-break spaces for spaces');
}

const STDIN = '-';

/** @param files as the user named them, `-` for standard input */
export async function stackRequest(
  context: CommandContext,
  name: string,
  files: readonly string[],
  flags: FileFlags,
): Promise<StackRequest> {
  const [first] = files;
  if (first === undefined) throw new UsageError('Specify a Compose file (with --compose-file)');
  if (files.filter((file) => file === STDIN).length > 1) {
    throw new UsageError('standard input can be read only once');
  }
  const read = await Promise.all(files.map((file) => stackFile(context, file)));
  return {
    name,
    files: read,
    dir: first === STDIN ? context.cwd : dirname(resolve(context.cwd, first)),
    env: context.env,
    envFiles: flags.envFile?.map((path) => ({ path, text: readFileText(context, path) })) ?? null,
    profiles: flags.profile ?? [],
    readFile: (named) => readFileSync(named),
    fixWhitespace: flags.fixWhitespace ?? false,
    interpolate: true,
    ignoreRefused: false,
  };
}

async function stackFile(context: CommandContext, file: string): Promise<StackFile> {
  if (file !== STDIN) {
    const location = resolve(context.cwd, file);
    return { path: file, location, text: readFileText(context, file) };
  }
  return { path: '<stdin>', location: '<stdin>', text: await readText(context.stdin) };
}

function readFileText({ cwd }: CommandContext, file: string): string {
  try {
    return readFileSync(resolve(cwd, file), 'utf8');
  } catch (err) {
    throw new UsageError(`open ${file}: ${systemErrorWords(err)}`);
  }
}
