/**
 * Services that wait for others before they start or are updated: how a service's labels say so, and
 * whether what it waits for has come. A label, because clients of Docker keep those and drop fields that
 * they do not know.
 */
import { assertNever } from '../base/assert.ts';
import { DirtyTest } from './dirty-task.ts';
import type { NodeId } from './ids.ts';
import type { Node } from './node.ts';
import type { StringMap } from './objects.ts';
import { isJob, type Service, type ServiceSpec } from './service.ts';
import type { Task } from './task.ts';
import { isBefore, isTerminal } from './task-state.ts';

/** Names of services with the condition of each: `{"shop_db":"service_healthy"}`. */
export const DEPENDS_ON_LABEL = 'com.skep.stack.depends-on';

export const DEPENDENCY_CONDITIONS = [
  'service_started',
  'service_healthy',
  'service_completed_successfully',
] as const;
export type DependencyCondition = (typeof DEPENDENCY_CONDITIONS)[number];

export interface StartDependency {
  /** name of the service in the cluster */
  readonly service: string;
  readonly condition: DependencyCondition;
}

export function dependsOnLabel(dependencies: readonly StartDependency[]): string {
  return JSON.stringify(Object.fromEntries(dependencies.map((d) => [d.service, d.condition])));
}

/** What the labels ask for; what cannot be read there asks for nothing. */
export function startDependencies(labels: StringMap): readonly StartDependency[] {
  const text = labels[DEPENDS_ON_LABEL];
  if (text === undefined) return [];
  const known: readonly unknown[] = DEPENDENCY_CONDITIONS;
  try {
    return Object.entries(JSON.parse(text) as object).flatMap(([service, condition]) =>
      known.includes(condition) ? [{ service, condition: condition as DependencyCondition }] : [],
    );
  } catch {
    return [];
  }
}

interface Ordered {
  readonly name: string;
  readonly labels: StringMap;
}

/** Those that others wait for first; otherwise as given. A ring is left as it is. */
export function inStartOrder<T extends Ordered>(services: readonly T[]): readonly T[] {
  const byName = new Map(services.map((service) => [service.name, service]));
  const ordered = new Set<T>();
  const visited = new Set<T>();
  for (const start of services) {
    // A walk with a stack of its own: chains are long.
    const walk: { readonly at: T; readonly leave: boolean }[] = [{ at: start, leave: false }];
    for (let step = walk.pop(); step; step = walk.pop()) {
      if (step.leave) {
        ordered.add(step.at);
        continue;
      }
      if (visited.has(step.at)) continue;
      visited.add(step.at);
      walk.push({ at: step.at, leave: true });
      for (const { service } of startDependencies(step.at.labels)) {
        const before = byName.get(service);
        if (before) walk.push({ at: before, leave: false });
      }
    }
  }
  return [...ordered];
}

export interface ClusterView {
  serviceByName(name: string): Service | undefined;
  tasks(service: Service): readonly Task[];
  node(id: NodeId): Node | undefined;
}

/** The first dependency that has not come, null for none. A service that is not there is not waited for. */
export function unmetDependency(
  { name, labels }: ServiceSpec,
  view: ClusterView,
): StartDependency | null {
  for (const dependency of startDependencies(labels)) {
    const service = view.serviceByName(dependency.service);
    if (!service || dependency.service === name) continue;
    if (!hasCome(service, view.tasks(service), dependency.condition, view)) return dependency;
  }
  return null;
}

/** Every seat of the service has a task of its present words that is as far as the condition asks. */
function hasCome(
  service: Service,
  tasks: readonly Task[],
  condition: DependencyCondition,
  view: ClusterView,
): boolean {
  const { mode } = service.spec;
  const current = currentTasks(service, tasks, view);
  const far = current.filter((task) => isAsFar(task, condition));
  switch (mode.kind) {
    case 'replicated':
      return new Set(far.map(({ slot }) => slot)).size >= mode.replicas;
    case 'replicated-job':
      if (condition !== 'service_completed_successfully') return far.length > 0;
      return new Set(far.map(({ slot }) => slot)).size >= mode.totalCompletions;
    case 'global':
    case 'global-job': {
      const there = new Set(far.map(({ nodeId }) => nodeId));
      const seats = tasks.filter((task) => isWanted(task) || isAsFar(task, condition));
      return seats.length > 0 && seats.every(({ nodeId }) => there.has(nodeId));
    }
    default:
      return assertNever(mode, 'service mode');
  }
}

function currentTasks(
  service: Service,
  tasks: readonly Task[],
  view: ClusterView,
): readonly Task[] {
  if (isJob(service.spec.mode)) {
    const iteration = service.jobStatus?.iteration ?? null;
    return tasks.filter((task) => task.jobIteration === iteration);
  }
  const test = new DirtyTest(service, (id) => view.node(id));
  return tasks.filter((task) => !test.isDirty(task));
}

function isAsFar(task: Task, condition: DependencyCondition): boolean {
  const { state } = task.status;
  if (state === 'complete')
    return task.desiredState !== 'remove' && condition !== 'service_healthy';
  if (condition === 'service_completed_successfully' || !isWanted(task)) return false;
  // A task with a health check runs once it is healthy.
  if (condition === 'service_healthy') return state === 'running';
  return !isBefore(state, 'starting') && !isTerminal(state);
}

function isWanted({ desiredState }: Task): boolean {
  return desiredState === 'running' || desiredState === 'complete';
}
