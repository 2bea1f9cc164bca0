/**
 * What of the cluster is published on this host: steps for the host's table, by the cluster's tables,
 * and who has a port. Pure.
 */
import type { PublishedPort } from '../../common/model/host-ip.ts';
import type { NodeId, ServiceId } from '../../common/model/ids.ts';
import type { ClusterTables } from './cluster-tables.ts';
import type { PortTarget } from './host-rules.ts';
import type { HostSide } from './host-side.ts';
import type { Proof } from './self-proof.ts';

export interface PublicationView {
  readonly tables: ClusterTables;
  readonly nodeId: NodeId;
  /** services that the host's table publishes now */
  readonly published: Iterable<string>;
  /** false = this host could not get its seat there, and what is published leads nowhere */
  readonly isInIngress: boolean;
}

/** Steps for the host's table. @param changed services to look at; null = all that are published */
export function planPublication(
  view: PublicationView,
  ports: ReadonlySet<string>,
  changed: ReadonlySet<ServiceId> | null,
): Parameters<HostSide['publish']> {
  const { tables, published, nodeId, isInIngress } = view;
  const entered = (id: ServiceId) =>
    isInIngress ? enteredFrom(tables, nodeId, id) : new Set<string>();
  const ingress = tables.ingress();
  const targets = new Map<string, PortTarget | null>();
  const services = new Map<string, ReadonlySet<string> | null>();
  const subnet6 = ingress?.network?.subnet6 ?? '';
  const inUse = new Set<string>();
  for (const port of tables.ports.values()) inUse.add(port.serviceId);
  for (const key of ports) {
    const port = tables.ports.get(key);
    if (!port) {
      targets.set(key, null);
      continue;
    }
    const { serviceId, targetPort, clientAffinity } = port;
    services.set(serviceId, entered(serviceId));
    targets.set(key, { kind: 'service', serviceId, targetPort, clientAffinity });
  }
  for (const id of changed ?? []) {
    if (inUse.has(id)) services.set(id, entered(id));
  }
  for (const id of published) if (!inUse.has(id)) services.set(id, null);
  return [services, targets, subnet6];
}

/** Where connections to a service's published ports go from the node `here`. */
export function enteredFrom(
  tables: ClusterTables,
  here: NodeId,
  id: ServiceId,
): ReadonlySet<string> {
  const ingress = tables.ingress();
  const serving = new Set(ingress?.servingOf(id) ?? []);
  const ports = [...tables.ports.values()];
  const isLocal = ports.some(({ serviceId, localOnly }) => serviceId === id && localOnly);
  if (!isLocal) return serving;
  const local = [...(ingress?.endpoints.values() ?? [])].filter(
    ({ address, nodeId }) => nodeId === here && serving.has(address),
  );
  return new Set(local.map(({ address }) => address));
}

/** Published ports that a container outside of services had first: connections go there. */
export function shadowedPorts(
  tables: ClusterTables,
  localHolder: (port: PublishedPort) => string | null,
): Proof['failures'] {
  return [...tables.ports.values()].flatMap((port) => {
    const { protocol, publishedPort, serviceId } = port;
    const holder = localHolder(port);
    if (holder === null) return [];
    const where = `port ${publishedPort}/${protocol} of ${serviceWords(tables, serviceId)}`;
    return [{ where, reason: `${holder} of this node had it first` }];
  });
}

/** `service web`, by its id where no name of it is known here. */
export function serviceWords({ networks }: ClusterTables, id: string): string {
  for (const { services, endpoints } of networks.values()) {
    const task = [...endpoints.values()].find(({ serviceId }) => serviceId === id);
    const name = services.get(id as ServiceId)?.name ?? task?.serviceName;
    if (name !== undefined) return `service ${name}`;
  }
  return `service ${id}`;
}
