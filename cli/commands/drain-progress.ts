/** How far the services of a node that is drained are, measured by how they were before. Pure. */
import type { ServiceJson } from '../../common/model/engine-json/service.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { isJob, viewJob } from './job-progress.ts';
import { type ServiceProgress, type StackMoment, serviceProgress } from './stack-progress.ts';
import { hasEnded, hasFailed, isUnplaced, isWanted } from './task-life.ts';

export type Progress = readonly (ServiceProgress & { readonly isStable: true })[];

/** What was amiss with services before the drain, and is none of its business. */
export interface Trouble {
  /** those that had failed, and those that no node took */
  readonly tasks: ReadonlySet<string>;
  /** by id of a service: the state of its update, which is paused */
  readonly updates: ReadonlyMap<string, string>;
  /**
   * by id of a service with such tasks, or such an update: so many seats were ready; a global service has no others
   * than those that its tasks show
   */
  readonly ready: ReadonlyMap<string, number>;
}

export const NO_TROUBLE: Trouble = { tasks: new Set(), updates: new Map(), ready: new Map() };

const updateState = ({ UpdateStatus }: ServiceJson): string => UpdateStatus?.State ?? '';

const isOfEveryNode = ({ Mode }: ServiceJson['Spec']): boolean =>
  Mode?.Global !== undefined || Mode?.GlobalJob !== undefined;

export function troubleOf(moment: StackMoment): Trouble {
  const isAmiss = (task: TaskJson): boolean =>
    hasFailed(task) || (isUnplaced(task) && isWanted(task));
  const amiss = moment.tasks.filter(isAmiss);
  const paused = moment.services.filter((service) => updateState(service).endsWith('paused'));
  const troubled = moment.services.filter(
    (service) =>
      !isOfEveryNode(service.Spec) &&
      (paused.includes(service) || amiss.some((task) => task.ServiceID === service.ID)),
  );
  const readyOf = ({ Spec }: ServiceJson): number =>
    serviceProgress(Spec.Name, moment, false).ready;
  return {
    tasks: new Set(amiss.map(({ ID }) => ID)),
    updates: new Map(paused.map((service) => [service.ID, updateState(service)])),
    ready: new Map(troubled.map((service) => [service.ID, readyOf(service)])),
  };
}

/** Of a service that had trouble no more is asked than it had. */
export function progressSince(before: Trouble, moment: StackMoment): Progress {
  const tasks = moment.tasks.filter(({ ID }) => !before.tasks.has(ID));
  const services = moment.services.map((service): ServiceJson => {
    if (before.updates.get(service.ID) !== updateState(service)) return service;
    const { UpdateStatus: _, ...others } = service;
    return others;
  });
  return services.map((service) => {
    const { ID, Spec } = service;
    const progress = serviceProgress(Spec.Name, { ...moment, services, tasks }, false);
    const isAsBefore = progress.ready >= (before.ready.get(ID) ?? Number.POSITIVE_INFINITY);
    const own = tasks.filter((task) => task.ServiceID === ID && isWanted(task));
    // One of every node may have nothing left but this one: what ends here has no successor elsewhere.
    const isNoLonger = isOfEveryNode(Spec) && own.length === 0;
    const isFine = isNoLonger || isAtWork(service, tasks);
    const isUp = isAsBefore || (isFine && progress.state !== 'failed');
    return { ...progress, state: isUp ? 'up' : progress.state, isStable: true };
  });
}

/** A job that runs where it can: when it is complete is its own business. */
function isAtWork(service: ServiceJson, tasks: readonly TaskJson[]): boolean {
  if (!isJob(service)) return false;
  const own = tasks.filter(({ ServiceID }) => ServiceID === service.ID);
  const { total, completed, failed } = viewJob(service, own);
  const active = own.filter((task) => isWanted(task) && !hasEnded(task));
  const { ReplicatedJob } = service.Spec.Mode ?? {};
  const open = total - completed - failed;
  const expected = ReplicatedJob ? Math.min(ReplicatedJob.MaxConcurrent || open, open) : 0;
  return active.length >= expected && active.every(({ Status }) => Status.State === 'running');
}
