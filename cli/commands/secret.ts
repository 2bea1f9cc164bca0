/** `skep secret ...` and `skep config ...`, which differ in little. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buffer as readStream } from 'node:stream/consumers';
import type { SecretJson } from '../../common/model/engine-json/secret.ts';
import { labelFields } from '../output/labels.ts';
import { renderListing } from '../output/listing.ts';
import { naturalCompare } from '../output/table.ts';
import { ago, goTime } from '../output/units.ts';
import {
  type CommandContext,
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

type Kind = 'secrets' | 'configs';

const nounOf = (kind: Kind): string => kind.slice(0, -1);

interface CreateFlags {
  readonly label?: readonly string[];
  readonly templateDriver?: string;
}

function create(kind: Kind): Configure {
  return (command, context) => {
    if (kind === 'secrets') {
      refuseFlags(command, { '-d, --driver': 'secret drivers are not supported yet' });
    }
    command
      .argument('<name>', `of the ${nounOf(kind)}`)
      .argument('<file>', 'its content; - for standard input')
      .option('-l, --label <key=value>', `of the ${nounOf(kind)}`, collect)
      .option('--template-driver <driver>', 'golang: the content is a template')
      .action(async (name: string, file: string, flags: CreateFlags) => {
        const data = await contentOf(context, file);
        if (data.length === 0) throw new UsageError(`${nounOf(kind)} data must not be empty`);
        const { ID } = await context.client.secretCreate(kind, {
          Name: name,
          Labels: pairs(flags.label),
          Data: data.toString('base64'),
          ...(flags.templateDriver && { Templating: { Name: flags.templateDriver } }),
        });
        printLine(context, ID);
      });
  };
}

async function contentOf(context: CommandContext, file: string): Promise<Buffer> {
  if (file === '-') return readStream(context.stdin);
  return readFile(resolve(context.cwd, file));
}

interface ListFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
}

function ls(kind: Kind): Configure {
  return (command, context) => {
    defaultFormat(command, context, kind === 'secrets' ? 'secretFormat' : 'configFormat');
    command
      .option('-f, --filter <name=value>', 'id, label, name', collect)
      .option('--format <template>', 'table, json or a template')
      .option('-q, --quiet', 'ids only')
      .action(async (flags: ListFlags) => {
        const found = await context.client.secrets(kind, filterMap(flags.filter));
        const nowMs = context.clock.wallMs();
        const rows = [...found]
          .sort((a, b) => naturalCompare(a.Spec.Name, b.Spec.Name))
          .map((object) => ({
            ID: object.ID,
            Name: object.Spec.Name,
            ...(kind === 'secrets' && { Driver: object.Spec.Driver?.Name ?? '' }),
            CreatedAt: ago(object.CreatedAt, nowMs),
            UpdatedAt: ago(object.UpdatedAt, nowMs),
            ...labelFields(object.Spec.Labels),
          }));
        const driver = [['DRIVER', 'Driver'] as const].filter(() => kind === 'secrets');
        const columns = [
          ['ID', 'ID'],
          ['NAME', 'Name'],
          ...driver,
          ['CREATED', 'CreatedAt'],
          ['UPDATED', 'UpdatedAt'],
        ] as const;
        context.stdout.write(renderListing({ columns, rows, quietField: 'ID' }, flags));
      });
  };
}

function inspect(kind: Kind): Configure {
  return (command, context) => {
    command
      .argument(`<${nounOf(kind)}...>`, 'ids or names')
      .option('-f, --format <template>', 'json or a template')
      .option('--pretty', 'print for people')
      .action((refs: readonly string[], flags: InspectFlags) =>
        inspectEach(context, refs, flags, {
          noun: nounOf(kind),
          find: (ref) => context.client.secret(kind, ref),
          pretty: (objects) => objects.map(pretty),
        }),
      );
  };
}

function pretty(object: SecretJson): string {
  const labels = Object.entries(object.Spec.Labels ?? {}).map(([k, v]) => ` - ${k}=${v}`);
  return [
    `ID:              ${object.ID}`,
    `Name:            ${object.Spec.Name}`,
    ...(labels.length > 0 ? ['Labels:', ...labels] : []),
    `Created at:      ${goTime(object.CreatedAt)}`,
    `Updated at:      ${goTime(object.UpdatedAt)}`,
    ...(object.Spec.Data === undefined
      ? []
      : ['Data:', Buffer.from(object.Spec.Data, 'base64').toString('utf8')]),
    '',
  ].join('\n');
}

function rm(kind: Kind): Configure {
  return (command, context) => {
    command.argument(`<${nounOf(kind)}...>`, 'ids or names').action((refs: readonly string[]) =>
      eachOf(context, refs, async (ref) => {
        await context.client.secretRemove(kind, ref);
        printLine(context, ref);
      }),
    );
  };
}

export const secretCreate = create('secrets');
export const secretLs = ls('secrets');
export const secretInspect = inspect('secrets');
export const secretRm = rm('secrets');
export const configCreate = create('configs');
export const configLs = ls('configs');
export const configInspect = inspect('configs');
export const configRm = rm('configs');
