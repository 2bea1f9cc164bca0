/** `skep service ...`: lists, showing, scaling, going back, removing. */
import type { ServiceJson, ServiceSpecJson } from '../../common/model/engine-json/service.ts';
import { type Listing, renderListing } from '../output/listing.ts';
import { ingressPorts } from '../output/ports.ts';
import { naturalCompare } from '../output/table.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  ExitError,
  eachOf,
  filterMap,
  printLine,
  UsageError,
  warnLine,
} from './context.ts';
import { waitForService, waitForServices } from './converge.ts';
import { type InspectFlags, inspectEach } from './inspect-each.ts';
import { prettyService } from './service-pretty.ts';
import { waitForTasks } from './task-wait.ts';
import { listTasks, SHORT_ID_CHARS, shortImage, type TaskListFlags } from './tasks.ts';
import { defaultFormat } from './user-defaults.ts';

export function modeName({ Mode }: ServiceSpecJson): string {
  if (Mode?.Global) return 'global';
  if (Mode?.GlobalJob) return 'global job';
  if (Mode?.ReplicatedJob) return 'replicated job';
  return 'replicated';
}

function replicasText(service: ServiceJson): string {
  const { RunningTasks = 0, DesiredTasks = 0, CompletedTasks = 0 } = service.ServiceStatus ?? {};
  const text = `${RunningTasks}/${DesiredTasks}`;
  const job = service.Spec.Mode?.ReplicatedJob;
  if (job) return `${text} (${CompletedTasks}/${job.TotalCompletions ?? 1} completed)`;
  if (service.Spec.Mode?.GlobalJob) {
    return `${text} (${CompletedTasks}/${DesiredTasks + CompletedTasks} completed)`;
  }
  const most = service.Spec.TaskTemplate.Placement?.MaxReplicas ?? 0;
  return most > 0 && service.Spec.Mode?.Replicated ? `${text} (max ${most} per node)` : text;
}

/** Rows of `service ls` and `stack services`, sorted by name. */
export function listServices(services: readonly ServiceJson[]): Listing {
  const rows = [...services]
    .sort((a, b) => naturalCompare(a.Spec.Name, b.Spec.Name))
    .map((service) => ({
      ID: service.ID.slice(0, SHORT_ID_CHARS),
      Name: service.Spec.Name,
      Mode: modeName(service.Spec),
      Replicas: replicasText(service),
      Image: shortImage(service.Spec.TaskTemplate.ContainerSpec?.Image ?? ''),
      Ports: ingressPorts(service.Endpoint?.Ports),
    }));
  return {
    columns: [
      ['ID', 'ID'],
      ['NAME', 'Name'],
      ['MODE', 'Mode'],
      ['REPLICAS', 'Replicas'],
      ['IMAGE', 'Image'],
      ['PORTS', 'Ports'],
    ],
    rows,
    quietField: 'ID',
  };
}

interface ListFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
}

export const ls: Configure = (command, context) => {
  defaultFormat(command, context, 'servicesFormat');
  command
    .option('-f, --filter <name=value>', 'id, label, mode, name', collect)
    .option('--format <template>', 'table, json or a template')
    .option('-q, --quiet', 'ids only')
    .action(async (flags: ListFlags) => {
      const services = await context.client.services(filterMap(flags.filter), !flags.quiet);
      context.stdout.write(renderListing(listServices(services), flags));
    });
};

export const ps: Configure = (command, context) => {
  defaultFormat(command, context, 'tasksFormat');
  command
    .argument('<service...>', 'ids or names')
    .option('-f, --filter <name=value>', 'desired-state, id, name, node', collect)
    .option('--format <template>', 'table, json or a template')
    .option('--no-resolve', 'ids instead of names')
    .option('--no-trunc', 'full ids, images and errors')
    .option('-q, --quiet', 'ids only')
    .action(async (refs: readonly string[], flags: TaskListFlags) => {
      const { ids, missing } = await findServices(context, refs);
      if (ids.length > 0) {
        const filters = await withSelf(context, filterMap(flags.filter));
        const tasks = await context.client.tasks({ ...filters, service: ids });
        // Of these ids alone, the short ones are of no use to scripts: docker prints them whole.
        const shown = flags.quiet ? { ...flags, trunc: false } : flags;
        context.stdout.write(renderListing(await listTasks(context, tasks, shown), flags));
      }
      for (const ref of missing) warnLine(context, `no such service: ${ref}`);
      if (missing.length > 0) throw new ExitError(1);
    });
};

/** As Docker: an id, else an exact name, else the only service whose id begins so. */
async function findServices(
  context: CommandContext,
  refs: readonly string[],
): Promise<{ readonly ids: string[]; readonly missing: string[] }> {
  const ids: string[] = [];
  const missing: string[] = [];
  for (const ref of refs) {
    const [byId, byName] = await Promise.all([
      context.client.services({ id: [ref] }),
      context.client.services({ name: [ref] }),
    ]);
    const found =
      byId.find((service) => service.ID === ref) ??
      byName.find((service) => service.Spec.Name === ref) ??
      byId[0];
    if (found) ids.push(found.ID);
    else missing.push(ref);
  }
  return { ids, missing };
}

async function withSelf(
  context: CommandContext,
  filters: Record<string, readonly string[]>,
): Promise<Record<string, readonly string[]>> {
  if (!filters['node']?.includes('self')) return filters;
  const own = (await context.client.info()).Swarm.NodeID ?? '';
  return { ...filters, node: filters['node'].map((node) => (node === 'self' ? own : node)) };
}

export const inspect: Configure = (command, context) => {
  defaultFormat(command, context, 'serviceInspectFormat');
  command
    .argument('<service...>', 'ids or names')
    .option('-f, --format <template>', 'json or a template')
    .option('--pretty', 'print for people')
    .action((refs: readonly string[], flags: InspectFlags) =>
      inspectEach(context, refs, flags, {
        noun: 'service',
        find: (ref) => context.client.service(ref, true),
        pretty: async (services) => {
          const networks = await context.client.networks({ scope: ['swarm'] });
          const world = {
            networks: new Map(networks.map(({ Id, Name }) => [Id, Name])),
            nowMs: context.clock.wallMs(),
          };
          return services.map((service) => prettyService(service, world));
        },
      }),
    );
};

export const rm: Configure = (command, context) => {
  command
    .argument('<service...>', 'ids or names')
    .option('-d, --detach', 'do not wait until the tasks are gone')
    .action(async (refs: readonly string[], { detach }: { readonly detach?: boolean }) => {
      const removed: ServiceJson[] = [];
      try {
        await eachOf(context, refs, async (ref) => {
          const service = await context.client.service(ref);
          await context.client.serviceRemove(service.ID);
          removed.push(service);
          printLine(context, ref);
        });
      } finally {
        if (!detach && removed.length > 0) await tasksGone(context, removed);
      }
    });
};

/** Of services that are no more: their tasks are found by their names. */
async function tasksGone(context: CommandContext, removed: readonly ServiceJson[]): Promise<void> {
  const ids = new Set(removed.map(({ ID }) => ID));
  await waitForTasks(context, {
    filter: { name: removed.map(({ Spec }) => `${Spec.Name}.`) },
    isOver: (tasks) => !tasks.some(({ ServiceID }) => ids.has(ServiceID)),
  });
}

export const scale: Configure = (command, context) => {
  command
    .argument('<service=replicas...>', 'e.g. web=5')
    .option('-d, --detach', 'do not wait until the services run')
    .action(async (targets: readonly string[], { detach }: { readonly detach?: boolean }) => {
      const wanted = targets.map(parseScale);
      const scaled: [string, string][] = [];
      try {
        await eachOf(
          context,
          wanted.map(([ref]) => ref),
          async (ref) => {
            const replicas = wanted.find(([name]) => name === ref)![1];
            await scaleService(context, ref, replicas);
            scaled.push([ref, ref]);
            printLine(context, `${ref} scaled to ${replicas}`);
          },
          true,
        );
      } finally {
        if (!detach && scaled.length > 0) await waitForServices(context, scaled);
      }
    });
};

function parseScale(text: string): readonly [string, number] {
  const match = /^([^=]+)=(\d+)$/.exec(text);
  if (!match) {
    throw new UsageError(`invalid scale specifier '${text}': expected SERVICE=REPLICAS`);
  }
  return [match[1]!, Number(match[2])];
}

async function scaleService(context: CommandContext, ref: string, replicas: number): Promise<void> {
  const service = await context.client.service(ref);
  const { Replicated, ReplicatedJob } = service.Spec.Mode ?? {};
  if (!Replicated && !ReplicatedJob) {
    throw new UsageError('scale can only be used with replicated or replicated-job mode');
  }
  const mode = Replicated
    ? { Replicated: { Replicas: replicas } }
    : { ReplicatedJob: { ...ReplicatedJob, TotalCompletions: replicas } };
  const spec = { ...service.Spec, Mode: mode };
  await context.client.serviceUpdate(service.ID, service.Version.Index, spec);
}

export const rollback: Configure = (command, context) => {
  command
    .argument('<service>', 'id or name')
    .option('-d, --detach', 'do not wait until the service runs')
    .option('-q, --quiet', 'no progress')
    .action(async (ref: string, flags: { readonly detach?: boolean; readonly quiet?: boolean }) => {
      await rollBack(context, ref);
      printLine(context, ref);
      if (!flags.detach) await waitForService(context, ref, flags);
    });
};

/** Swaps the service's spec with the previous one. */
export async function rollBack(context: CommandContext, ref: string): Promise<void> {
  const service = await context.client.service(ref);
  const answer = await context.client.serviceUpdate(
    service.ID,
    service.Version.Index,
    service.Spec,
    { rollback: true },
  );
  for (const warning of answer?.Warnings ?? []) warnLine(context, warning);
}
