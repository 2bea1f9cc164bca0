/** Ports published through the routing mesh, per protocol. One service owns each. */
import type { ServiceId } from '../../common/model/ids.ts';
import type { Protocol } from '../../common/model/service.ts';
import { SerialBitmap } from './serial-bitmap.ts';

/** Chosen when the user names none: Swarm's range. */
export const DYNAMIC_PORT_FIRST = 30_000;
export const DYNAMIC_PORT_LAST = 32_767;
const DYNAMIC_PORTS = DYNAMIC_PORT_LAST - DYNAMIC_PORT_FIRST + 1;

interface ProtocolPorts {
  readonly owners: Map<number, ServiceId>;
  readonly dynamic: SerialBitmap;
}

export class PortPool {
  readonly #protocols: Readonly<Record<Protocol, ProtocolPorts>> = {
    tcp: openPorts(),
    udp: openPorts(),
    sctp: openPorts(),
  };

  owner(protocol: Protocol, port: number): ServiceId | undefined {
    return this.#protocols[protocol].owners.get(port);
  }

  /** False when another service owns the port. Taking one's own port again is no conflict. */
  take(protocol: Protocol, port: number, serviceId: ServiceId): boolean {
    const { owners, dynamic } = this.#protocols[protocol];
    const owner = owners.get(port);
    if (owner !== undefined) return owner === serviceId;
    owners.set(port, serviceId);
    if (isDynamic(port)) dynamic.take(port - DYNAMIC_PORT_FIRST);
    return true;
  }

  /** A port of the dynamic range; null when all 2768 are taken. */
  takeNext(protocol: Protocol, serviceId: ServiceId): number | null {
    const { owners, dynamic } = this.#protocols[protocol];
    const index = dynamic.takeNext();
    if (index === null) return null;
    owners.set(DYNAMIC_PORT_FIRST + index, serviceId);
    return DYNAMIC_PORT_FIRST + index;
  }

  /** Only the owner can release. */
  release(protocol: Protocol, port: number, serviceId: ServiceId): void {
    const { owners, dynamic } = this.#protocols[protocol];
    if (owners.get(port) !== serviceId) return;
    owners.delete(port);
    if (isDynamic(port)) dynamic.release(port - DYNAMIC_PORT_FIRST);
  }

  /** After a rebuild: go on above the highest port in use. */
  continueAboveUsed(): void {
    for (const { owners, dynamic } of Object.values(this.#protocols)) {
      for (const port of owners.keys()) {
        if (isDynamic(port)) dynamic.continueAbove(port - DYNAMIC_PORT_FIRST);
      }
    }
  }
}

function openPorts(): ProtocolPorts {
  return { owners: new Map(), dynamic: new SerialBitmap(DYNAMIC_PORTS) };
}

function isDynamic(port: number): boolean {
  return port >= DYNAMIC_PORT_FIRST && port <= DYNAMIC_PORT_LAST;
}
