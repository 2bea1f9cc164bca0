/** `skep stack build`: the images that a stack file describes, made by buildah on this machine and brought to every node. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Build } from '../compose/builds.ts';
import { loadBuilds } from '../compose/load-stack.ts';
import { type CommandContext, type Configure, collect, printLine, UsageError } from './context.ts';
import { showProgress } from './image.ts';
import { type FileFlags, fileFlags, stackRequest } from './stack-files.ts';

const BUILDER = 'buildah';
/** The stack's own name is of no consequence for its images. */
const ANY_NAME = 'stack';

interface BuildFlags extends FileFlags {
  readonly quiet?: boolean;
}

export const stackBuild: Configure = (command, context) => {
  fileFlags(
    command
      .argument('[service...]', 'of these services alone')
      .option('-c, --compose-file <file>', 'stack file, or - for standard input', collect),
  )
    .option('-q, --quiet', 'the names of the images only')
    .action(async (services: readonly string[], flags: BuildFlags) => {
      const request = await stackRequest(context, ANY_NAME, flags.composeFile ?? [], flags);
      const builds = loadBuilds(request, services);
      if (builds.length === 0) throw new UsageError('no service of the file has a build');
      for (const build of builds) await carryOut(context, build, flags.quiet ?? false);
    });
};

/** One after the other: what an image is made from may be the one before. */
async function carryOut(context: CommandContext, build: Build, quiet: boolean): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'skep-build-'));
  try {
    const archive = join(dir, 'image.tar');
    const flags = [...build.flags, ...(quiet ? ['--quiet'] : [])];
    if (build.inline !== null) {
      const file = join(dir, 'Dockerfile');
      writeFileSync(file, build.inline);
      flags.push('--file', file);
    }
    const names = [build.image, ...build.tags];
    const tags = names.flatMap((name) => ['--tag', name]);
    const make = ['build', '--format', 'docker', ...flags, ...tags, build.context];
    await run(context, build.service, make, quiet);
    for (const name of names) {
      rmSync(archive, { force: true });
      const copy = ['push', '--quiet', name, `docker-archive:${archive}:${name}`];
      await run(context, build.service, copy, true);
      await showProgress(context, context.client.imageLoad(createReadStream(archive)), true);
      await showProgress(context, context.client.imageDistribute(name), quiet);
      printLine(context, name);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What it says goes on, unless it is quiet and all goes well. Rejects with `UsageError` when it fails or is not there. */
async function run(
  { stderr, env, cwd, signal }: CommandContext,
  service: string,
  words: readonly string[],
  quiet: boolean,
): Promise<void> {
  const child = spawn(BUILDER, words, {
    cwd,
    env: { ...env },
    signal,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      if (quiet) said.push(chunk);
      else stderr.write(chunk);
    });
  }
  try {
    const [status] = (await once(child, 'close')) as [number | null];
    if (status === 0) return;
    stderr.write(Buffer.concat(said));
    throw new UsageError(`services.${service}.build: ${BUILDER} ${words[0]} ended with ${status}`);
  } catch (err) {
    signal.throwIfAborted();
    if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
    const words = `services.${service}.build: images are built by ${BUILDER}, which is not here: install it, or build and load the image elsewhere`;
    throw new UsageError(words, { cause: err });
  }
}
