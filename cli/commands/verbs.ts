/** `skep service|stack restart, stop, start`: changes of specs that everybody makes by hand otherwise. */
import type { Command } from 'commander';
import type { ServiceJson, ServiceSpecJson } from '../../common/model/engine-json/service.ts';
import { STOPPED_LABEL } from '../../common/model/stack.ts';
import { inStartOrder } from '../../common/model/start-order.ts';
import { naturalCompare } from '../output/table.ts';
import {
  type CommandContext,
  type Configure,
  ExitError,
  eachOf,
  printLine,
  UsageError,
  warnLine,
} from './context.ts';
import { waitForServices } from './converge.ts';
import { isJob } from './job-progress.ts';
import { ofStack } from './stack.ts';
import { type WaitFlags, waitFlags } from './stack-deploy.ts';
import { isStopped } from './stack-progress.ts';
import { END_STATUS, waitForStack } from './stack-wait.ts';
import { hasEnded } from './task-life.ts';
import { type TaskWait, waitForTasks } from './task-wait.ts';

/** A constraint that no node meets: node ids have 25 characters. */
const NOWHERE = 'node.id==stopped';

type Verb = 'restart' | 'stop' | 'start';

/** null when there is nothing to do. Throws `UsageError` for jobs, which are over by themselves. */
function specAfter(verb: Verb, service: ServiceJson): ServiceSpecJson | null {
  const { Spec } = service;
  if (isJob(service)) {
    throw new UsageError(`${Spec.Name} is a job: it cannot be told to ${verb}`);
  }
  const { TaskTemplate } = Spec;
  switch (verb) {
    case 'restart': {
      const ForceUpdate = (TaskTemplate.ForceUpdate ?? 0) + 1;
      return { ...Spec, TaskTemplate: { ...TaskTemplate, ForceUpdate } };
    }
    case 'stop':
      return isStopped(service) ? null : stopped(Spec);
    case 'start':
      return isStopped(service) ? started(Spec) : null;
  }
}

function stopped(spec: ServiceSpecJson): ServiceSpecJson {
  const replicas = spec.Mode?.Replicated?.Replicas ?? 1;
  const Labels = { ...spec.Labels, [STOPPED_LABEL]: String(replicas) };
  if (!spec.Mode?.Global) return { ...spec, Labels, Mode: { Replicated: { Replicas: 0 } } };
  return { ...spec, Labels, ...constrained(spec, (all) => [...all, NOWHERE]) };
}

function started(spec: ServiceSpecJson): ServiceSpecJson {
  const { [STOPPED_LABEL]: replicas, ...Labels } = spec.Labels ?? {};
  if (!spec.Mode?.Global) {
    return { ...spec, Labels, Mode: { Replicated: { Replicas: Number(replicas) } } };
  }
  return { ...spec, Labels, ...constrained(spec, (all) => all.filter((one) => one !== NOWHERE)) };
}

function constrained(
  { TaskTemplate }: ServiceSpecJson,
  change: (constraints: readonly string[]) => readonly string[],
): Pick<ServiceSpecJson, 'TaskTemplate'> {
  const { Placement } = TaskTemplate;
  const Constraints = change(Placement?.Constraints ?? []);
  return { TaskTemplate: { ...TaskTemplate, Placement: { ...Placement, Constraints } } };
}

/** False when there was nothing to do. */
async function tell(context: CommandContext, verb: Verb, service: ServiceJson): Promise<boolean> {
  const spec = specAfter(verb, service);
  if (spec === null) {
    const state = verb === 'stop' ? 'stopped already' : 'not stopped';
    printLine(context, `${service.Spec.Name} is ${state}`);
    return false;
  }
  await context.client.serviceUpdate(service.ID, service.Version.Index, spec);
  printLine(context, service.Spec.Name);
  return true;
}

const allEnded: TaskWait['isOver'] = (tasks) => tasks.every(hasEnded);

// ---- services ------------------------------------------------------------------------------------

function serviceVerb(verb: Verb): Configure {
  return (command, context) => {
    command
      .argument('<service...>', 'ids or names')
      .option('-d, --detach', 'do not wait until it is done')
      .option('-q, --quiet', 'no progress')
      .action(async (refs: readonly string[], flags: Omit<WaitFlags, 'timeout'>) => {
        const told: [string, string][] = [];
        try {
          await eachOf(context, refs, async (ref) => {
            const service = await context.client.service(ref);
            if (await tell(context, verb, service)) told.push([service.Spec.Name, service.ID]);
          });
        } finally {
          if (!flags.detach && told.length > 0) {
            const filter = { service: told.map(([, id]) => id) };
            if (verb === 'stop') await waitForTasks(context, { filter, isOver: allEnded });
            else await waitForServices(context, told, flags);
          }
        }
      });
  };
}

export const serviceRestart = serviceVerb('restart');
export const serviceStop = serviceVerb('stop');
export const serviceStart = serviceVerb('start');

// ---- stacks --------------------------------------------------------------------------------------

function stackVerb(verb: Verb): Configure {
  return (command: Command, context: CommandContext) => {
    waitFlags(command)
      .argument('<stack>', 'name of the stack')
      .action(async (stack: string, flags: WaitFlags) => {
        const services = await context.client.services(ofStack(stack));
        if (services.length === 0) {
          warnLine(context, `Nothing found in stack: ${stack}`);
          throw new ExitError(1);
        }
        const kept = services.filter((service) => !isJob(service));
        for (const { Spec } of services.filter(isJob)) {
          printLine(context, `${Spec.Name} is a job: it stays as it is`);
        }
        const changed = new Set<string>();
        for (const service of inOrder(verb, kept)) {
          if (await tell(context, verb, service)) changed.add(service.Spec.Name);
        }
        if (flags.detach || changed.size === 0) return;
        if (verb === 'stop') {
          const filter = { service: kept.map(({ ID }) => ID) };
          const { timeout } = flags;
          if (await waitForTasks(context, { filter, isOver: allEnded, timeout })) return;
          warnLine(context, `Stack ${stack}: timed out`);
          throw new ExitError(END_STATUS['timed-out']);
        }
        const end = await waitForStack(context, stack, { names: changed, changed, ...flags });
        if (end !== null && END_STATUS[end] !== 0) throw new ExitError(END_STATUS[end]);
      });
  };
}

/** Those that others wait for first; when it stops, last. The cluster keeps the order of starts by itself. */
function inOrder(verb: Verb, services: readonly ServiceJson[]): readonly ServiceJson[] {
  const named = services.map((service) => {
    const { Name: name, Labels: labels = {} } = service.Spec;
    return { name, labels, service };
  });
  named.sort((a, b) => naturalCompare(a.name, b.name));
  const ordered = inStartOrder(named).map(({ service }) => service);
  return verb === 'stop' ? ordered.reverse() : ordered;
}

export const stackRestart = stackVerb('restart');
export const stackStop = stackVerb('stop');
export const stackStart = stackVerb('start');
