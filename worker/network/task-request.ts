/** What the executor asks for a task's network, and the checks that need no kernel. */
import { SkepError } from '../../common/base/errors.ts';
import type { NetworkId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { PortConfig } from '../../common/model/service.ts';
import type { NetworkAttachment } from '../../common/model/task.ts';
import type { ClusterTables } from './cluster-tables.ts';
import type { DnsOptions } from './name-files.ts';

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
}

export interface AttachedTask {
  /** as asked for, with every published port filled in */
  readonly hostPorts: readonly PortConfig[];
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
    if (network && network.driver !== 'overlay') {
      throw new SkepError(
        'unimplemented',
        `attach task to network ${network.name}: driver "${network.driver}" is not supported, only "overlay"`,
      );
    }
  }
  const ids = request.attachments.map(({ networkId }) => networkId);
  const port = request.hostPorts[0];
  if (port && !hasWayOut(tables, ids)) {
    throw new SkepError(
      'invalid-argument',
      `publish port ${port.targetPort} on the host: the task has internal networks only`,
    );
  }
}
