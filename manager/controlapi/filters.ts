/** What list calls can be narrowed to. Fields AND; values of a field OR; labels AND. */
import { DirtyTest } from '../../common/model/dirty-task.ts';
import type { AnyId, ServiceId } from '../../common/model/ids.ts';
import type { Network } from '../../common/model/network.ts';
import type { Node, NodeRole } from '../../common/model/node.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { Service, ServiceMode } from '../../common/model/service.ts';
import { type Task, taskName } from '../../common/model/task.ts';
import type { TaskState } from '../../common/model/task-state.ts';
import type { ReadView } from '../store/types.ts';
import { requireByRef } from './lookup.ts';

/** For objects that have a name and labels. Absent and empty = everything. */
export interface ObjectFilters {
  /** prefixes of ids */
  readonly ids?: readonly string[];
  /** exact, without regard to case */
  readonly names?: readonly string[];
  readonly namePrefixes?: readonly string[];
  /** `key` (present, with any value) or `key=value` */
  readonly labels?: readonly string[];
}

export interface ServiceFilters extends ObjectFilters {
  readonly modes?: readonly ServiceMode['kind'][];
  readonly runtimes?: readonly string[];
}

export interface NetworkFilters extends ObjectFilters {
  readonly drivers?: readonly string[];
}

export interface NodeFilters {
  /** prefixes of ids */
  readonly ids?: readonly string[];
  /** prefixes of hostnames */
  readonly names?: readonly string[];
  /** of the engine: `key` or `key=value` */
  readonly engineLabels?: readonly string[];
  /** of the node's spec: `key` or `key=value` */
  readonly nodeLabels?: readonly string[];
  /** wanted roles */
  readonly roles?: readonly NodeRole[];
}

export interface TaskFilters {
  /** prefixes of ids */
  readonly ids?: readonly string[];
  /** prefixes of full names (`service.slot.id`) */
  readonly names?: readonly string[];
  /** ids, names or unique prefixes; an unknown one is an error */
  readonly services?: readonly string[];
  /** ids, hostnames or unique prefixes; an unknown one is an error */
  readonly nodes?: readonly string[];
  /** of the service: `key` or `key=value` */
  readonly labels?: readonly string[];
  readonly desiredStates?: readonly TaskState[];
  readonly runtimes?: readonly string[];
  /** true = only tasks of their service's present spec */
  readonly upToDate?: boolean;
}

type Test<T> = (object: T) => boolean;

/** True for everything when nothing was asked. */
function any<T, V>(values: readonly V[] | undefined, matches: (object: T, value: V) => boolean) {
  if (!values || values.length === 0) return () => true;
  return (object: T): boolean => values.some((value) => matches(object, value));
}

function all<T>(...tests: readonly Test<T>[]): Test<T> {
  return (object) => tests.every((test) => test(object));
}

function withIdPrefix(object: { readonly id: AnyId }, prefix: string): boolean {
  return object.id.startsWith(prefix);
}

function withLabels<T>(asked: readonly string[] | undefined, labelsOf: (object: T) => StringMap) {
  if (!asked || asked.length === 0) return () => true;
  return (object: T): boolean => asked.every((filter) => hasLabel(labelsOf(object), filter));
}

export function hasLabel(labels: StringMap, filter: string): boolean {
  const equals = filter.indexOf('=');
  if (equals < 0) return Object.hasOwn(labels, filter);
  const key = filter.slice(0, equals);
  return Object.hasOwn(labels, key) && labels[key] === filter.slice(equals + 1);
}

interface Named {
  readonly id: AnyId;
  readonly spec: { readonly name: string; readonly labels: StringMap };
}

export function objectFilter<T extends Named>(filters: ObjectFilters): Test<T> {
  return all<T>(
    any(filters.ids, withIdPrefix),
    any(filters.names, ({ spec }, name) => spec.name.toLowerCase() === name.toLowerCase()),
    any(filters.namePrefixes, ({ spec }, prefix) => spec.name.startsWith(prefix)),
    withLabels(filters.labels, ({ spec }) => spec.labels),
  );
}

export function serviceFilter(filters: ServiceFilters): Test<Service> {
  return all<Service>(
    objectFilter(filters),
    any(filters.modes, ({ spec }, kind) => spec.mode.kind === kind),
    any(filters.runtimes, ({ spec }, runtime) => runtimeOf(spec.task.runtime) === runtime),
  );
}

export function networkFilter(filters: NetworkFilters): Test<Network> {
  return all<Network>(
    objectFilter(filters),
    any(filters.drivers, ({ spec }, driver) => spec.driver === driver),
  );
}

export function nodeFilter(filters: NodeFilters): Test<Node> {
  return all<Node>(
    any(filters.ids, withIdPrefix),
    any(filters.names, ({ description }, name) => description?.hostname.startsWith(name) ?? false),
    withLabels(filters.engineLabels, ({ description }) => description?.engineLabels ?? {}),
    withLabels(filters.nodeLabels, ({ spec }) => spec.labels),
    any(filters.roles, ({ spec }, role) => spec.desiredRole === role),
  );
}

/** Throws `not-found` for a service or node that is not there. */
export function taskFilter(view: ReadView, filters: TaskFilters): Test<Task> {
  const serviceIds = filters.services?.map((ref) => requireByRef(view, 'service', ref).id);
  const nodeIds = filters.nodes?.map((ref) => requireByRef(view, 'node', ref).id);
  return all<Task>(
    any(filters.ids, withIdPrefix),
    any(filters.names, (task, prefix) => taskName(task).startsWith(prefix)),
    any(serviceIds, (task, id) => task.serviceId === id),
    any(nodeIds, (task, id) => task.nodeId === id),
    withLabels(filters.labels, (task) => task.serviceAnnotations.labels),
    any(filters.desiredStates, (task, state) => task.desiredState === state),
    any(filters.runtimes, ({ spec }, runtime) => runtimeOf(spec.runtime) === runtime),
    ...(filters.upToDate ? [upToDate(view)] : []),
  );
}

/** Whether a task is what its service says now, as a rolling update would judge it. */
function upToDate(view: ReadView): Test<Task> {
  const tests = new Map<ServiceId, DirtyTest>();
  return (task) => {
    let test = tests.get(task.serviceId);
    if (!test) {
      const service = view.get('service', task.serviceId);
      if (!service) return false;
      test = new DirtyTest(service, (id) => view.get('node', id));
      tests.set(task.serviceId, test);
    }
    return !test.isDirty(task);
  };
}

function runtimeOf(runtime: string): string {
  return runtime === '' ? 'container' : runtime;
}
