/** The filters that look at the tasks that are on the node already. */
import { companionsOf } from '../../common/model/companions.ts';
import { networkModeOf } from '../../common/model/predefined-networks.ts';
import type { Task } from '../../common/model/task.ts';
import { type Filter, onNodes } from './filter.ts';
import { genericDemand } from './generic-pool.ts';
import { hostPortKeys } from './place.ts';
import { shortageRefusal } from './shortage.ts';

export const resource: Filter = {
  name: 'resource',
  looksAt: 'load',
  prepare: (task, table) => {
    const { nanoCpus, memoryBytes, generic } = task.spec.resources.reservations;
    const demand = genericDemand(generic);
    if (nanoCpus === 0 && memoryBytes === 0 && demand.size === 0) return null;
    const hasGeneric = (index: number): boolean => {
      const pool = table.generic(index);
      for (const [kind, count] of demand) if (count > pool.free(kind)) return false;
      return true;
    };
    return {
      key: JSON.stringify([nanoCpus, memoryBytes, [...demand]]),
      passes: (index) =>
        (nanoCpus === 0 || nanoCpus <= table.freeNanoCpus[index]!) &&
        (memoryBytes === 0 || memoryBytes <= table.freeMemoryBytes[index]!) &&
        (demand.size === 0 || hasGeneric(index)),
      refusal: (index) => shortageRefusal(table, index, task.spec.resources.reservations),
    };
  },
  explain: (nodes) => `insufficient resources ${onNodes(nodes)}`,
};

export const hostPort: Filter = {
  name: 'host-port',
  looksAt: 'load',
  prepare: (task, table) => {
    const keys = hostPortKeys(task.endpoint).excluding;
    if (keys.length === 0) return null;
    // Of ports of other addresses the key is the port and a star.
    const inUse = (index: number): string =>
      [
        ...new Set(
          keys
            .filter((key) => table.usesHostPort(index, key))
            .map((key) => key.replace(/\/\*$/, '')),
        ),
      ].join(', ');
    return {
      key: keys.join(),
      passes: (index) => !keys.some((key) => table.usesHostPort(index, key)),
      refusal: (index) => ({
        detail: `${inUse(index)} in use`,
        remedy: portRemedy(task, inUse(index)),
        shortBy: {},
        effort: 4,
      }),
    };
  },
  explain: (nodes) => `host-mode port already in use ${onNodes(nodes)}`,
};

/** What the control API would take: the mesh balances by virtual IPs, and a service in the host's network listens itself. */
function portRemedy({ spec, endpoint }: Task, inUse: string): string {
  if (networkModeOf(spec.networks) === 'host') return `stop what has ${inUse} there`;
  const another = `publish another port than ${inUse}`;
  return endpoint?.spec.mode === 'vip' ? `${another}, or publish it in mode ingress` : another;
}

/** Tasks that have namespaces of another service's task go where one of it is. */
export const companion: Filter = {
  name: 'companion',
  looksAt: 'load',
  prepare: (task, table) => {
    const names = [...new Set(companionsOf(task.spec).values())];
    if (names.length === 0) return null;
    for (const name of names) table.companionNames.add(name);
    const missingAt = (index: number): string =>
      names.filter((name) => !table.hasTaskOf(name, index)).join(' and ');
    return {
      key: names.join(),
      passes: (index) => names.every((name) => table.hasTaskOf(name, index)),
      refusal: (index) => ({
        detail: `no task of ${missingAt(index)} is there, whose namespaces it shares`,
        remedy: `have a task of ${missingAt(index)} on ${table.node(index).description?.hostname || table.node(index).id}`,
        shortBy: {},
        effort: 5,
      }),
    };
  },
  explain: (nodes) => `no task of the service whose namespaces it shares ${onNodes(nodes)}`,
};

export const maxReplicas: Filter = {
  name: 'max-replicas',
  looksAt: 'load',
  prepare: ({ serviceId, spec }, table) => {
    const limit = spec.placement.maxReplicas;
    if (limit <= 0) return null;
    const activeAt = (index: number): number => table.activeOf(serviceId).get(index) ?? 0;
    return {
      key: `${serviceId}/${limit}`,
      passes: (index) => activeAt(index) < limit,
      refusal: (index) => ({
        detail: `has ${activeAt(index)} of ${limit} tasks allowed for each node`,
        remedy: `allow ${activeAt(index) + 1} tasks for each node (--replicas-max-per-node)`,
        shortBy: {},
        effort: 1,
      }),
    };
  },
  explain: () => 'max replicas per node limit exceed',
};
