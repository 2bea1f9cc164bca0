/**
 * The overlays of this node kept as the cluster's tables say: their subnets, the MTU of their links,
 * who may take part where they are encrypted. Knows no tasks.
 */
import { describeError, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { AssignedNetwork } from '../../common/model/assignment.ts';
import type { NetworkId, NodeId } from '../../common/model/ids.ts';
import type { ClusterTables, NetworkTable } from './cluster-tables.ts';
import type { EncryptedUnderlay } from './encrypted-underlay.ts';
import type { HostSide } from './host-side.ts';
import { encryptedMtu, encryptedPort, overlayMtu } from './kernel-names.ts';
import type { OverlayNetwork } from './overlay-network.ts';
import type { OverlaySet } from './overlay-set.ts';

export interface OverlayUpkeepOptions {
  readonly nodeId: NodeId;
  readonly vtepAddress: string;
  readonly log: Logger;
  readonly tables: ClusterTables;
  readonly host: HostSide;
  readonly encrypted: EncryptedUnderlay;
  readonly overlays: OverlaySet;
}

export class OverlayUpkeep {
  readonly #options: OverlayUpkeepOptions;
  /** overlays that could not be made as the tables say, and why: `retry` is due */
  readonly #behind = new Map<NetworkId, string>();

  constructor(options: OverlayUpkeepOptions) {
    this.#options = options;
  }

  /** The network's namespace here, made unless it is there. Throws `not-found` when it went from the tables meanwhile. */
  async ensure(id: NetworkId): Promise<OverlayNetwork> {
    const { tables, overlays } = this.#options;
    const existing = overlays.all.get(id);
    if (existing) return existing;
    const table = tables.networks.get(id);
    if (!table) throw new SkepError('not-found', `network ${id} was removed`);
    if (table.network?.encrypted) await this.#ensureEncrypted(table.network);
    const { network } = table;
    const mtu = network ? await this.#mtuOf(network) : 0;
    return overlays.ensure(table, mtu);
  }

  /** All that are here, seats too. One that cannot be is told of by `behind`, and holds up no other. */
  async conformAll(): Promise<void> {
    for (const id of [...this.#options.overlays.all.keys()]) await this.#conformWhole(id);
  }

  /** True when its links have another MTU now. Never rejects: see `behind`. */
  async conform(id: NetworkId): Promise<boolean> {
    let resized = false;
    await this.#guarded(id, async (overlay, network) => {
      resized = await this.#conform(overlay, network);
    });
    return resized;
  }

  /** Overlays that are not as the tables say, and why. */
  get behind(): readonly { readonly where: string; readonly reason: string }[] {
    const { networks } = this.#options.tables;
    return [...this.#behind].map(([id, reason]) => {
      return { where: `network ${networks.get(id)?.network?.name ?? id}`, reason };
    });
  }

  /** Tries again what failed. True when links of one of them have another MTU now. */
  async retry(): Promise<boolean> {
    let resized = false;
    for (const id of [...this.#behind.keys()]) {
      if (!this.#options.overlays.all.has(id)) this.#behind.delete(id);
      else if (await this.#conformWhole(id)) resized = true;
    }
    return resized;
  }

  async #conformWhole(id: NetworkId): Promise<boolean> {
    let resized = false;
    await this.#guarded(id, async (overlay, network, table) => {
      resized = await this.#conform(overlay, network);
      await this.#options.overlays.syncAllSeats(overlay, table);
    });
    return resized;
  }

  /** One network's trouble must not keep the others from what the tables say. */
  async #guarded(
    id: NetworkId,
    work: (overlay: OverlayNetwork, network: AssignedNetwork, table: NetworkTable) => Promise<void>,
  ): Promise<void> {
    const { tables, overlays, log } = this.#options;
    const overlay = overlays.all.get(id);
    const table = tables.networks.get(id);
    if (!table?.network || !overlay) return;
    try {
      await work(overlay, table.network, table);
      this.#behind.delete(id);
    } catch (err) {
      this.#behind.set(id, describeError(err));
      log.warn({ err, networkId: id }, 'overlay network is not as the tables say');
    }
  }

  async #conform(overlay: OverlayNetwork, network: AssignedNetwork): Promise<boolean> {
    if (network.encrypted) await this.#ensureEncrypted(network);
    return overlay.conform(network, await this.#mtuOf(network));
  }

  async #mtuOf(network: AssignedNetwork): Promise<number> {
    return overlayMtu(network, await this.#underlayMtu(network), this.#options.vtepAddress);
  }

  /** Of the link here, or of that of another host where less passes. */
  async #underlayMtu(network: AssignedNetwork): Promise<number> {
    const own = await this.#options.host.underlayMtu();
    return network.underlayMtu > 0 ? Math.min(own, network.underlayMtu) : own;
  }

  async #ensureEncrypted(network: AssignedNetwork): Promise<void> {
    const mtu = encryptedMtu(await this.#underlayMtu(network), this.#options.vtepAddress);
    try {
      await this.#options.encrypted.ensure({ port: encryptedPort(network), mtu });
    } catch (err) {
      const what = `use encrypted network ${network.name}: ${describeError(err)}`;
      throw new SkepError(err instanceof SkepError ? err.code : 'internal', what, { cause: err });
    }
    await this.syncKeys();
  }

  /** The other hosts of encrypted networks, and nobody else, may send and are sent to. */
  async syncKeys(): Promise<void> {
    if (!this.#options.encrypted.active) return;
    const keys = new Map<string, string>();
    for (const { network, peers } of this.#options.tables.networks.values()) {
      if (!network?.encrypted) continue;
      for (const { nodeId, hostAddress, encryptionKey } of peers.values()) {
        if (nodeId !== this.#options.nodeId) keys.set(hostAddress, encryptionKey);
      }
    }
    await this.#options.encrypted.setPeers(keys);
  }
}
