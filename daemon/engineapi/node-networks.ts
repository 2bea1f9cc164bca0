/** The networks of this node alone as the API knows them: by their ids there. */
import { SkepError } from '../../common/base/errors.ts';
import type { NetworkSpec } from '../../common/model/network.ts';
import { DEFAULT_BRIDGE_ID, type LocalNetwork } from '../../worker/network/local-network.ts';
import type { NetworkIdOf } from './json/container.ts';
import {
  localNetworkToJson,
  membersOf,
  type NetworkRow,
  wordNetworkToJson,
} from './json/local-network.ts';
import type { RouteParts } from './parts.ts';
import { predefinedNetworkId } from './predefined-networks.ts';

type NodeParts = Pick<RouteParts, 'worker' | 'engineId'>;

export interface NodeNetworks {
  rows(): readonly NetworkRow[];
  /** Resolves with its id. */
  create(spec: NetworkSpec): Promise<string>;
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

export function nodeNetworkRows(parts: NodeParts): NetworkRow[] {
  const { worker } = parts;
  const idOf = networkIdsOf(parts);
  const toRow = (network: LocalNetwork): NetworkRow => {
    const { name } = network.spec;
    const members = membersOf(worker.containers.list(), (seat) => seat.name === name);
    return localNetworkToJson(network, idOf(name), members);
  };
  const words = ['host', 'none'].map((name) =>
    wordNetworkToJson({ id: idOf(name), name, driver: name === 'none' ? 'null' : name }),
  );
  return [...worker.localNetworks.list().map(toRow), ...words];
}

export function nodeNetworks(parts: NodeParts & Pick<RouteParts, 'events'>): NodeNetworks {
  const { worker, events } = parts;
  const tell = (action: string, id: string, { name, driver }: NetworkSpec): void =>
    events.tell({ type: 'network', action, id, attributes: { name, type: driver } });
  return {
    rows: () => nodeNetworkRows(parts),
    create: async (spec) => {
      const { id } = await worker.localNetworks.create(spec);
      tell('create', id, spec);
      return id;
    },
    remove: async (name) => {
      const network = worker.localNetworks.find(name);
      if (network) {
        await worker.localNetworks.remove(network.id);
        return tell('destroy', network.id, network.spec);
      }
      const text = `${name} is a pre-defined network and cannot be removed`;
      throw new SkepError('permission-denied', text);
    },
  };
}
