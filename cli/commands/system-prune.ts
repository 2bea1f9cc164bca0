/** `skep system prune` and `skep volume prune`: what nobody uses any more, on the host whose daemon answers. */
import { humanSize } from '../output/units.ts';
import { askWhetherToContinue } from './ask.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  filterMap,
  printLine,
  UsageError,
} from './context.ts';

interface PruneFlags {
  readonly all?: boolean;
  readonly filter?: readonly string[];
  readonly force?: boolean;
  readonly volumes?: boolean;
}

function isWanted(context: CommandContext, what: readonly string[]): Promise<boolean> {
  const list = what.map((line) => `  - ${line}\n`).join('');
  return askWhetherToContinue(context, `WARNING! This will remove:\n${list}`);
}

function printDeleted(context: CommandContext, heading: string, names: readonly string[]): void {
  if (names.length === 0) return;
  printLine(context, heading);
  for (const name of names) printLine(context, name);
  printLine(context, '');
}

export const systemPrune: Configure = (command, context) => {
  command
    .option('-a, --all', 'all images that no container uses, not only those without a name')
    .option('--filter <name=value>', 'label, label!, until', collect)
    .option('-f, --force', 'do not ask')
    .option('--volumes', 'anonymous volumes too')
    .action(async (flags: PruneFlags) => {
      const filters = filterMap(flags.filter);
      // A volume's age says nothing about its use: one that is older than a day may hold today's data.
      if (flags.volumes && filters['until']) {
        throw new UsageError('The "until" filter is not supported with "--volumes"');
      }
      const what = [
        'all stopped containers',
        'all networks not used by at least one container',
        ...(flags.volumes ? ['all anonymous volumes not used by at least one container'] : []),
        flags.all
          ? 'all images without at least one container associated to them'
          : 'all dangling images',
      ];
      if (!flags.force && !(await isWanted(context, what))) return;
      const { client } = context;
      const { ContainersDeleted } = await client.containersPrune(filters);
      printDeleted(context, 'Deleted Containers:', ContainersDeleted ?? []);
      const { NetworksDeleted } = await client.networksPrune(filters);
      printDeleted(context, 'Deleted Networks:', NetworksDeleted ?? []);
      if (flags.volumes) {
        const { VolumesDeleted } = await client.volumesPrune(filters);
        printDeleted(context, 'Deleted Volumes:', VolumesDeleted ?? []);
      }
      const dangling = [flags.all ? 'false' : 'true'];
      const images = await client.imagesPrune({ ...filters, dangling });
      const lines = (images.ImagesDeleted ?? []).map(({ Untagged, Deleted }) =>
        Untagged === undefined ? `deleted: ${Deleted}` : `untagged: ${Untagged}`,
      );
      printDeleted(context, 'Deleted Images:', lines);
      printLine(context, `Total reclaimed space: ${humanSize(images.SpaceReclaimed)}`);
    });
};

export const volumePrune: Configure = (command, context) => {
  command
    .option('-a, --all', 'named ones too')
    .option('--filter <name=value>', 'label, label!', collect)
    .option('-f, --force', 'do not ask')
    .action(async (flags: PruneFlags) => {
      const kind = flags.all ? 'all' : 'anonymous';
      const what = `${kind} local volumes not used by at least one container`;
      if (!flags.force && !(await isWanted(context, [what]))) return;
      const filters = { ...filterMap(flags.filter), ...(flags.all && { all: ['true'] }) };
      const { VolumesDeleted } = await context.client.volumesPrune(filters);
      printDeleted(context, 'Deleted Volumes:', VolumesDeleted ?? []);
    });
};
