/** `skep node ls` and `skep node ps`. */
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type { TlsInfoJson } from '../../common/model/engine-json/swarm.ts';
import { renderListing } from '../output/listing.ts';
import { naturalCompare } from '../output/table.ts';
import { type Configure, collect, filterMap } from './context.ts';
import { resolveNode } from './node.ts';
import { listTasks, type TaskListFlags } from './tasks.ts';
import { defaultFormat } from './user-defaults.ts';

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

function managerStatus({ ManagerStatus }: NodeJson): string {
  if (!ManagerStatus) return '';
  return ManagerStatus.Leader ? 'Leader' : capital(ManagerStatus.Reachability ?? '');
}

/** Whether its certificate is of the root that the cluster wants. */
function tlsStatus({ Description }: NodeJson, wanted: TlsInfoJson | undefined): string {
  const own = Description?.TLSInfo;
  if (!own?.TrustRoot || !wanted?.TrustRoot) return 'Unknown';
  const fields = ['TrustRoot', 'CertIssuerSubject', 'CertIssuerPublicKey'] as const;
  return fields.every((field) => own[field] === wanted[field]) ? 'Ready' : 'Needs Rotation';
}

interface ListFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
}

export const ls: Configure = (command, context) => {
  defaultFormat(command, context, 'nodesFormat');
  command
    .option('-f, --filter <name=value>', 'id, label, node.label, membership, name, role', collect)
    .option('--format <template>', 'table, json or a template')
    .option('-q, --quiet', 'ids only')
    .action(async (flags: ListFlags) => {
      const nodes = await context.client.nodes(filterMap(flags.filter));
      const swarm = flags.quiet ? null : (await context.client.info()).Swarm;
      const own = swarm?.NodeID ?? '';
      const table = (flags.format ?? 'table').startsWith('table');
      const rows = [...nodes]
        .sort((a, b) =>
          naturalCompare(a.Description?.Hostname ?? '', b.Description?.Hostname ?? ''),
        )
        .map((node) => ({
          ID: table && !flags.quiet ? `${node.ID} ${node.ID === own ? '*' : ' '}` : node.ID,
          Self: node.ID === own,
          Hostname: node.Description?.Hostname ?? '',
          Status: capital(node.Status?.State ?? ''),
          Availability: capital(node.Spec.Availability),
          ManagerStatus: managerStatus(node),
          EngineVersion: node.Description?.Engine?.EngineVersion ?? '',
          TLSStatus: tlsStatus(node, swarm?.Cluster?.TLSInfo),
        }));
      const text = renderListing(
        {
          columns: [
            ['ID', 'ID'],
            ['HOSTNAME', 'Hostname'],
            ['STATUS', 'Status'],
            ['AVAILABILITY', 'Availability'],
            ['MANAGER STATUS', 'ManagerStatus'],
            ['ENGINE VERSION', 'EngineVersion'],
          ],
          headings: { TLSStatus: 'TLS STATUS' },
          rows,
          quietField: 'ID',
        },
        flags,
      );
      context.stdout.write(text);
    });
};

export const ps: Configure = (command, context) => {
  defaultFormat(command, context, 'tasksFormat');
  command
    .argument('[node...]', 'ids, names or self', ['self'])
    .option('-f, --filter <name=value>', 'desired-state, id, label, name, node, service', collect)
    .option('--format <template>', 'table, json or a template')
    .option('--no-resolve', 'ids instead of names')
    .option('--no-trunc', 'full ids, images and errors')
    .option('-q, --quiet', 'ids only')
    .action(async (refs: readonly string[], flags: TaskListFlags) => {
      const nodes = await Promise.all(refs.map((ref) => resolveNode(context, ref)));
      const filters = filterMap(flags.filter);
      const tasks = await Promise.all(
        nodes.map((node) => context.client.tasks({ ...filters, node: [node.ID] })),
      );
      context.stdout.write(renderListing(await listTasks(context, tasks.flat(), flags), flags));
    });
};
