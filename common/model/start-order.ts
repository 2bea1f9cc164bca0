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

/** The dependencies that have not come. A service that is not there is not waited for. */
export function unmetDependencies(
  { name, labels }: ServiceSpec,
  view: ClusterView,
): readonly StartDependency[] {
  return startDependencies(labels).filter((dependency) => {
    const service = view.serviceByName(dependency.service);
    if (!service || dependency.service === name) return false;
    return !hasCome(service, view.tasks(service), dependency.condition, view);
  });
}

/**
 * Whether nothing of the service runs, so that it can wait without anybody missing it. Where a part runs,
 * or a job has completed something, order has had its chance: what fails there is replaced at once.
 */
export function isCold({ jobStatus }: Service, tasks: readonly Task[]): boolean {
  const iteration = jobStatus?.iteration ?? null;
  return !tasks.some(({ desiredState, status: { state }, jobIteration }) => {
    if (jobIteration !== iteration) return false;
    if (desiredState !== 'running' && desiredState !== 'complete') return false;
    return !isTerminal(state) || (jobStatus !== null && state === 'complete');
  });
}

/** What the service of a dependency is to do. */
export const CONDITION_WORDS: Readonly<Record<DependencyCondition, string>> = {
  service_started: 'to start',
  service_healthy: 'to be healthy',
  service_completed_successfully: 'to complete',
};

/** What a service waits for, and why it does so for ever if it does; null when it need not wait. */
export function waitInWords(spec: ServiceSpec, view: ClusterView): string | null {
  const parts = unmetDependencies(spec, view).map(({ service: name, condition }) => {
    const words = `${name} ${CONDITION_WORDS[condition]}`;
    const service = view.serviceByName(name);
    if (service && isNowhere(service, view)) return `${words} (no node takes a task of it)`;
    return waitsForIt(name, spec.name, view) ? `${words} (which waits for ${spec.name})` : words;
  });
  return parts.length > 0 ? `waits for ${parts.join(', ')}` : null;
}

/** Whether a service waits for another one, be it by way of others. */
function waitsForIt(from: string, name: string, view: ClusterView): boolean {
  const seen = new Set([from]);
  for (const at of seen) {
    const spec = view.serviceByName(at)?.spec;
    for (const { service } of spec ? unmetDependencies(spec, view) : []) seen.add(service);
    if (seen.has(name)) return true;
  }
  return false;
}

/** It is to run on every node that fits, and none does. */
function isNowhere(service: Service, view: ClusterView): boolean {
  const { kind } = service.spec.mode;
  return (kind === 'global' || kind === 'global-job') && !view.tasks(service).some(isWanted);
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
  const far = current.filter((task) => isAsFar(task, condition, view));
  switch (mode.kind) {
    case 'replicated':
      return new Set(far.map(({ slot }) => slot)).size >= mode.replicas;
    case 'replicated-job':
      if (condition !== 'service_completed_successfully') return far.length > 0;
      return new Set(far.map(({ slot }) => slot)).size >= mode.totalCompletions;
    case 'global':
    case 'global-job': {
      const there = new Set(far.map(({ nodeId }) => nodeId));
      const seats = tasks.filter(
        (task) => (isWanted(task) && isHeardOf(task, view)) || isAsFar(task, condition, view),
      );
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

function isAsFar(task: Task, condition: DependencyCondition, view: ClusterView): boolean {
  const { state } = task.status;
  if (state === 'complete')
    return task.desiredState !== 'remove' && condition !== 'service_healthy';
  if (condition === 'service_completed_successfully' || !isWanted(task)) return false;
  if (!isHeardOf(task, view)) return false;
  // A task with a health check runs once it is healthy.
  if (condition === 'service_healthy') return state === 'running';
  return !isBefore(state, 'starting') && !isTerminal(state);
}

/**
 * Its node is there to say what became of it: of one that is not, the state is what it was last, as that of all nodes is when
 * a whole cluster starts again.
 */
function isHeardOf({ nodeId }: Task, view: ClusterView): boolean {
  return nodeId !== null && view.node(nodeId)?.status.state === 'ready';
}

function isWanted({ desiredState }: Task): boolean {
  return desiredState === 'running' || desiredState === 'complete';
}
