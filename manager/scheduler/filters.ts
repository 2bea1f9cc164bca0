/** The filters, in the order in which they are asked; the first refusal counts (swarm-behaviour 3.2). */
import { nodeMeetsConstraint, storedConstraints } from '../../common/model/constraint.ts';
import type { Node } from '../../common/model/node.ts';
import type { Platform } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { type Filter, onNodes } from './filter.ts';
import { genericDemand } from './generic-pool.ts';
import { hostPortKeys } from './node-entry.ts';
import type { NodeTable } from './node-table.ts';

const ready: Filter = {
  name: 'ready',
  prepare: () => ({
    passes: ({ node }) => node.status.state === 'ready' && node.spec.availability === 'active',
    detail: ({ node }) => `state ${node.status.state}, availability ${node.spec.availability}`,
  }),
  explain: (nodes) =>
    nodes === 1
      ? '1 node not available for new tasks'
      : `${nodes} nodes not available for new tasks`,
};

const resource: Filter = {
  name: 'resource',
  prepare: (task) => {
    const { nanoCpus, memoryBytes, generic } = task.spec.resources.reservations;
    const demand = genericDemand(generic);
    if (nanoCpus === 0 && memoryBytes === 0 && demand.size === 0) return null;
    return {
      passes: (entry) =>
        nanoCpus <= entry.freeNanoCpus &&
        memoryBytes <= entry.freeMemoryBytes &&
        [...demand].every(([kind, count]) => count <= entry.generic.free(kind)),
      detail: (entry) => {
        const short: string[] = [];
        if (nanoCpus > entry.freeNanoCpus) {
          short.push(`needs ${cpus(nanoCpus)} CPUs, ${cpus(entry.freeNanoCpus)} free`);
        }
        if (memoryBytes > entry.freeMemoryBytes) {
          short.push(`needs ${memoryBytes} bytes of memory, ${entry.freeMemoryBytes} free`);
        }
        for (const [kind, count] of demand) {
          const free = entry.generic.free(kind);
          if (count > free) short.push(`needs ${count} of ${kind}, ${free} free`);
        }
        return short.join('; ');
      },
    };
  },
  explain: (nodes) => `insufficient resources ${onNodes(nodes)}`,
};

function cpus(nanoCpus: number): string {
  return (nanoCpus / 1e9).toFixed(2);
}

const plugin: Filter = {
  name: 'plugin',
  prepare: (task, table) => {
    const needs = pluginNeeds(task, table);
    if (needs.length === 0) return null;
    return {
      passes: ({ node }) => missingPlugins(node, needs).length === 0,
      detail: ({ node }) =>
        missingPlugins(node, needs)
          .map(({ type, name }) => `has no ${type} plugin ${name}`)
          .join('; '),
    };
  },
  explain: (nodes) => `missing plugin ${onNodes(nodes)}`,
};

interface PluginNeed {
  readonly type: 'Volume' | 'Network' | 'Log';
  readonly name: string;
}

function pluginNeeds(task: Task, table: NodeTable): PluginNeed[] {
  const needs: PluginNeed[] = [];
  for (const { type, volume } of task.spec.container.mounts) {
    if (type !== 'volume' || !volume || volume.driver === '' || volume.driver === 'local') continue;
    needs.push({ type: 'Volume', name: volume.driver });
  }
  for (const { networkId } of task.networks) {
    const driver = table.networkDrivers.get(networkId);
    if (driver !== undefined) needs.push({ type: 'Network', name: driver });
  }
  const log = task.logDriver?.name ?? '';
  if (log !== '' && log !== 'none') needs.push({ type: 'Log', name: log });
  return needs;
}

/** A node that has said nothing of its plugins, or nothing of log plugins, is trusted to have them. */
function missingPlugins({ description }: Node, needs: readonly PluginNeed[]): PluginNeed[] {
  const plugins = description?.plugins ?? [];
  if (plugins.length === 0) return [];
  const hasLogs = plugins.some(({ type }) => type === 'Log');
  return needs.filter((need) => {
    if (need.type === 'Log' && !hasLogs) return false;
    return !plugins.some(
      ({ type, name }) =>
        type === need.type && (name === need.name || name === `${need.name}:latest`),
    );
  });
}

const constraint: Filter = {
  name: 'constraint',
  prepare: (task) => {
    const texts = task.spec.placement.constraints;
    if (texts.length === 0) return null;
    const constraints = storedConstraints(texts);
    return {
      passes: ({ node }) => constraints.every((one) => nodeMeetsConstraint(node, one)),
      detail: ({ node }) =>
        constraints
          .filter((one) => !nodeMeetsConstraint(node, one))
          .map(({ key, operator, value }) => `does not meet ${key}${operator}${value}`)
          .join('; '),
    };
  },
  explain: (nodes) => `scheduling constraints not satisfied ${onNodes(nodes)}`,
};

const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };

const platform: Filter = {
  name: 'platform',
  prepare: (task) => {
    const { platforms } = task.spec.placement;
    if (platforms.length === 0) return null;
    const wanted = platforms.map(platformName).join(', ');
    return {
      passes: ({ node }) => {
        const actual = node.description?.platform;
        return actual !== undefined && platforms.some((one) => platformFits(one, actual));
      },
      detail: ({ node }) => {
        const actual = node.description?.platform;
        return `needs ${wanted}, is ${actual ? platformName(actual) : 'unknown'}`;
      },
    };
  },
  explain: (nodes) => `unsupported platform ${onNodes(nodes)}`,
};

function platformFits(wanted: Platform, actual: Platform): boolean {
  const archFits = wanted.architecture === '' || architecture(wanted) === architecture(actual);
  return archFits && (wanted.os === '' || wanted.os === actual.os);
}

function architecture(of: Platform): string {
  return ARCHITECTURES[of.architecture] ?? of.architecture;
}

function platformName(of: Platform): string {
  return `${of.os || 'any'}/${architecture(of) || 'any'}`;
}

const hostPort: Filter = {
  name: 'host-port',
  prepare: (task) => {
    const keys = hostPortKeys(task);
    if (keys.length === 0) return null;
    return {
      passes: (entry) => !keys.some((key) => entry.usesHostPort(key)),
      detail: (entry) => `${keys.filter((key) => entry.usesHostPort(key)).join(', ')} in use`,
    };
  },
  explain: (nodes) => `host-mode port already in use ${onNodes(nodes)}`,
};

const maxReplicas: Filter = {
  name: 'max-replicas',
  prepare: ({ serviceId, spec }) => {
    const limit = spec.placement.maxReplicas;
    if (limit <= 0) return null;
    return {
      passes: (entry) => entry.activeOf(serviceId) < limit,
      detail: (entry) => `has ${entry.activeOf(serviceId)} of ${limit} tasks allowed for each node`,
    };
  },
  explain: () => 'max replicas per node limit exceed',
};

export const FILTERS: readonly Filter[] = [
  ready,
  resource,
  plugin,
  constraint,
  platform,
  hostPort,
  maxReplicas,
];
