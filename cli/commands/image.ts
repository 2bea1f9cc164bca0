/** `skep image ...`: images of the host whose daemon answers. */
import { createReadStream } from 'node:fs';
import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { ImageSummaryJson } from '../../common/model/engine-json/image.ts';
import {
  familiarReference,
  familiarRepository,
  parseImageReference,
  withDefaultTag,
} from '../../common/model/image-reference.ts';
import type { ProgressJson } from '../client/image-calls.ts';
import { renderListing } from '../output/listing.ts';
import { ago, goTime, humanSize, preciseSize } from '../output/units.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  eachOf,
  filterMap,
  printLine,
  refuseFlags,
  UsageError,
} from './context.ts';
import { registryAuthFor } from './credentials.ts';
import { type InspectFlags, inspectEach } from './inspect-each.ts';
import { SHORT_ID_CHARS } from './tasks.ts';
import { defaultFormat } from './user-defaults.ts';

const NONE = '<none>';

interface ListFlags {
  readonly all?: boolean;
  readonly digests?: boolean;
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
  readonly trunc?: boolean;
}

export const ls: Configure = (command, context) => {
  defaultFormat(command, context, 'imagesFormat');
  refuseFlags(command, { '--tree': 'images are listed by their names' });
  command
    .argument('[repository[:tag]]', 'only these', '')
    .option('-a, --all', 'also intermediate ones; there are none')
    .option('--digests', 'show digests')
    .option('-f, --filter <name=value>', 'dangling, label, reference', collect)
    .option('--format <template>', 'table, json or a template')
    .option('--no-trunc', 'full ids')
    .option('-q, --quiet', 'ids only')
    .action(async (reference: string, flags: ListFlags) => {
      const filters = filterMap(flags.filter);
      const images = await context.client.images(
        reference === '' ? filters : { ...filters, reference: [reference] },
      );
      const nowMs = context.clock.wallMs();
      const rows = images.flatMap((image) => rowsOf(image, flags, nowMs));
      const digest = [['DIGEST', 'Digest'] as const].filter(() => flags.digests);
      const columns = [
        ['REPOSITORY', 'Repository'],
        ['TAG', 'Tag'],
        ...digest,
        ['IMAGE ID', 'ID'],
        ['CREATED', 'CreatedSince'],
        ['SIZE', 'Size'],
      ] as const;
      context.stdout.write(renderListing({ columns, rows, quietField: 'ID' }, flags));
    });
};

/** One row for each name of the image; for one without a tag, for each repository that it came from. */
function rowsOf(image: ImageSummaryJson, flags: ListFlags, nowMs: number) {
  const id = image.Id.replace(/^sha256:/, '');
  const common = {
    ID: flags.trunc === false ? image.Id : id.slice(0, SHORT_ID_CHARS),
    CreatedSince: ago(image.Created, nowMs),
    CreatedAt: goTime(image.Created),
    Size: humanSize(image.Size),
    VirtualSize: preciseSize(image.Size),
    ...{ SharedSize: 'N/A', UniqueSize: 'N/A', Containers: 'N/A' },
  };
  const digests = new Map(
    (image.RepoDigests ?? []).map((text) => [text.split('@')[0] ?? '', text.split('@')[1] ?? NONE]),
  );
  const tags = image.RepoTags ?? [];
  if (tags.length === 0) {
    // Pulled by its digest alone, as tasks do.
    const named = digests.size === 0 ? [[NONE, NONE] as const] : [...digests];
    return named.map(([repository, digest]) => ({
      ...{ Repository: repository, Tag: NONE, Digest: digest, ...common },
    }));
  }
  return tags.map((tag) => {
    const at = tag.lastIndexOf(':');
    const repository = tag.slice(0, at);
    const digest = digests.get(repository) ?? NONE;
    return { Repository: repository, Tag: tag.slice(at + 1), Digest: digest, ...common };
  });
}

export const load: Configure = (command, context) => {
  refuseFlags(command, { '--platform': 'not supported yet' });
  command
    .option('-i, --input <file>', 'archive; else standard input')
    .option('-q, --quiet', 'no progress')
    .action(async ({ input }: { readonly input?: string }) => {
      if (input === undefined && context.stdin.isTTY) {
        throw new UsageError('requested load from stdin, but stdin is empty');
      }
      const path = input === undefined ? null : resolve(context.cwd, input);
      if (path !== null) await access(path);
      const source = path === null ? context.stdin : createReadStream(path);
      for await (const line of context.client.imageLoad(source)) {
        checkProgress(line);
        if (line.stream !== undefined) context.stdout.write(line.stream);
      }
    });
};

/** Throws what the stream says went wrong. */
export function checkProgress(line: ProgressJson): void {
  const message = line.errorDetail?.message ?? line.error;
  if (message !== undefined) throw new UsageError(message);
}

interface PullFlags {
  readonly allPlatforms?: boolean;
  readonly quiet?: boolean;
}

export const pull: Configure = (command, context) => {
  refuseFlags(command, {
    '-a, --all-tags': 'not supported yet',
    '--platform': 'not supported yet',
    '--disable-content-trust': 'not supported',
  });
  command
    .argument('<image>', 'name, with a tag or digest')
    .option('--all-platforms', 'also the images of other platforms, to push or save them all')
    .option('-q, --quiet', 'no progress')
    .action(async (name: string, flags: PullFlags) => {
      const { tag, digest } = parseImageReference(name);
      if (tag === null && digest === null && !flags.quiet) {
        printLine(context, 'Using default tag: latest');
      }
      printLine(context, await pullImage(context, name, flags));
    });
};

/** The full name of what was pulled. */
export async function pullImage(
  context: CommandContext,
  name: string,
  { quiet = false, allPlatforms = false }: PullFlags,
): Promise<string> {
  const reference = withDefaultTag(parseImageReference(name));
  const tag = reference.digest ?? reference.tag ?? 'latest';
  const auth = await registryAuthFor(context, name);
  const repository = familiarRepository(reference);
  const lines = context.client.imagePull(repository, tag, auth, allPlatforms);
  await showProgress(context, lines, quiet);
  const { domain, path } = reference;
  const full = `${domain}/${path}`;
  return reference.digest === null ? `${full}:${tag}` : `${full}@${tag}`;
}

/** Without a terminal each step of a layer is a line, and the counting in between none. */
export async function showProgress(
  context: CommandContext,
  lines: AsyncIterable<ProgressJson>,
  quiet: boolean,
): Promise<void> {
  const last = new Map<string, string>();
  for await (const line of lines) {
    checkProgress(line);
    const { id = '', status = '' } = line;
    if (quiet || status === '' || last.get(id) === status) continue;
    if (id !== '') last.set(id, status);
    printLine(context, id === '' ? status : `${id}: ${status}`);
  }
}

interface PushFlags {
  readonly allTags?: boolean;
  readonly cluster?: boolean;
  readonly quiet?: boolean;
}

export const push: Configure = (command, context) => {
  refuseFlags(command, {
    '--platform': 'not supported yet',
    '--disable-content-trust': 'not supported',
  });
  command
    .argument('<image>', 'name, with a tag')
    .option('-a, --all-tags', 'every tag of the repository')
    .option('--cluster', 'to every node of the cluster, not to a registry')
    .option('-q, --quiet', 'the name only')
    .action(async (name: string, flags: PushFlags) => {
      if (flags.cluster) {
        if (flags.allTags) throw new UsageError('--cluster takes one image, not --all-tags');
        await showProgress(context, context.client.imageDistribute(name), flags.quiet ?? false);
        return;
      }
      const given = parseImageReference(name);
      if (given.digest !== null) throw new UsageError('cannot push a digest reference');
      if (flags.allTags && given.tag !== null) {
        throw new UsageError("tag can't be used with --all-tags/-a");
      }
      if (!flags.allTags && given.tag === null && !flags.quiet) {
        printLine(context, 'Using default tag: latest');
      }
      const { domain, path, tag } = withDefaultTag(given);
      const repository = familiarRepository(given);
      const auth = await registryAuthFor(context, name);
      const lines = context.client.imagePush(repository, flags.allTags ? null : tag, auth);
      await showProgress(context, lines, flags.quiet ?? false);
      if (flags.quiet) printLine(context, `${domain}/${path}${flags.allTags ? '' : `:${tag}`}`);
    });
};

export const tag: Configure = (command, context) => {
  command
    .argument('<source>', 'image')
    .argument('<target>', 'further name')
    .action(async (source: string, target: string) => {
      const reference = withDefaultTag(parseImageReference(target));
      if (reference.digest !== null) throw new UsageError('refusing to create a tag with a digest');
      const repository = familiarRepository(reference);
      await context.client.imageTag(source, repository, reference.tag ?? 'latest');
    });
};

export const inspect: Configure = (command, context) => {
  refuseFlags(command, { '--platform': 'an image is of the platform of its host' });
  command
    .argument('<image...>', 'names or ids')
    .option('-f, --format <template>', 'json or a template')
    .action((names: readonly string[], flags: InspectFlags) =>
      inspectEach(context, names, flags, {
        noun: 'image',
        find: (name) => context.client.image(name),
      }),
    );
};

export const rm: Configure = (command, context) => {
  refuseFlags(command, { '--no-prune': 'not supported yet', '--platform': 'not supported yet' });
  command
    .argument('<image...>', 'names or ids')
    .option('-f, --force', 'also when the image has several names')
    .action((names: readonly string[], { force }: { readonly force?: boolean }) =>
      eachOf(context, names, async (name) => {
        for (const { Untagged, Deleted } of await context.client.imageRemove(
          name,
          force ?? false,
        )) {
          if (Untagged !== undefined) printLine(context, `Untagged: ${familiar(Untagged)}`);
          if (Deleted !== undefined) printLine(context, `Deleted: ${Deleted}`);
        }
      }),
    );
};

function familiar(name: string): string {
  try {
    return familiarReference(parseImageReference(name));
  } catch {
    return name; // an id
  }
}
