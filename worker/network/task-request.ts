/** What the executor asks for a task's network, and the checks that need no kernel. */
import { SkepError } from '../../common/base/errors.ts';
import type { AssignedNetwork } from '../../common/model/assignment.ts';
import type { EndpointOptions } from '../../common/model/endpoint-options.ts';
import type { NetworkId, ServiceId, TaskId } from '../../common/model/ids.ts';
import { joinsNodes } from '../../common/model/network.ts';
import type { PortConfig } from '../../common/model/service.ts';
import type { NetworkAttachment } from '../../common/model/task.ts';
import type { ClusterTables } from './cluster-tables.ts';
import type { DnsOptions } from './name-files.ts';
import type { MadeWish } from './node-made-networks.ts';

export interface TaskNetworkRequest {
  readonly taskId: TaskId;
  readonly serviceId: ServiceId | null;
  readonly containerName: string;
  readonly hostname: string;
  /** the container's namespace, e.g. `/proc/PID/ns/net`; its init does not run yet at attach */
  readonly netnsPath: string;
  /** Task.networks, the ingress network's seat included; addresses in CIDR notation */
  readonly attachments: readonly NetworkAttachment[];
  /** ports with publishMode `host` */
  readonly hostPorts: readonly PortConfig[];
  readonly dns: DnsOptions;
  /**
   * Of a container outside of services, whose way out and resolver are others' business: what the links of its
   * attachments are called in its namespace, in their order.
   */
  readonly links?: readonly string[];
  /** by network, of places that were asked for with some; null = none was */
  readonly options?: Readonly<Record<string, EndpointOptions>> | null;
}

export interface AttachedTask {
  /** as asked for, with every published port filled in */
  readonly hostPorts: readonly PortConfig[];
}

type NamedLinks = Pick<TaskNetworkRequest, 'attachments' | 'links' | 'options'>;

/** Links of the attachments by their order, unless the request names them: `eth0`, `eth1`, ... */
export function linkOf({ links, options, attachments }: NamedLinks, at: number): string {
  const networkId = attachments[at]?.networkId;
  const own = networkId && options?.[networkId]?.link;
  return links?.[at] ?? (own || `eth${at}`);
}

/** A seat that the managers gave no address: the node makes its link, and gives one. */
export const isMadeHere = ({ addresses }: NetworkAttachment): boolean => addresses.length === 0;

/** What the task is to have in networks that this node makes. Throws `not-found` for one that is not in the tables. */
export function madeWishes(tables: ClusterTables, request: TaskNetworkRequest): MadeWish[] {
  const ids = request.attachments.map(({ networkId }) => networkId);
  const isWayOut = !hasGateway(tables, ids);
  return request.attachments.flatMap((attachment, at) => {
    if (!isMadeHere(attachment)) return [];
    const network = tables.networks.get(attachment.networkId)?.network;
    if (network) return [{ network, link: linkOf(request, at), isWayOut }];
    throw new SkepError('not-found', `network ${attachment.networkId} was removed`);
  });
}

/**
 * A task has a way out unless all of its own networks are internal. One without own networks has
 * it; the ingress network does not count.
 */
export function hasWayOut(tables: ClusterTables, networkIds: readonly NetworkId[]): boolean {
  const own = networkIds
    .map((id) => tables.networks.get(id)?.network)
    .filter((network) => !network?.ingress);
  return own.length === 0 || own.some((network) => !network?.internal);
}

/**
 * Whether its way out, and its ports on the host, go by the gateway bridge: a task in networks of macvlan and ipvlan alone has the way
 * of their links.
 */
export function hasGateway(tables: ClusterTables, networkIds: readonly NetworkId[]): boolean {
  const own = networkIds
    .map((id) => tables.networks.get(id)?.network)
    .filter((network) => !network?.ingress);
  const leads = (network: AssignedNetwork | null | undefined): boolean =>
    !network?.internal && (!network?.local || !joinsNodes(network));
  return own.length === 0 || own.some(leads);
}

/** By IPv6, too: for tasks with an own network that has it and is not internal. */
export function hasWayOut6(tables: ClusterTables, networkIds: readonly NetworkId[]): boolean {
  return networkIds.some((id) => {
    const network = tables.networks.get(id)?.network;
    return network && !network.ingress && !network.internal && network.subnet6 !== '';
  });
}

/** Throws what can never succeed. The networks are known. */
export function checkRequest(tables: ClusterTables, request: TaskNetworkRequest): void {
  for (const { networkId } of request.attachments) {
    const network = tables.networks.get(networkId)?.network;
    if (network && !network.local && network.driver !== 'overlay') {
      throw new SkepError(
        'unimplemented',
        `attach task to network ${network.name}: driver "${network.driver}" is not supported`,
      );
    }
  }
  const ids = request.attachments.map(({ networkId }) => networkId);
  const port = request.hostPorts[0];
  if (port && !hasGateway(tables, ids)) {
    const why = hasWayOut(tables, ids)
      ? 'the way out of the task passes the host by'
      : 'the task has internal networks only';
    throw new SkepError('invalid-argument', `publish port ${port.targetPort} on the host: ${why}`);
  }
}
