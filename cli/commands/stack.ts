/** `skep stack ls | services | ps | rm`. Deploying is in stack-deploy.ts. */

import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { DEPLOYMENT_LABEL, NAMESPACE_LABEL } from '../../common/model/stack.ts';
import { hasStatus } from '../client/transport.ts';
import { renderListing } from '../output/listing.ts';
import { naturalCompare } from '../output/table.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  ExitError,
  errorLine,
  filterMap,
  printLine,
  warnLine,
} from './context.ts';
import { listServices } from './service.ts';
import { waitForTasks } from './task-wait.ts';
import { listTasks, type TaskListFlags } from './tasks.ts';
import { defaultFormat } from './user-defaults.ts';

/** The filter for everything that belongs to a stack. */
export function ofStack(stack: string): { readonly label: readonly string[] } {
  return { label: [`${NAMESPACE_LABEL}=${stack}`] };
}

/** The full name of one of its services, whichever of both was said. */
export function inStack(stack: string, service: string): string {
  return service.startsWith(`${stack}_`) ? service : `${stack}_${service}`;
}

function withStack(
  filters: Record<string, readonly string[]>,
  stack: string,
): Record<string, readonly string[]> {
  return { ...filters, label: [...(filters['label'] ?? []), ...ofStack(stack).label] };
}

interface ListFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
}

export const ls: Configure = (command, context) => {
  command
    .option('--format <template>', 'table, json or a template')
    .action(async (flags: ListFlags) => {
      const services = await context.client.services({ label: [NAMESPACE_LABEL] });
      const counts = new Map<string, number>();
      for (const { Spec } of services) {
        const stack = Spec.Labels?.[NAMESPACE_LABEL] ?? '';
        counts.set(stack, (counts.get(stack) ?? 0) + 1);
      }
      const rows = [...counts]
        .sort(([a], [b]) => naturalCompare(a, b))
        .map(([name, count]) => ({ Name: name, Services: String(count) }));
      const listing = {
        columns: [
          ['NAME', 'Name'],
          ['SERVICES', 'Services'],
        ] as const,
        rows,
        quietField: 'Name',
      };
      context.stdout.write(renderListing(listing, flags));
    });
};

export const services: Configure = (command, context) => {
  defaultFormat(command, context, 'servicesFormat');
  command
    .argument('<stack>', 'name of the stack')
    .option('-f, --filter <name=value>', 'id, label, name', collect)
    .option('--format <template>', 'table, json or a template')
    .option('-q, --quiet', 'ids only')
    .action(async (stack: string, flags: ListFlags) => {
      const filters = withStack(filterMap(flags.filter), stack);
      const found = await context.client.services(filters, true);
      if (found.length === 0) {
        warnLine(context, `Nothing found in stack: ${stack}`);
        return;
      }
      context.stdout.write(renderListing(listServices(found), flags));
    });
};

export const ps: Configure = (command, context) => {
  defaultFormat(command, context, 'tasksFormat');
  command
    .argument('<stack>', 'name of the stack')
    .option('-f, --filter <name=value>', 'desired-state, id, name, node', collect)
    .option('--format <template>', 'table, json or a template')
    .option('--no-resolve', 'ids instead of names')
    .option('--no-trunc', 'full ids, images and errors')
    .option('-q, --quiet', 'ids only')
    .action(async (stack: string, flags: TaskListFlags) => {
      const tasks = await context.client.tasks(withStack(filterMap(flags.filter), stack));
      if (tasks.length === 0) {
        warnLine(context, `nothing found in stack: ${stack}`);
        throw new ExitError(1);
      }
      context.stdout.write(renderListing(await listTasks(context, tasks, flags), flags));
    });
};

export const rm: Configure = (command, context) => {
  command
    .argument('<stack...>', 'names of stacks')
    .option('-d, --detach', 'do not wait until the tasks are gone')
    .action(async (stacks: readonly string[], flags: { readonly detach?: boolean }) => {
      let failed = false;
      for (const stack of stacks) {
        if (!(await removeStack(context, stack, flags.detach ?? false))) failed = true;
      }
      if (failed) throw new ExitError(1);
    });
};

interface Removal {
  readonly kind: 'service' | 'secret' | 'config' | 'network';
  readonly name: string;
  /** nobody made it by hand, and nobody misses it */
  readonly isSilent?: boolean;
  readonly run: () => Promise<void>;
}

/** False when something could not be removed; each failure is printed. */
async function removeStack(
  context: CommandContext,
  stack: string,
  detach: boolean,
): Promise<boolean> {
  const { services: first, rest } = await removalsOf(context, stack);
  if (first.length + rest.length === 0) {
    warnLine(context, `Nothing found in stack: ${stack}`);
    return true;
  }
  const removed = await removeAll(context, first);
  // What tasks use is free when they are gone.
  if (!detach) await tasksGone(context, stack);
  const ok = (await removeAll(context, rest)) && removed;
  if (!ok) warnLine(context, `Failed to remove some resources from stack: ${stack}`);
  return ok;
}

async function removeAll(context: CommandContext, removals: readonly Removal[]): Promise<boolean> {
  let ok = true;
  for (const { kind, name, isSilent = false, run } of removals) {
    if (!isSilent) printLine(context, `Removing ${kind} ${name}`);
    try {
      await run();
    } catch (err) {
      if (hasStatus(err, 404)) continue; // gone meanwhile, as it should be
      ok = false;
      warnLine(context, `Failed to remove ${kind} ${name}: ${errorLine(err)}`);
    }
  }
  return ok;
}

/** Services first: the rest is in use until they are gone. */
async function removalsOf(
  context: CommandContext,
  stack: string,
): Promise<{ readonly services: readonly Removal[]; readonly rest: readonly Removal[] }> {
  const { client } = context;
  const filter = ofStack(stack);
  const [found, secrets, configs, networks] = await Promise.all([
    client.services(filter),
    client.secrets('secrets', filter),
    client.secrets('configs', filter),
    client.networks(filter),
  ]);
  const byName = (a: Removal, b: Removal): number => naturalCompare(a.name, b.name);
  const removal = (kind: Removal['kind'], name: string, run: () => Promise<void>): Removal => ({
    kind,
    name,
    run,
  });
  return {
    services: found
      .map(({ ID, Spec }) => removal('service', Spec.Name, () => client.serviceRemove(ID)))
      .sort(byName),
    rest: [
      ...secrets
        .map(({ ID, Spec }) =>
          removal('secret', Spec.Name, () => client.secretRemove('secrets', ID)),
        )
        .sort(byName),
      ...configs
        .map(({ ID, Spec }) => ({
          ...removal('config', Spec.Name, () => client.secretRemove('configs', ID)),
          isSilent: Object.hasOwn(Spec.Labels ?? {}, DEPLOYMENT_LABEL),
        }))
        .sort(byName),
      ...networks
        .map(({ Id, Name }) => removal('network', Name, () => client.networkRemove(Id)))
        .sort(byName),
    ],
  };
}

/** Those of a service that could not be removed, or that somebody deploys meanwhile, stay. */
async function tasksGone(context: CommandContext, stack: string): Promise<void> {
  const filter = ofStack(stack);
  const isOver = async (tasks: readonly TaskJson[]): Promise<boolean> => {
    if (tasks.length === 0) return true;
    const services = await context.client.services(filter);
    const there = new Set(services.map(({ ID }) => ID));
    return tasks.every(({ ServiceID }) => there.has(ServiceID));
  };
  await waitForTasks(context, { filter, isOver });
}
