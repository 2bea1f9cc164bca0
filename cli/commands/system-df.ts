/** `skep system df`: what images, containers and volumes of the host take of its disk. */
import type { ContainerSummaryJson } from '../../common/model/engine-json/container.ts';
import type { ImageSummaryJson } from '../../common/model/engine-json/image.ts';
import type { DiskUsageJson } from '../../common/model/engine-json/system.ts';
import { type Row, renderListing } from '../output/listing.ts';
import { ago, humanSize, preciseSize } from '../output/units.ts';
import { containerRow } from './container.ts';
import { type Configure, printLine, UsageError } from './context.ts';
import { SHORT_ID_CHARS } from './tasks.ts';

export const df: Configure = (command, context) => {
  command
    .option('--format <template>', 'table, json or a template')
    .option('-v, --verbose', 'each image, container and volume')
    .action(async (flags: { readonly format?: string; readonly verbose?: boolean }) => {
      const usage = await context.client.diskUsage();
      if (!flags.verbose) {
        const columns = [
          ['TYPE', 'Type'],
          ['TOTAL', 'TotalCount'],
          ['ACTIVE', 'Active'],
          ['SIZE', 'Size'],
          ['RECLAIMABLE', 'Reclaimable'],
        ] as const;
        const listing = { columns, rows: summary(usage), quietField: 'Type' };
        context.stdout.write(renderListing(listing, flags));
        return;
      }
      if (flags.format !== undefined) {
        throw new UsageError('--format is not supported together with --verbose');
      }
      printLine(context, 'Images space usage:\n');
      context.stdout.write(imageTable(usage.Images ?? [], context.clock.wallMs()));
      printLine(context, '\nContainers space usage:\n');
      context.stdout.write(containerTable(usage, context.clock.wallMs()));
      printLine(context, '\nLocal Volumes space usage:\n');
      context.stdout.write(volumeTable(usage));
      printLine(context, `\nBuild cache usage: ${preciseSize(0)}\n`);
      context.stdout.write(
        renderListing({ columns: CACHE_COLUMNS, rows: [], quietField: 'ID' }, {}),
      );
    });
};

/** Nothing is built here: Docker's headings over nothing, for who reads by them. */
const CACHE_COLUMNS = [
  ['CACHE ID', 'ID'],
  ['CACHE TYPE', 'Type'],
  ['SIZE', 'Size'],
  ['CREATED', 'Created'],
  ['LAST USED', 'LastUsed'],
  ['USAGE', 'Usage'],
  ['SHARED', 'Shared'],
] as const;

function summary(usage: DiskUsageJson): Row[] {
  const images = usage.Images ?? [];
  const volumes = usage.Volumes ?? [];
  const containers = usage.Containers ?? [];
  const used = images.filter((image) => (image.Containers ?? 0) > 0);
  const ownBytes = (image: ImageSummaryJson): number => image.Size - (image.SharedSize ?? 0);
  const imageBytes = usage.LayersSize ?? 0;
  // Layers that a used image shares stay: only what an image has for itself is sure to go.
  const unusedBytes = images
    .filter((image) => !used.includes(image))
    .reduce((sum, image) => sum + ownBytes(image), 0);
  const volumeBytes = (list: typeof volumes): number =>
    list.reduce((sum, { UsageData }) => sum + Math.max(0, UsageData?.Size ?? 0), 0);
  const free = volumes.filter(({ UsageData }) => UsageData?.RefCount === 0);
  const running = containers.filter(isActive);
  const changedBytes = (list: typeof containers): number =>
    list.reduce((sum, { SizeRw }) => sum + (SizeRw ?? 0), 0);
  const ended = containers.filter((container) => !isActive(container));
  return [
    row('Images', images.length, used.length, imageBytes, unusedBytes),
    row(
      'Containers',
      containers.length,
      running.length,
      changedBytes(containers),
      changedBytes(ended),
    ),
    row(
      'Local Volumes',
      volumes.length,
      volumes.length - free.length,
      volumeBytes(volumes),
      volumeBytes(free),
    ),
    row('Build Cache', 0, 0, 0, 0),
  ];
}

/** `container prune` would not take it. */
function isActive({ State }: ContainerSummaryJson): boolean {
  return ['running', 'paused', 'restarting'].includes(State);
}

function row(type: string, total: number, active: number, bytes: number, freeBytes: number): Row {
  const percent = bytes > 0 ? ` (${Math.floor((100 * freeBytes) / bytes)}%)` : '';
  return {
    Type: type,
    TotalCount: String(total),
    Active: String(active),
    Size: preciseSize(bytes),
    Reclaimable: `${preciseSize(freeBytes)}${percent}`,
  };
}

function imageTable(images: readonly ImageSummaryJson[], nowMs: number): string {
  const rows = images.map((image) => {
    const [tag = '<none>:<none>'] = image.RepoTags ?? [];
    const at = tag.lastIndexOf(':');
    return {
      Repository: tag.slice(0, at),
      Tag: tag.slice(at + 1),
      ID: image.Id.replace(/^sha256:/, '').slice(0, SHORT_ID_CHARS),
      Created: ago(image.Created, nowMs),
      Size: humanSize(image.Size),
      SharedSize: preciseSize(image.SharedSize ?? 0),
      UniqueSize: preciseSize(image.Size - (image.SharedSize ?? 0)),
      Containers: String(image.Containers ?? 0),
    };
  });
  const columns = [
    ['REPOSITORY', 'Repository'],
    ['TAG', 'Tag'],
    ['IMAGE ID', 'ID'],
    ['CREATED', 'Created'],
    ['SIZE', 'Size'],
    ['SHARED SIZE', 'SharedSize'],
    ['UNIQUE SIZE', 'UniqueSize'],
    ['CONTAINERS', 'Containers'],
  ] as const;
  return renderListing({ columns, rows, quietField: 'ID' }, {});
}

function containerTable({ Containers }: DiskUsageJson, nowMs: number): string {
  const rows = (Containers ?? []).map(({ SizeRootFs: _, ...container }) =>
    containerRow(container, true, nowMs),
  );
  const columns = [
    ['CONTAINER ID', 'ID'],
    ['IMAGE', 'Image'],
    ['COMMAND', 'Command'],
    ['LOCAL VOLUMES', 'LocalVolumes'],
    ['SIZE', 'Size'],
    ['CREATED', 'RunningFor'],
    ['STATUS', 'Status'],
    ['NAMES', 'Names'],
  ] as const;
  return renderListing({ columns, rows, quietField: 'ID' }, {});
}

function volumeTable({ Volumes }: DiskUsageJson): string {
  const rows = (Volumes ?? []).map(({ Name, UsageData }) => ({
    Name,
    Links: String(UsageData?.RefCount ?? 0),
    Size: humanSize(Math.max(0, UsageData?.Size ?? 0)),
  }));
  const columns = [
    ['VOLUME NAME', 'Name'],
    ['LINKS', 'Links'],
    ['SIZE', 'Size'],
  ] as const;
  return renderListing({ columns, rows, quietField: 'Name' }, {});
}
