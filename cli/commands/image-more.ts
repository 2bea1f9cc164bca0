/** `skep image history`, `import` and `prune`. */
import { createReadStream } from 'node:fs';
import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import type { ImageHistoryJson } from '../../common/model/engine-json/image.ts';
import { familiarRepository, parseImageReference } from '../../common/model/image-reference.ts';
import { renderListing } from '../output/listing.ts';
import { ago, humanSize, rfc3339 } from '../output/units.ts';
import { askWhetherToContinue } from './ask.ts';
import {
  type Configure,
  collect,
  filterMap,
  printLine,
  refuseFlags,
  UsageError,
} from './context.ts';
import { checkProgress } from './image.ts';
import { SHORT_ID_CHARS } from './tasks.ts';

const CREATED_BY_CHARS = 45;

interface HistoryFlags {
  readonly format?: string;
  readonly human?: boolean;
  readonly quiet?: boolean;
  readonly trunc?: boolean;
}

export const history: Configure = (command, context) => {
  refuseFlags(command, { '--platform': 'not supported yet' });
  command
    .argument('<image>', 'name or id')
    .option('--format <template>', 'table, json or a template')
    .option('-H, --human', 'sizes and times for people', true)
    .option('--no-human', 'bytes and RFC 3339')
    .option('--no-trunc', 'full ids and commands')
    .option('-q, --quiet', 'ids only')
    .action(async (name: string, flags: HistoryFlags) => {
      const steps = await context.client.imageHistory(name);
      const nowMs = context.clock.wallMs();
      const rows = steps.map((step) => historyRow(step, flags, nowMs));
      const created =
        flags.human === false
          ? ([['CREATED AT', 'CreatedAt']] as const)
          : ([['CREATED', 'CreatedSince']] as const);
      const columns = [
        ['IMAGE', 'ID'],
        ...created,
        ['CREATED BY', 'CreatedBy'],
        ['SIZE', 'Size'],
        ['COMMENT', 'Comment'],
      ] as const;
      context.stdout.write(renderListing({ columns, rows, quietField: 'ID' }, flags));
    });
};

function historyRow(step: ImageHistoryJson, flags: HistoryFlags, nowMs: number) {
  const full = flags.trunc === false;
  const created = step.CreatedBy.replaceAll('\t', ' ');
  const isLong = !full && created.length > CREATED_BY_CHARS;
  return {
    ID: full ? step.Id : step.Id.replace(/^sha256:/, '').slice(0, SHORT_ID_CHARS),
    CreatedSince: ago(step.Created, nowMs),
    CreatedAt: rfc3339(step.Created),
    CreatedBy: isLong ? `${created.slice(0, CREATED_BY_CHARS - 1)}…` : created,
    Size: flags.human === false ? String(step.Size) : humanSize(step.Size),
    Comment: step.Comment,
  };
}

export const importImage: Configure = (command, context) => {
  refuseFlags(command, { '--platform': 'not supported yet' });
  command
    .argument(
      '<file>',
      'tar of a file system, plain or compressed: a path, an http(s) URL, or - = standard input',
    )
    .argument('[repository[:tag]]', 'name of the image', '')
    .option('-c, --change <instruction>', 'of a Dockerfile, to apply', collect)
    .option('-m, --message <text>', 'for the history')
    .action(
      async (
        file: string,
        name: string,
        flags: { readonly change?: readonly string[]; readonly message?: string },
      ) => {
        const given = name === '' ? null : parseImageReference(name);
        if (given !== null && given.digest !== null) {
          throw new UsageError('cannot import digest reference');
        }
        const url = /^https?:\/\//.test(file) ? file : null;
        const path = file === '-' || url !== null ? null : resolve(context.cwd, file);
        if (path !== null) await access(path);
        const input = path === null ? context.stdin : createReadStream(path);
        const lines = context.client.imageImport(url === null ? input : Readable.from([]), {
          source: url ?? '-',
          repository: given === null ? '' : familiarRepository(given),
          tag: given?.tag ?? '',
          message: flags.message ?? '',
          changes: flags.change ?? [],
        });
        for await (const line of lines) {
          checkProgress(line);
          if (line.status !== undefined) printLine(context, line.status);
        }
      },
    );
};

interface PruneFlags {
  readonly all?: boolean;
  readonly filter?: readonly string[];
  readonly force?: boolean;
}

export const prune: Configure = (command, context) => {
  command
    .option('-a, --all', 'all images that no container uses, not only those without a name')
    .option('--filter <name=value>', 'label, label!, until', collect)
    .option('-f, --force', 'do not ask')
    .action(async (flags: PruneFlags) => {
      const which = flags.all
        ? 'all images without at least one container associated to them'
        : 'all dangling images';
      const warning = `WARNING! This will remove ${which}.`;
      if (!flags.force && !(await askWhetherToContinue(context, warning))) return;
      const dangling = [flags.all ? 'false' : 'true'];
      const result = await context.client.imagesPrune({ ...filterMap(flags.filter), dangling });
      const removed = result.ImagesDeleted ?? [];
      if (removed.length > 0) printLine(context, 'Deleted Images:');
      for (const { Untagged, Deleted } of removed) {
        printLine(
          context,
          Untagged === undefined ? `deleted: ${Deleted}` : `untagged: ${Untagged}`,
        );
      }
      if (removed.length > 0) printLine(context, '');
      printLine(context, `Total reclaimed space: ${humanSize(result.SpaceReclaimed)}`);
    });
};

export const verify: Configure = (command, context) => {
  command.action(async () => {
    for await (const line of context.client.imagesVerify()) {
      checkProgress(line);
      if (line.id !== undefined) printLine(context, `${line.id}: ${line.status}`);
    }
  });
};
