/** The filters that look at the node alone: its state, its plugins, its devices, its labels, its platform. */
import {
  type Constraint,
  constraintTest,
  nodeMeetsConstraint,
  nodeValueOf,
  storedConstraints,
} from '../../common/model/constraint.ts';
import type { Node } from '../../common/model/node.ts';
import { missingDevices } from '../../common/model/node-devices.ts';
import type { Platform } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { constraintRemedy, constraintText } from './constraint-remedy.ts';
import { type Filter, onNodes } from './filter.ts';
import type { NodeTable } from './node-table.ts';

function nameOf({ id, description }: Node): string {
  return description?.hostname || id;
}

export const ready: Filter = {
  name: 'ready',
  looksAt: 'node',
  prepare: (_, table) => ({
    key: '',
    passes: (index) => {
      const { status, spec } = table.node(index);
      return spec.availability === 'active' && (status.state === 'ready' || table.isAwaited(index));
    },
    refusal: (index) => {
      const node = table.node(index);
      const { status, spec } = node;
      const isBack = status.state === 'ready' || table.isAwaited(index);
      const isActive = spec.availability === 'active';
      const remedies = [
        ...(isBack ? [] : [`bring the node back: its state is ${status.state}`]),
        ...(isActive ? [] : [`skep node update --availability active ${nameOf(node)}`]),
      ];
      return {
        detail: `state ${status.state}, availability ${spec.availability}`,
        remedy: remedies.join(' and '),
        shortBy: {},
        effort: (isBack ? 0 : 10) + (isActive ? 0 : 1),
      };
    },
  }),
  explain: (nodes) =>
    nodes === 1
      ? '1 node not available for new tasks'
      : `${nodes} nodes not available for new tasks`,
};

export const plugin: Filter = {
  name: 'plugin',
  looksAt: 'node',
  prepare: (task, table) => {
    const needs = pluginNeeds(task, table);
    if (needs.length === 0) return null;
    const missingAt = (index: number): string =>
      missingPlugins(table.node(index), needs)
        .map(({ type, name }) => `${type} plugin ${name}`)
        .join(' and ');
    return {
      key: JSON.stringify(needs),
      passes: (index) => missingPlugins(table.node(index), needs).length === 0,
      refusal: (index) => ({
        detail: `has no ${missingAt(index)}`,
        remedy: `install ${missingAt(index)} on ${nameOf(table.node(index))}`,
        shortBy: {},
        effort: 6,
      }),
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
    for (const name of table.networkPlugins.get(networkId) ?? [])
      needs.push({ type: 'Network', name });
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

/** Devices of the node that the task asks for by their paths. */
export const device: Filter = {
  name: 'device',
  looksAt: 'node',
  prepare: (task, table) => {
    const paths = (task.spec.container.isolation?.devices ?? []).map(({ hostPath }) => hostPath);
    if (paths.length === 0) return null;
    const missingAt = (index: number): string[] =>
      missingDevices(table.node(index).description, paths);
    return {
      key: JSON.stringify(paths),
      passes: (index) => missingAt(index).length === 0,
      refusal: (index) => ({
        detail: `has no ${missingAt(index).join(' and ')}`,
        remedy: `give ${nameOf(table.node(index))} ${missingAt(index).join(' and ')}, or its driver`,
        shortBy: {},
        effort: 7,
      }),
    };
  },
  explain: (nodes) => `missing device ${onNodes(nodes)}`,
};

export const constraint: Filter = {
  name: 'constraint',
  looksAt: 'node',
  prepare: (task, table) => {
    const texts = task.spec.placement.constraints;
    if (texts.length === 0) return null;
    const constraints = storedConstraints(texts);
    const tests = constraints.map(constraintTest);
    const unmet = (index: number): Constraint[] => {
      const node = table.node(index);
      return constraints.filter((one) => !nodeMeetsConstraint(node, one));
    };
    return {
      key: JSON.stringify(texts),
      passes: (index) => {
        const node = table.node(index);
        for (const test of tests) if (!test(node)) return false;
        return true;
      },
      refusal: (index) => {
        const node = table.node(index);
        const { words, changes } = constraintRemedy(node, nameOf(node), constraints);
        return {
          detail: unmet(index)
            .map((one) => `does not meet ${constraintText(one)} (${valueText(node, one)})`)
            .join('; '),
          remedy: words,
          shortBy: {},
          effort: 2 * changes,
        };
      },
    };
  },
  explain: (nodes) => `scheduling constraints not satisfied ${onNodes(nodes)}`,
};

function valueText(node: Node, { key }: Constraint): string {
  const value = nodeValueOf(node, key);
  if (value === null) return 'no node has such a key';
  return value === '' ? 'it has none' : `it is ${value}`;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };

export const platform: Filter = {
  name: 'platform',
  looksAt: 'node',
  prepare: (task, table) => {
    const { platforms } = task.spec.placement;
    if (platforms.length === 0) return null;
    const wanted = platforms.map(platformName).join(', ');
    const nameAt = (index: number): string => {
      const actual = table.node(index).description?.platform;
      return actual ? platformName(actual) : 'unknown';
    };
    return {
      key: JSON.stringify(platforms),
      passes: (index) => {
        const actual = table.node(index).description?.platform;
        return actual !== undefined && platforms.some((one) => platformFits(one, actual));
      },
      refusal: (index) => ({
        detail: `needs ${wanted}, is ${nameAt(index)}`,
        remedy: `use an image for ${nameAt(index)}`,
        shortBy: {},
        effort: 8,
      }),
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
