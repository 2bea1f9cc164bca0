/** `skep ps` and `skep container inspect`: containers of the host whose daemon answers. */
import type { ContainerSummaryJson } from '../../common/model/engine-json/container.ts';
import { labelFields } from '../output/labels.ts';
import { renderListing } from '../output/listing.ts';
import { containerPorts } from '../output/ports.ts';
import { ellipsis } from '../output/table.ts';
import { ago, goTime, humanSize } from '../output/units.ts';
import { type Configure, collect, filterMap, unsigned } from './context.ts';
import { type InspectFlags, inspectEach } from './inspect-each.ts';
import { SHORT_ID_CHARS, shortImage } from './tasks.ts';
import { defaultFormat } from './user-defaults.ts';

const COMMAND_CHARS_MAX = 20;
const MOUNT_CHARS_MAX = 15;

const FILTERS =
  'ancestor, before, exited, expose, health, id, is-task, label, name, network, node, publish, since, status, volume';

interface PsFlags {
  readonly all?: boolean;
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly last?: number;
  readonly latest?: boolean;
  readonly quiet?: boolean;
  readonly size?: boolean;
  readonly trunc?: boolean;
}

export const ps: Configure = (command, context) => {
  defaultFormat(command, context, 'psFormat');
  command
    .option('-a, --all', 'also those that do not run')
    .option('-f, --filter <name=value>', FILTERS, collect)
    .option('--format <template>', 'table, json or a template')
    .option('-n, --last <n>', 'the last n, running or not', unsigned)
    .option('-l, --latest', 'the last one, running or not')
    .option('--no-trunc', 'full ids and commands')
    .option('-q, --quiet', 'ids only')
    .option('-s, --size', 'what they have written')
    .action(async (flags: PsFlags) => {
      const limit = flags.latest ? 1 : flags.last;
      const containers = await context.client.containers({
        all: (flags.all ?? false) || limit !== undefined,
        ...(limit !== undefined && { limit }),
        ...((flags.size || /\.Size\b/.test(flags.format ?? '')) && { size: true }),
        filters: filterMap(flags.filter),
      });
      const trunc = flags.trunc ?? true;
      const nowMs = context.clock.wallMs();
      const rows = containers.map((container) => containerRow(container, trunc, nowMs));
      const columns = [
        ['CONTAINER ID', 'ID'],
        ['IMAGE', 'Image'],
        ['COMMAND', 'Command'],
        ['CREATED', 'RunningFor'],
        ['STATUS', 'Status'],
        ['PORTS', 'Ports'],
        ['NAMES', 'Names'],
        ...(flags.size ? [['SIZE', 'Size'] as const] : []),
      ] as const;
      context.stdout.write(renderListing({ columns, rows, quietField: 'ID' }, flags));
    });
};

/** What lists of containers show of one. */
export function containerRow(container: ContainerSummaryJson, trunc: boolean, nowMs: number) {
  const mounts = container.Mounts ?? [];
  const command = trunc ? ellipsis(container.Command, COMMAND_CHARS_MAX) : container.Command;
  return {
    ID: trunc ? container.Id.slice(0, SHORT_ID_CHARS) : container.Id,
    Image: shortImage(container.Image, trunc),
    Command: `"${command}"`,
    RunningFor: ago(container.Created, nowMs),
    CreatedAt: goTime(container.Created),
    Status: container.Status,
    State: container.State,
    Ports: containerPorts(container.Ports ?? []),
    Names: container.Names.map((name) => name.replace(/^\//, '')).join(','),
    ...labelFields(container.Labels),
    Mounts: mounts
      .map(({ Name, Source }) => Name || Source || '')
      .map((name) => (trunc ? ellipsis(name, MOUNT_CHARS_MAX) : name))
      .join(','),
    LocalVolumes: String(mounts.filter(({ Driver }) => Driver === 'local').length),
    Platform: null,
    Size: sizeText(container),
    Networks: Object.keys(container.NetworkSettings?.Networks ?? {}).join(','),
  };
}

function sizeText({ SizeRw, SizeRootFs }: ContainerSummaryJson): string {
  const written = humanSize(SizeRw ?? 0);
  return SizeRootFs === undefined ? written : `${written} (virtual ${humanSize(SizeRootFs)})`;
}

export const inspect: Configure = (command, context) => {
  command
    .argument('<container...>', 'ids or names')
    .option('-f, --format <template>', 'json or a template')
    .option('-s, --size', 'with their sizes')
    .action((refs: readonly string[], flags: InspectFlags & { readonly size?: boolean }) =>
      inspectEach(context, refs, flags, {
        noun: 'container',
        find: (ref) => context.client.container(ref, flags.size ?? false),
      }),
    );
};
