import { createReadStream } from 'node:fs';
import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { labelFields } from '../output/labels.ts';
import { renderListing } from '../output/listing.ts';
import { naturalCompare } from '../output/table.ts';
import { saveTar } from './binary-output.ts';
import {
  type Configure,
  collect,
  eachOf,
  filterMap,
  pairs,
  printLine,
  refuseFlags,
  UsageError,
} from './context.ts';
import { type InspectFlags, inspectEach } from './inspect-each.ts';
import { defaultFormat } from './user-defaults.ts';

const CLUSTER_ONLY = 'cluster volumes are not supported yet';

/** Of cluster volumes, and of sizes that lists do not ask for. */
const NOT_TOLD = Object.fromEntries(
  ['Availability', 'Group', 'Links', 'Size', 'Status'].map((field) => [field, 'N/A']),
);

interface ListFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
}

export const ls: Configure = (command, context) => {
  defaultFormat(command, context, 'volumesFormat');
  refuseFlags(command, { '--cluster': CLUSTER_ONLY });
  command
    .option('-f, --filter <name=value>', 'dangling, driver, label, name', collect)
    .option('--format <template>', 'table, json or a template')
    .option('-q, --quiet', 'names only')
    .action(async (flags: ListFlags) => {
      const volumes = await context.client.volumes(filterMap(flags.filter));
      const rows = [...volumes]
        .sort((a, b) => naturalCompare(a.Name, b.Name))
        .map((volume) => ({
          Driver: volume.Driver,
          Name: volume.Name,
          Mountpoint: volume.Mountpoint,
          Scope: volume.Scope,
          ...labelFields(volume.Labels),
          ...NOT_TOLD,
        }));
      const columns = [
        ['DRIVER', 'Driver'],
        ['VOLUME NAME', 'Name'],
      ] as const;
      context.stdout.write(renderListing({ columns, rows, quietField: 'Name' }, flags));
    });
};

interface CreateFlags {
  readonly driver: string;
  readonly label?: readonly string[];
  readonly opt?: readonly string[];
}

export const create: Configure = (command, context) => {
  refuseFlags(
    command,
    Object.fromEntries(
      [
        'availability',
        'group',
        'limit-bytes',
        'required-bytes',
        'scope',
        'secret',
        'sharing',
        'type',
        'topology-preferred',
        'topology-required',
      ].map((name) => [`--${name}`, CLUSTER_ONLY]),
    ),
  );
  command
    .argument('[name]', 'of the volume; one is made up when it is missing', '')
    .option('-d, --driver <driver>', 'of the volume', 'local')
    .option('--label <key=value>', 'of the volume', collect)
    .option('-o, --opt <key=value>', 'of the driver', collect)
    .action(async (name: string, flags: CreateFlags) => {
      const volume = await context.client.volumeCreate({
        Name: name,
        Driver: flags.driver,
        DriverOpts: pairs(flags.opt),
        Labels: pairs(flags.label),
      });
      printLine(context, volume.Name);
    });
};

export const inspect: Configure = (command, context) => {
  command
    .argument('<volume...>', 'names')
    .option('-f, --format <template>', 'json or a template')
    .action((names: readonly string[], flags: InspectFlags) =>
      inspectEach(context, names, flags, {
        noun: 'volume',
        find: (name) => context.client.volume(name),
      }),
    );
};

export const rm: Configure = (command, context) => {
  command
    .argument('<volume...>', 'names')
    .option('-f, --force', 'no error for a volume that does not exist')
    .action((names: readonly string[], { force }: { readonly force?: boolean }) =>
      eachOf(context, names, async (name) => {
        await context.client.volumeRemove(name, force ?? false);
        printLine(context, name);
      }),
    );
};

export const exportVolume: Configure = (command, context) => {
  command
    .argument('<volume>', 'name')
    .option('-o, --output <file>', 'instead of standard output')
    .action((name: string, { output }: { readonly output?: string }) =>
      saveTar(context, output, () => context.client.volumeExport(name)),
    );
};

export const importVolume: Configure = (command, context) => {
  command
    .argument('<volume>', 'name; it is made when there is none')
    .argument('[file]', 'tar, plain or compressed by gzip; - = standard input', '-')
    .option('-f, --force', 'also into a volume that is not empty')
    .action(async (name: string, file: string, { force }: { readonly force?: boolean }) => {
      const path = file === '-' ? null : resolve(context.cwd, file);
      if (path === null && context.stdin.isTTY) {
        throw new UsageError('requested import from stdin, but stdin is empty');
      }
      if (path !== null) await access(path);
      const source = path === null ? context.stdin : createReadStream(path);
      await context.client.volumeImport(name, source, force ?? false);
      printLine(context, name);
    });
};
