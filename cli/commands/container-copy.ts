/** `skep cp`, `export` and `diff`: files of containers. Where a copy goes is decided as `docker cp` does. */
import { lstat, realpath, stat } from 'node:fs/promises';
import { isAbsolute, posix, resolve } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import type { PathStatJson } from '../client/container-calls.ts';
import { packLocal, unpackLocal } from '../client/local-files.ts';
import { ApiError, hasStatus } from '../client/transport.ts';
import { humanSize } from '../output/units.ts';
import { requireNoTerminal, saveTar, writeOut } from './binary-output.ts';
import { type CommandContext, type Configure, printLine, UsageError, warnLine } from './context.ts';

interface CopyFlags {
  readonly archive?: boolean;
  readonly followLink?: boolean;
  readonly quiet?: boolean;
}

/** Go's bits of `os.FileMode`. */
const MODE_DIRECTORY = 2 ** 31;
const MODE_LINK = 2 ** 27;
const has = ({ mode }: PathStatJson, bit: number): boolean => Math.floor(mode / bit) % 2 === 1;

export const cp: Configure = (command, context) => {
  command
    .usage('[OPTIONS] CONTAINER:PATH PATH|- or PATH|- CONTAINER:PATH')
    .argument('<source>', 'CONTAINER:PATH, PATH, or - for a tar on standard input')
    .argument('<target>', 'CONTAINER:PATH, PATH, or - for a tar on standard output')
    .option('-a, --archive', 'keep owners')
    .option('-L, --follow-link', 'copy what a link points to')
    .option('-q, --quiet', 'say nothing')
    .action(async (source: string, target: string, flags: CopyFlags) => {
      const from = placeOf(source);
      const to = placeOf(target);
      if (from.container !== null && to.container !== null) {
        throw new UsageError('copying between containers is not supported');
      }
      if (from.container !== null) await copyOut(context, { ...from, ...flags }, to.path, source);
      else if (to.container !== null) await copyIn(context, from.path, { ...to, ...flags }, target);
      else throw new UsageError('must specify at least one container source');
    });
};

interface Place {
  /** null = of this machine */
  readonly container: string | null;
  readonly path: string;
}

/** What begins with a dot or a slash is a path, whatever colons it has. */
export function placeOf(text: string): Place {
  const at = text.indexOf(':');
  if (isAbsolute(text) || text.startsWith('.') || at <= 0) return { container: null, path: text };
  return { container: text.slice(0, at), path: text.slice(at + 1) };
}

interface Remote extends Place, CopyFlags {}

/** `x/.` means what is in it. */
const meansContents = (path: string): boolean => /(^|\/)\.$/.test(path);
const endsInSlash = (path: string): boolean => /\/$/.test(path) || meansContents(path);

/** Without `/.` and `/` at the end. */
function plainPath(path: string): string {
  const clean = posix.normalize(`/${path}`);
  return clean === '/' ? '/' : clean.replace(/\/$/, '');
}

// ---- out of a container -------------------------------------------------------------------------

async function copyOut(
  context: CommandContext,
  { container, path: given, archive = false, followLink, quiet }: Remote,
  target: string,
  source: string,
): Promise<void> {
  const { client } = context;
  let path = plainPath(given);
  let found = await remoteStat(context, container!, path);
  if (found === null) throw missing(container!, given);
  if (followLink && has(found, MODE_LINK)) {
    path = plainPath(posix.resolve(posix.dirname(path), found.linkTarget));
    found = await remoteStat(context, container!, path);
    if (found === null) throw missing(container!, path);
  }
  if (target === '-') {
    requireNoTerminal(context, 'refusing to write a tar to a terminal');
    await writeOut(context, await client.archiveGet(container!, path));
    return;
  }
  const isDirectory = has(found, MODE_DIRECTORY);
  if (!isDirectory && endsInSlash(given)) throw new UsageError(`${source}: not a directory`);
  const wanted = resolve(context.cwd, target);
  const existing = await stat(wanted).catch(() => null);
  // As it was asked for: what a link points to may have another name.
  const name = posix.basename(plainPath(given));
  let into = wanted;
  if (existing?.isDirectory()) {
    if (!(isDirectory && (meansContents(given) || path === '/'))) into = resolve(wanted, name);
  } else if (existing && isDirectory) {
    throw new UsageError(`cannot copy directory ${source} to the file ${target}`);
  } else if (!isDirectory && endsInSlash(target)) {
    throw new UsageError(`no such directory: ${target}`);
  } else if (!existing && !(await stat(resolve(wanted, '..')).catch(() => null))) {
    throw new UsageError(
      `invalid output path: directory "${resolve(wanted, '..')}" does not exist`,
    );
  }
  const tar = await client.archiveGet(container!, path);
  const bytes = counted(tar);
  const skipped = await unpackLocal(bytes.stream, into, { isRoot: path === '/', owners: archive });
  for (const line of skipped) warnLine(context, `skipped ${line}`);
  if (!quiet) told(context, bytes.count(), into);
}

// ---- into a container ---------------------------------------------------------------------------

async function copyIn(
  context: CommandContext,
  source: string,
  { container, path: given, archive = false, followLink = false, quiet }: Remote,
  target: string,
): Promise<void> {
  const { client } = context;
  const path = plainPath(given);
  const existing = await resolvedStat(context, container!, path);
  if (source === '-') {
    if (existing.stat === null) throw missing(container!, given);
    if (!has(existing.stat, MODE_DIRECTORY)) {
      throw new UsageError(`destination "${target}" must be a directory`);
    }
    await client.archivePut(container!, existing.path, context.stdin, archive);
    return;
  }
  const local = resolve(context.cwd, source);
  const isLink = (await lstat(local)).isSymbolicLink();
  // Of a link that is followed the content is copied under the link's name; links in it stay links.
  const follows = isLink && (followLink || endsInSlash(source));
  const packed = follows ? await realpath(local) : local;
  const isDirectory = follows || !isLink ? (await stat(packed)).isDirectory() : false;
  if (!isDirectory && endsInSlash(source)) throw new UsageError(`${source}: not a directory`);
  const name = posix.basename(local);
  let folder = existing.path;
  let prefix = name;
  if (existing.stat === null) {
    if (!isDirectory && endsInSlash(given)) throw new UsageError(`no such directory: ${target}`);
    [folder, prefix] = [posix.dirname(existing.path), posix.basename(existing.path)];
  } else if (has(existing.stat, MODE_DIRECTORY)) {
    if (isDirectory && meansContents(source)) prefix = '';
  } else {
    if (isDirectory) throw new UsageError(`cannot copy directory ${source} to the file ${target}`);
    if (endsInSlash(given)) throw new UsageError(`${target}: not a directory`);
    [folder, prefix] = [posix.dirname(existing.path), posix.basename(existing.path)];
  }
  const bytes = counted(packLocal(packed, prefix));
  await client.archivePut(container!, folder, bytes.stream, archive);
  if (!quiet) told(context, bytes.count(), target);
}

/** The place that `path` means, behind a link at its end. */
async function resolvedStat(
  context: CommandContext,
  container: string,
  path: string,
): Promise<{ readonly path: string; readonly stat: PathStatJson | null }> {
  const found = await remoteStat(context, container, path);
  if (found === null || !has(found, MODE_LINK)) return { path, stat: found };
  const behind = plainPath(posix.resolve(posix.dirname(path), found.linkTarget));
  return { path: behind, stat: await remoteStat(context, container, behind) };
}

async function remoteStat(
  { client }: CommandContext,
  container: string,
  path: string,
): Promise<PathStatJson | null> {
  try {
    return await client.pathStat(container, path);
  } catch (err) {
    if (!hasStatus(err, 404)) throw err;
    // The answer to this question has no words: is it the container that is not there?
    await client.container(container);
    return null;
  }
}

const missing = (container: string, path: string): ApiError =>
  new ApiError(404, `Could not find the file ${path} in container ${container}`);

function counted(source: Readable): { readonly stream: Readable; readonly count: () => number } {
  let bytes = 0;
  const through = new PassThrough();
  source.on('data', (chunk: Buffer) => (bytes += chunk.length));
  source.once('error', (err) => through.destroy(err));
  source.pipe(through);
  return { stream: through, count: () => bytes };
}

function told(context: CommandContext, bytes: number, target: string): void {
  warnLine(context, `Successfully copied ${humanSize(bytes)} to ${target}`);
}

// ---- whole file systems -------------------------------------------------------------------------

export const exportContainer: Configure = (command, context) => {
  command
    .argument('<container>', 'id or name')
    .option('-o, --output <file>', 'instead of standard output')
    .action((ref: string, { output }: { readonly output?: string }) =>
      saveTar(context, output, () => context.client.containerExport(ref)),
    );
};

const CHANGE_LETTERS = ['C', 'A', 'D'] as const;

export const diff: Configure = (command, context) => {
  command.argument('<container>', 'id or name').action(async (ref: string) => {
    for (const { Path, Kind } of await context.client.containerChanges(ref)) {
      printLine(context, `${CHANGE_LETTERS[Kind] ?? '?'} ${Path}`);
    }
  });
};
