/**
 * The rules of attached tasks by the cluster's tables: written whole, or the changes of a step. Knows
 * neither overlays nor the host's own namespace.
 */
import type { NetworkId, ServiceId } from '../../common/model/ids.ts';
import type { PortConfig } from '../../common/model/service.ts';
import type { ClusterTables, NetworkTable, Touched } from './cluster-tables.ts';
import { ingressSeatOf } from './node-subjects.ts';
import type { TaskNetwork } from './task-network.ts';
import type { TaskNetworkRequest } from './task-request.ts';
import type { DualSubnet } from './task-tables.ts';

export interface AttachedState {
  readonly request: TaskNetworkRequest;
  readonly network: TaskNetwork;
  /** none before its start for one that waits for another to end */
  hostPorts: readonly PortConfig[];
  /** legs that could not be made yet: their network was not in the tables at adoption */
  readonly missing: Set<NetworkId>;
  /** a step of its programming failed: its rules are due to be written whole */
  isBehind: boolean;
  /** it ran before this daemon, and its connections were not looked at since */
  hasOldConnections: boolean;
}

/** Writes the whole table of a task's namespace. */
export async function programTask(tables: ClusterTables, state: AttachedState): Promise<void> {
  state.network.rules.setDual(dualOf(tables, state));
  const changes = new Map<string, ReadonlySet<string> | null>();
  const sticky = new Set<string>();
  for (const virtualIp of state.network.rules.virtualIps) changes.set(virtualIp, null);
  for (const { networkId } of state.network.legs) {
    const table = tables.networks.get(networkId);
    if (!table || table.network?.ingress) continue;
    for (const { serviceId, virtualIp, clientAffinity } of table.services.values()) {
      if (virtualIp === null) continue;
      changes.set(virtualIp, new Set(table.servingOf(serviceId)));
      if (clientAffinity) sticky.add(virtualIp);
    }
  }
  await state.network.rules.set(changes, sticky);
  await setIngress(tables, state);
  await state.network.rules.rebuild();
  state.isBehind = false;
}

/**
 * The changes of one step; the whole table where a step failed before.
 * @param seatChanged this node's, or another's, in the ingress network
 */
export async function programChanges(
  tables: ClusterTables,
  state: AttachedState,
  touched: Touched,
  seatChanged: boolean,
): Promise<void> {
  const dual = state.network.rules.setDual(dualOf(tables, state));
  if (state.isBehind || dual) return programTask(tables, state);
  const changes = new Map<string, ReadonlySet<string> | null>();
  const sticky = new Set<string>();
  for (const { networkId } of state.network.legs) {
    if (isIngress(tables, networkId)) continue;
    for (const virtualIp of touched.virtualIpsGone.get(networkId) ?? []) {
      changes.set(virtualIp, null);
    }
    const services = touched.services.get(networkId);
    if (services) collectVips(changes, sticky, tables.networks.get(networkId), services);
  }
  await state.network.rules.set(changes, sticky);
  const entered = state.network.legs.some(({ networkId }) => isIngress(tables, networkId));
  if (seatChanged && entered) {
    await setIngress(tables, state);
    await state.network.rules.rebuild();
  }
}

function dualOf(tables: ClusterTables, { network }: AttachedState): DualSubnet[] {
  return network.legs.flatMap(({ networkId }) => {
    const table = tables.networks.get(networkId)?.network;
    return table && table.subnet6 !== '' ? [table] : [];
  });
}

async function setIngress(tables: ClusterTables, state: AttachedState): Promise<void> {
  const seat = ingressSeatOf(tables, state.network);
  if (seat) await state.network.setIngress(seat);
}

function isIngress(tables: ClusterTables, id: NetworkId): boolean {
  return tables.networks.get(id)?.network?.ingress === true;
}

/** Steps for a task's table: the touched services as they are now. */
function collectVips(
  changes: Map<string, ReadonlySet<string> | null>,
  sticky: Set<string>,
  table: NetworkTable | undefined,
  services: ReadonlySet<ServiceId>,
): void {
  for (const id of services) {
    const { virtualIp = null, clientAffinity = false } = table?.services.get(id) ?? {};
    if (virtualIp === null) continue;
    changes.set(virtualIp, new Set(table?.servingOf(id) ?? []));
    if (clientAffinity) sticky.add(virtualIp);
  }
}
