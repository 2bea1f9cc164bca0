/**
 * Where the cluster's published ports enter this host: its own seat in the ingress network, and the rules that lead
 * there. Knows no tasks.
 */
import type { Logger } from '../../common/base/log.ts';
import type { NodeId, ServiceId } from '../../common/model/ids.ts';
import type { ClusterTables } from './cluster-tables.ts';
import { type PublicationView, planPublication } from './host-publication.ts';
import type { HostSide } from './host-side.ts';
import { DEFAULT_VXLAN_PORT, INGRESS_PORT } from './kernel-names.ts';
import { ingressSeat } from './node-subjects.ts';
import type { OverlaySet } from './overlay-set.ts';
import type { OverlayUpkeep } from './overlay-upkeep.ts';

export interface IngressEntryOptions {
  readonly nodeId: NodeId;
  readonly log: Logger;
  readonly tables: ClusterTables;
  readonly host: HostSide;
  readonly overlays: OverlaySet;
  readonly upkeep: OverlayUpkeep;
}

export class IngressEntry {
  readonly #options: IngressEntryOptions;

  constructor(options: IngressEntryOptions) {
    this.#options = options;
  }

  /** Why this host is not in the ingress network; null = it is, or is not to be. */
  get refusal(): string | null {
    return this.#options.host.ingressRefusal;
  }

  /** Its seat is as the tables say. */
  async sync(): Promise<void> {
    const { nodeId, tables, host, overlays, upkeep, log } = this.#options;
    const table = tables.ingress();
    const seat = table?.peers.get(nodeId);
    if (!table?.network || !seat) {
      await host.removeIngress();
      return;
    }
    const overlay = await upkeep.ensure(table.network.id);
    // The rules of IPv6 guard the link from the moment that it is there.
    await host.publish(new Map(), new Map(), table.network.subnet6 ?? '');
    await host.setMasquerades(seat.masquerades);
    await host.setTunnelPort(table.network.dataPathPort || DEFAULT_VXLAN_PORT);
    const before = this.refusal;
    await host.ensureIngress(overlay, ingressSeat(seat.address, table.network));
    const { refusal } = this;
    if (refusal !== before) {
      if (refusal !== null) {
        const { address } = seat;
        log.error({ address, refusal }, 'host is not in the ingress network');
      }
      await this.publishAll();
    }
    overlays.recognise(table.network.id, INGRESS_PORT);
  }

  /** The link is made anew. */
  async replug(): Promise<void> {
    await this.#options.host.removeIngress();
    await this.sync();
  }

  /** Everything that is published, and nothing else. */
  async publishAll(): Promise<void> {
    const { tables, host } = this.#options;
    const ports = new Set([...tables.ports.keys(), ...host.rules.servicePorts]);
    await this.publish(ports, null);
  }

  /** @param changed services to look at; null = all that are published */
  async publish(ports: ReadonlySet<string>, changed: ReadonlySet<ServiceId> | null): Promise<void> {
    await this.#options.host.publish(...planPublication(this.#publication, ports, changed));
  }

  get #publication(): PublicationView {
    const { nodeId, tables, host } = this.#options;
    const published = host.rules.services;
    return { nodeId, tables, published, isInIngress: this.refusal === null };
  }
}
