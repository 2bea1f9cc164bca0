/** Ports published through the routing mesh, per protocol. One service owns each, or each address of one. */
import { type PublishedPort, sharesPort } from '../../common/model/host-ip.ts';
import type { ServiceId } from '../../common/model/ids.ts';
import type { Protocol } from '../../common/model/service.ts';
import { SerialBitmap } from './serial-bitmap.ts';

/** Chosen when the user names none: Swarm's range. */
export const DYNAMIC_PORT_FIRST = 30_000;
export const DYNAMIC_PORT_LAST = 32_767;
export const DYNAMIC_PORTS = DYNAMIC_PORT_LAST - DYNAMIC_PORT_FIRST + 1;

const NO_PORTS: ReadonlySet<number> = new Set();

interface Owner extends PublishedPort {
  readonly serviceId: ServiceId;
}

interface ProtocolPorts {
  /** by number; several only where each has an address of its own */
  readonly owners: Map<number, readonly Owner[]>;
  readonly dynamic: SerialBitmap;
}

export class PortPool {
  readonly #protocols: Readonly<Record<Protocol, ProtocolPorts>> = {
    tcp: openPorts(),
    udp: openPorts(),
    sctp: openPorts(),
  };

  /** Who has the port on an address that this one would have too. */
  owner(port: PublishedPort): ServiceId | undefined {
    return this.#ownersOf(port).find((owner) => sharesPort(owner, port))?.serviceId;
  }

  /** False when another service owns the port. Taking one's own port again is no conflict. */
  take(port: PublishedPort, serviceId: ServiceId): boolean {
    const { protocol, publishedPort, hostIp } = port;
    const owners = this.#ownersOf(port);
    const sharing = owners.filter((owner) => sharesPort(owner, port));
    if (sharing.some((owner) => owner.serviceId !== serviceId)) return false;
    if (sharing.some((owner) => owner.hostIp === hostIp)) return true;
    const ports = this.#protocols[protocol];
    ports.owners.set(publishedPort, [...owners, { protocol, publishedPort, hostIp, serviceId }]);
    if (isDynamic(publishedPort)) ports.dynamic.take(publishedPort - DYNAMIC_PORT_FIRST);
    return true;
  }

  /** A port of the dynamic range, free on every address, and none of `avoided`; null when there is none. */
  takeNext(
    { protocol, hostIp }: Pick<PublishedPort, 'protocol' | 'hostIp'>,
    serviceId: ServiceId,
    avoided: ReadonlySet<number> = NO_PORTS,
  ): number | null {
    const { owners, dynamic } = this.#protocols[protocol];
    const passed: number[] = [];
    let index = dynamic.takeNext();
    while (index !== null && avoided.has(DYNAMIC_PORT_FIRST + index)) {
      passed.push(index);
      index = dynamic.takeNext();
    }
    for (const one of passed) dynamic.release(one);
    if (index === null) return null;
    const publishedPort = DYNAMIC_PORT_FIRST + index;
    owners.set(publishedPort, [{ protocol, publishedPort, hostIp, serviceId }]);
    return publishedPort;
  }

  /** Only the owner can release. */
  release(port: PublishedPort, serviceId: ServiceId): void {
    const { protocol, publishedPort, hostIp } = port;
    const { owners, dynamic } = this.#protocols[protocol];
    const before = this.#ownersOf(port);
    const left = before.filter((it) => it.serviceId !== serviceId || it.hostIp !== hostIp);
    if (left.length === before.length) return;
    if (left.length > 0) owners.set(publishedPort, left);
    else owners.delete(publishedPort);
    if (left.length === 0 && isDynamic(publishedPort)) {
      dynamic.release(publishedPort - DYNAMIC_PORT_FIRST);
    }
  }

  #ownersOf({ protocol, publishedPort }: PublishedPort): readonly Owner[] {
    return this.#protocols[protocol].owners.get(publishedPort) ?? [];
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
