/**
 * Decides the virtual addresses and published ports of a service. Takes them in the book, gives back
 * what the new endpoint no longer has; writes nothing.
 */
import { deepEqual } from '../../common/base/equal.ts';
import { publishedKey, sharesPort } from '../../common/model/host-ip.ts';
import type { NetworkId, ServiceId } from '../../common/model/ids.ts';
import type { Endpoint, PortConfig, Service, VirtualIp } from '../../common/model/service.ts';
import type { ReadView } from '../store/types.ts';
import { type AllocatedNetwork, type AllocationBook, ipv4Of } from './allocation-book.ts';
import { requireNetworks } from './networks-of.ts';
import { DYNAMIC_PORT_FIRST, DYNAMIC_PORT_LAST, DYNAMIC_PORTS } from './port-pool.ts';
import { isProblem, type Problem } from './problem.ts';

/** True when a port of the service is reached through the routing mesh. */
export function publishesIngress(service: Service): boolean {
  return service.spec.endpoint.ports.some((port) => port.publishMode === 'ingress');
}

/**
 * The endpoint that fits the service's present words: the one it has when that still fits (same
 * object), a new one, or why there is none, in which case the old one stays in force.
 */
export function planEndpoint(
  book: AllocationBook,
  view: ReadView,
  service: Service,
): Endpoint | Problem {
  const spec = service.spec.endpoint;
  const current = book.endpoints.get(service.id) ?? null;
  const networks = requireNetworks(
    book,
    view,
    service.spec.task.networks,
    publishesIngress(service),
  );
  if (isProblem(networks)) return networks;
  const wanted = spec.mode === 'vip' ? networks : [];
  if (current && deepEqual(current.spec, spec) && sameNetworks(current.virtualIps, wanted)) {
    return current;
  }
  const ports = takePorts(book, view, service, current);
  if (isProblem(ports)) return ports;
  const virtualIps = takeVirtualIps(book, wanted, current);
  if (isProblem(virtualIps)) {
    releaseUnused(book, service.id, ports, current?.ports ?? []);
    return virtualIps;
  }
  const endpoint: Endpoint = { spec, ports, virtualIps };
  if (current) {
    releaseUnused(book, service.id, current.ports, ports);
    for (const { networkId, address } of current.virtualIps) {
      if (!virtualIps.some((vip) => vip.address === address && vip.networkId === networkId)) {
        book.releaseAddress(networkId, address);
      }
    }
  }
  book.endpoints.set(service.id, endpoint);
  return endpoint;
}

function sameNetworks(
  virtualIps: readonly VirtualIp[],
  networks: readonly AllocatedNetwork[],
): boolean {
  const ids = new Set<NetworkId>(networks.map(({ network }) => network.id));
  return virtualIps.length === ids.size && virtualIps.every(({ networkId }) => ids.has(networkId));
}

function takeVirtualIps(
  book: AllocationBook,
  networks: readonly AllocatedNetwork[],
  current: Endpoint | null,
): VirtualIp[] | Problem {
  const fresh: VirtualIp[] = [];
  const all: VirtualIp[] = [];
  for (const { network, pool } of networks) {
    const kept = current?.virtualIps.find((vip) => vip.networkId === network.id);
    if (kept) {
      all.push(kept);
      continue;
    }
    const address = pool.takeNext();
    if (address === null) {
      for (const vip of fresh) book.releaseAddress(vip.networkId, vip.address);
      return exhausted({ network, pool });
    }
    const vip = { networkId: network.id, address };
    fresh.push(vip);
    all.push(vip);
  }
  return all;
}

/** Names the network and the numbers, for that is what the user has to change. */
export function exhausted({ network, pool }: AllocatedNetwork): Problem {
  const subnets = ipv4Of(network).map(({ subnet, range }) => (range === '' ? subnet : range));
  return {
    problem: `network '${network.spec.name}' has no free address: ${pool.used} of ${pool.size} addresses of ${subnets.join(', ')} are in use`,
  };
}

function takePorts(
  book: AllocationBook,
  view: ReadView,
  service: Service,
  current: Endpoint | null,
): PortConfig[] | Problem {
  const ports: PortConfig[] = [];
  const giveUp = (problem: string): Problem => {
    releaseUnused(book, service.id, ports, current?.ports ?? []);
    return { problem };
  };
  // Fixed ports first, so that a dynamic one never takes a number that the same service names.
  const wanted = service.spec.endpoint.ports;
  const byIndex = new Map<number, PortConfig>();
  for (const [index, port] of wanted.entries()) {
    if (port.publishMode === 'host') byIndex.set(index, port);
    if (port.publishMode === 'host' || port.publishedPort === 0) continue;
    if (!book.ports.take(port, service.id)) {
      return giveUp(conflictText(book, view, port));
    }
    ports.push(port);
    byIndex.set(index, port);
  }
  const named = [...byIndex.values()];
  const reusable = dynamicPorts(current).filter(
    (kept) => !named.some((port) => sharesPort(port, kept)),
  );
  const onHosts = byIndex.size < wanted.length ? hostPorts(view, service) : [];
  const avoided = ({ protocol }: PortConfig): ReadonlySet<number> =>
    new Set(onHosts.filter((port) => port.protocol === protocol).map((port) => port.publishedPort));
  for (const [index, port] of wanted.entries()) {
    if (byIndex.has(index)) continue;
    const published =
      takeKept(reusable, port) ?? book.ports.takeNext(port, service.id, avoided(port));
    if (published === null) return giveUp(noDynamicPort(port));
    const allocated = { ...port, publishedPort: published };
    ports.push(allocated);
    byIndex.set(index, allocated);
  }
  return wanted.map((_, index) => byIndex.get(index)!);
}

/** What services have on their nodes themselves: there it would be in the way of the routing mesh, or that of it. */
function hostPorts(view: ReadView, service: Service): readonly PortConfig[] {
  return [...view.list('service'), service]
    .flatMap(({ spec }) => spec.endpoint.ports)
    .filter(({ publishMode, publishedPort }) => publishMode === 'host' && publishedPort !== 0);
}

const noDynamicPort = ({ protocol }: PortConfig): string =>
  `no free ${protocol} port: all ${DYNAMIC_PORTS} of ${DYNAMIC_PORT_FIRST}-${DYNAMIC_PORT_LAST} are in use, choose another`;

/** The ports of the current endpoint that we chose, so that an update keeps their numbers. */
function dynamicPorts(current: Endpoint | null): PortConfig[] {
  if (!current) return [];
  return current.ports.filter(
    (port, index) =>
      port.publishMode === 'ingress' && current.spec.ports[index]?.publishedPort === 0,
  );
}

function takeKept(reusable: PortConfig[], port: PortConfig): number | undefined {
  const index = reusable.findIndex(
    (kept) =>
      kept.protocol === port.protocol &&
      kept.targetPort === port.targetPort &&
      kept.hostIp === port.hostIp,
  );
  return index < 0 ? undefined : reusable.splice(index, 1)[0]!.publishedPort;
}

function conflictText(book: AllocationBook, view: ReadView, port: PortConfig): string {
  const owner = book.ports.owner(port);
  const name = (owner && view.get('service', owner)?.spec.name) ?? '';
  return `port '${port.publishedPort}' is already in use by service '${name}' (${owner}) as an ingress port`;
}

/** Gives back the ports of `ports` that `kept` does not have. */
function releaseUnused(
  book: AllocationBook,
  serviceId: ServiceId,
  ports: readonly PortConfig[],
  kept: readonly PortConfig[],
): void {
  const held = kept.filter(({ publishMode }) => publishMode === 'ingress').map(publishedKey);
  for (const port of ports) {
    if (port.publishMode === 'ingress' && !held.includes(publishedKey(port))) {
      book.ports.release(port, serviceId);
    }
  }
}
