/** How far the services of a node that is drained are, measured by how they were before. Pure. */
import type { ServiceJson } from '../../common/model/engine-json/service.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import {
  type ServiceProgress,
  type ServiceState,
  type StackMoment,
  serviceProgress,
} from './stack-progress.ts';
import { hasFailed, isUnplaced, isWanted } from './task-life.ts';

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

export function troubleOf(moment: StackMoment): Trouble {
  const isAmiss = (task: TaskJson): boolean =>
    hasFailed(task) || (isUnplaced(task) && isWanted(task));
  const amiss = moment.tasks.filter(isAmiss);
  const paused = moment.services.filter((service) => updateState(service).endsWith('paused'));
  const troubled = moment.services.filter(
    (service) =>
      !service.Spec.Mode?.Global &&
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
  return services.map(({ ID, Spec }) => {
    const progress = serviceProgress(Spec.Name, { ...moment, services, tasks }, false);
    const isAsBefore = progress.ready >= (before.ready.get(ID) ?? Number.POSITIVE_INFINITY);
    // One of every node may have nothing left but this one.
    const isNoLonger =
      Spec.Mode?.Global !== undefined &&
      !tasks.some((task) => task.ServiceID === ID && isWanted(task));
    const state: ServiceState = isAsBefore || isNoLonger ? 'up' : progress.state;
    return { ...progress, state, isStable: true };
  });
}
