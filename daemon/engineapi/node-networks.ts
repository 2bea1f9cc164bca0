/** The networks of this node alone as the API knows them: by their ids there. */
import { SkepError } from '../../common/base/errors.ts';
import { DEFAULT_BRIDGE_ID, type LocalNetwork } from '../../worker/network/local-network.ts';
import type { NetworkIdOf } from './json/container.ts';
import {
  localNetworkToJson,
  membersOf,
  type NetworkRow,
  wordNetworkToJson,
} from './json/local-network.ts';
import type { RouteParts } from './parts.ts';
import { predefinedNetworkId, predefinedNetworkName } from './predefined-networks.ts';

type NodeParts = Pick<RouteParts, 'worker' | 'engineId'>;

export interface NodeNetworks {
  rows(): readonly NetworkRow[];
  /** By name, id or the beginning of one; null = none */
  find(ref: string): { readonly name: string; readonly id: string } | null;
  /** Rejects with `permission-denied` for one that is predefined or in use. */
  remove(name: string): Promise<void>;
}

/** The id of a network of this node by its name; one that is gone has one, too. */
export function networkIdsOf({ worker, engineId }: NodeParts): NetworkIdOf {
  return (name) => {
    const network = worker.localNetworks.list().find(({ spec }) => spec.name === name);
    const isOwn = network !== undefined && network.id !== DEFAULT_BRIDGE_ID;
    return isOwn ? network.id : predefinedNetworkId(engineId, name);
  };
}

/**
 * A reference as the worker takes it: it does not know the ids of predefined networks. Throws
 * `unimplemented` for a network of the cluster, where this node knows of it.
 */
export function workerRef(
  { engineId, swarm, worker }: NodeParts & Partial<Pick<RouteParts, 'swarm'>>,
  ref: string,
): string {
  const name = predefinedNetworkName(engineId, ref) ?? ref;
  if (worker.localNetworks.find(name) || !swarm?.manager) return name;
  const ofCluster = swarm.manager.store.view((view) => view.byName('network', name)[0]);
  if (!ofCluster) return name;
  const words = `network ${name} belongs to the cluster: attaching containers outside of services to it is not supported yet`;
  throw new SkepError('unimplemented', words);
}

export function nodeNetworks(parts: NodeParts): NodeNetworks {
  const { worker } = parts;
  const idOf = networkIdsOf(parts);
  const toRow = (network: LocalNetwork): NetworkRow => {
    const { name } = network.spec;
    const members = membersOf(worker.containers.list(), (seat) => seat.name === name);
    return localNetworkToJson(network, idOf(name), members);
  };
  const words = (): NetworkRow[] =>
    ['host', 'none'].map((name) =>
      wordNetworkToJson({ id: idOf(name), name, driver: name === 'none' ? 'null' : name }),
    );
  const rows = (): NetworkRow[] => [...worker.localNetworks.list().map(toRow), ...words()];
  return {
    rows,
    find: (ref) => {
      const all = rows();
      const exact = all.find(({ Name, Id }) => Name === ref || Id === ref);
      const found = exact ? [exact] : all.filter(({ Id }) => ref !== '' && Id.startsWith(ref));
      if (found.length > 1) {
        const text = `network ${ref} is ambiguous (${found.length} matches found on ID prefix)`;
        throw new SkepError('invalid-argument', text);
      }
      return found[0] ? { name: found[0].Name, id: found[0].Id } : null;
    },
    remove: async (name) => {
      const network = worker.localNetworks.find(name);
      if (network) return worker.localNetworks.remove(network.id);
      const text = `${name} is a pre-defined network and cannot be removed`;
      throw new SkepError('permission-denied', text);
    },
  };
}
