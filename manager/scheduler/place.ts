/** What a task holds on its node, from the scheduler's word until its end. */
import { publishedKey } from '../../common/model/host-ip.ts';
import type { ServiceId } from '../../common/model/ids.ts';
import type { Endpoint, GenericResource } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';

/** A task holds its place until it has ended; it counts as active only while it is wanted. */
export function isActive({ desiredState }: Task): boolean {
  return desiredState !== 'shutdown' && desiredState !== 'remove';
}

/** From the scheduler's word until the task's end, wanted or not: its resources are in use. */
export function holdsPlace(task: Task): boolean {
  const { state } = task.status;
  return task.nodeId !== null && !isBefore(state, 'assigned') && !isTerminal(state);
}

const NO_PORTS: HostPortKeys = { taken: [], excluding: [] };

/** Of the ports that a task takes on its node itself, e.g. `tcp/80`, `tcp/80/10.0.0.5`. */
export interface HostPortKeys {
  /** by which they are known while it has them; a port of one address counts as one of `*` as well */
  readonly taken: readonly string[];
  /** whoever has one of these on a node excludes it there */
  readonly excluding: readonly string[];
}

export function hostPortKeys(endpoint: Endpoint | null): HostPortKeys {
  const all = endpoint?.ports ?? [];
  if (all.length === 0) return NO_PORTS;
  const ports = all.filter(
    ({ publishMode, publishedPort }) => publishMode === 'host' && publishedPort !== 0,
  );
  const keys = ports.map((port) => {
    const every = publishedKey({ ...port, hostIp: '' });
    const own = publishedKey(port);
    const some = `${every}/*`;
    return port.hostIp === ''
      ? { taken: [every], excluding: [every, some] }
      : { taken: [own, some], excluding: [every, own] };
  });
  return {
    taken: keys.flatMap(({ taken }) => taken),
    excluding: keys.flatMap(({ excluding }) => excluding),
  };
}

export interface Place {
  /** of the node in the table */
  readonly index: number;
  readonly serviceId: ServiceId;
  readonly active: boolean;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly generic: readonly GenericResource[];
  readonly endpoint: Endpoint | null;
}

export function placeOf(
  task: Task,
  index: number,
  generic: readonly GenericResource[] = task.assignedGenericResources,
): Place {
  const { nanoCpus, memoryBytes } = task.spec.resources.reservations;
  return {
    index,
    serviceId: task.serviceId,
    active: isActive(task),
    nanoCpus,
    memoryBytes,
    generic,
    endpoint: task.endpoint,
  };
}

export function samePlace(a: Place, b: Place): boolean {
  return (
    a.index === b.index &&
    a.active === b.active &&
    a.nanoCpus === b.nanoCpus &&
    a.memoryBytes === b.memoryBytes &&
    a.endpoint === b.endpoint &&
    (a.generic === b.generic || (a.generic.length === 0 && b.generic.length === 0))
  );
}
