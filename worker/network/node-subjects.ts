/**
 * The namespaces of this node as subjects of its self-proof: what is wanted of each by the tables
 * and the tasks that are attached, and who makes links anew. Decides nothing about when.
 */
import { interface6Of } from '../../common/base/ipv6.ts';
import type { AssignedNetwork } from '../../common/model/assignment.ts';
import type { NetworkId, NodeId, TaskId } from '../../common/model/ids.ts';
import { parsePrefix } from '../../native/ffi/net/address.ts';
import { portsApart } from './bridged-packets.ts';
import type { ClusterTables, NetworkTable } from './cluster-tables.ts';
import type { DnsAsker } from './dns-asker.ts';
import type { EncryptedUnderlay } from './encrypted-underlay.ts';
import { GATEWAY_SUBNET6 } from './gateway-bridge.ts';
import type { HostSide } from './host-side.ts';
import { type Difference, FACT } from './kernel-facts.ts';
import { gatewayPortName, INGRESS_LINK, INGRESS_PORT, overlayPortName } from './kernel-names.ts';
import { isOfResolver, nameDifferences, nameToAsk } from './name-check.ts';
import type { OverlayNetwork } from './overlay-network.ts';
import type { Subject } from './self-proof.ts';
import { entryNodes, type IngressSeat, type TaskNetwork } from './task-network.ts';
import { hasWayOut6, type TaskNetworkRequest } from './task-request.ts';
import {
  addressOf,
  type WantedHost,
  type WantedOverlay,
  type WantedSeat,
  type WantedTask,
} from './wanted-facts.ts';

/** The namespace by which encrypted networks go. */
export const ENCRYPTION_SUBJECT = 'encryption';

export interface SubjectTask {
  readonly request: TaskNetworkRequest;
  readonly network: TaskNetwork;
  /** legs whose network is not in the tables: nothing is wanted of them yet */
  readonly missing: ReadonlySet<NetworkId>;
}

export interface NodeParts {
  readonly nodeId: NodeId;
  readonly vtepAddress: string;
  readonly tables: ClusterTables;
  readonly host: HostSide;
  readonly encrypted: EncryptedUnderlay;
  readonly overlays: ReadonlyMap<NetworkId, OverlayNetwork>;
  readonly tasks: ReadonlyMap<TaskId, SubjectTask>;
  /** by which resolvers are tried */
  readonly asker: DnsAsker;
  /** makes a task's link into a network anew */
  readonly replug: (task: SubjectTask, networkId: NetworkId) => Promise<void>;
  /** makes a task's way out anew */
  readonly replugWayOut: (task: SubjectTask) => Promise<void>;
  /** makes the host's own seat in the ingress network anew */
  readonly replugIngress: () => Promise<void>;
}

/** Networks first: tasks' links and the host's are plugged into them. */
export function subjectsOf(parts: NodeParts): Subject[] {
  const subjects: Subject[] = [];
  if (parts.encrypted.active) subjects.push(encryptedSubject(parts.encrypted));
  for (const [id, overlay] of parts.overlays) {
    const table = parts.tables.networks.get(id);
    if (table?.network) subjects.push(overlaySubject(parts, overlay, table, table.network));
  }
  for (const task of parts.tasks.values()) subjects.push(taskSubject(parts, task));
  subjects.push(hostSubject(parts));
  return subjects;
}

/** This host's seat in the ingress network, `address`, in CIDR notation. */
export function ingressSeat(
  address: string,
  { subnet, subnet6 }: AssignedNetwork,
): { readonly address: string; readonly address6: string | undefined } {
  const cidr = `${address}/${parsePrefix(subnet).length}`;
  return { address: cidr, address6: seat6(subnet6, cidr) };
}

const seat6 = (subnet6: string, cidr: string): string | undefined =>
  subnet6 === '' ? undefined : interface6Of(subnet6, cidr);

/** What a task needs to answer clients of published ports; null when it has no seat for it. */
export function ingressSeatOf(tables: ClusterTables, network: TaskNetwork): IngressSeat | null {
  for (const { networkId } of network.legs) {
    const table = tables.networks.get(networkId);
    if (!table?.network?.ingress) continue;
    const gateways = [...table.peers.values()].filter(({ masquerades }) => !masquerades);
    const nodes = gateways.map(({ address }) => address).sort();
    const { subnet, subnet6 } = table.network;
    const isDual = hasWayOut6(
      tables,
      network.legs.map((leg) => leg.networkId),
    );
    return { networkId, nodes, subnet: parsePrefix(subnet), subnet6, isDual };
  }
  return null;
}

function encryptedSubject(encrypted: EncryptedUnderlay): Subject {
  return {
    where: ENCRYPTION_SUBJECT,
    // Always: WireGuard does not tell of changes.
    suspect: () => true,
    trust: () => {},
    differences: () => encrypted.differences(),
    repair: () => encrypted.restore(),
  };
}

function overlaySubject(
  parts: NodeParts,
  overlay: OverlayNetwork,
  table: NetworkTable,
  network: AssignedNetwork,
): Subject {
  const wanted = () => wantedOverlay(parts, overlay, table, network);
  return {
    where: `network ${network.name}`,
    suspect: () => overlay.watch.suspect(),
    trust: () => overlay.watch.trust(),
    differences: () => overlay.differences(wanted()),
    repair: async (differences) => {
      await overlay.restore(network, wanted());
      for (const task of parts.tasks.values()) {
        const gone = isGone(differences, overlayPortName(task.request.taskId));
        if (gone) await parts.replug(task, overlay.id);
      }
      if (isGone(differences, INGRESS_PORT)) await parts.replugIngress();
    },
  };
}

function wantedOverlay(
  { tasks, nodeId, vtepAddress, host }: NodeParts,
  overlay: OverlayNetwork,
  table: NetworkTable,
  network: AssignedNetwork,
): WantedOverlay {
  const ports = new Map<string, string>();
  for (const { request, network: taskNetwork, missing } of tasks.values()) {
    const leg = taskNetwork.legs.find(({ networkId }) => networkId === overlay.id);
    if (leg && !missing.has(overlay.id)) {
      ports.set(overlayPortName(request.taskId), addressOf(leg.address));
    }
  }
  const seat = network.ingress ? table.peers.get(nodeId) : undefined;
  if (seat && host.ingressRefusal === null) ports.set(INGRESS_PORT, seat.address);
  const remote = new Map([...table.seats()].filter(([, host]) => host !== vtepAddress));
  const { mtu, subnet6 } = overlay;
  return { mtu, vxlan: overlay.vxlanOptions(network), subnet6, remote, ports };
}

function taskSubject(parts: NodeParts, task: SubjectTask): Subject {
  const { network, request } = task;
  const wanted = () => wantedTask(parts, task);
  return {
    where: `task ${request.containerName}`,
    suspect: () => network.watch.suspect(),
    trust: () => network.watch.trust(),
    differences: () => network.differences(wanted()),
    tried: async () => {
      const name = request.links ? null : nameToAsk(parts.tables, request.attachments);
      return name ? nameDifferences(name, parts.asker, network.netnsPath) : [];
    },
    repair: async (differences) => {
      for (const { link, networkId } of network.legs) {
        if (isGone(differences, link)) await parts.replug(task, networkId);
      }
      const { wayOut } = wanted();
      if (wayOut && isGone(differences, wayOut.link)) await parts.replugWayOut(task);
      await network.restore(wanted(), ingressSeatOf(parts.tables, network));
      // At an address that may not have been there.
      if (differences.some(isOfResolver)) await network.reopenResolver();
    },
  };
}

function wantedTask({ host, overlays, tables }: NodeParts, task: SubjectTask): WantedTask {
  const { network, missing } = task;
  const legs = network.legs.flatMap(({ networkId, link, address }) => {
    const overlay = overlays.get(networkId);
    if (!overlay || missing.has(networkId)) return [];
    const { mtu, subnet6 } = overlay;
    return [{ link, address, address6: seat6(subnet6, address), mtu }];
  });
  const bridge = host.gateway.seat;
  const own = network.gatewayAddress;
  const wayOut =
    bridge && own !== null
      ? {
          link: network.gatewayLink,
          ...wayOutAddresses(
            own,
            bridge,
            hasWayOut6(
              tables,
              network.legs.map((leg) => leg.networkId),
            ),
          ),
          mtu: bridge.mtu,
        }
      : null;
  const seat = ingressSeatOf(tables, network);
  const entryLeg = network.legs.find(({ networkId }) => networkId === seat?.networkId);
  const entry =
    seat && entryLeg && !missing.has(seat.networkId)
      ? { link: entryLeg.link, nodes: entryNodes(seat) }
      : null;
  return { legs, wayOut, entry };
}

function wayOutAddresses(own: string, bridge: WantedSeat, isDual: boolean) {
  const address = `${own}/${parsePrefix(bridge.address).length}`;
  const via6 = isDual && bridge.address6 !== undefined ? addressOf(bridge.address6) : undefined;
  const address6 = via6 === undefined ? undefined : interface6Of(GATEWAY_SUBNET6, address);
  return { address, address6, via: addressOf(bridge.address), via6 };
}

function hostSubject(parts: NodeParts): Subject {
  const { host } = parts;
  const wanted = () => wantedHost(parts);
  return {
    where: 'host',
    // Always: it is one namespace, and nothing in it is quiet for long.
    suspect: () => true,
    trust: () => {},
    differences: () => host.differences(wanted()),
    repair: async (differences) => {
      for (const task of parts.tasks.values()) {
        const port = gatewayPortName(task.request.taskId);
        if (isGone(differences, port)) await parts.replugWayOut(task);
      }
      if (isGone(differences, INGRESS_LINK)) await parts.replugIngress();
      await host.restoreState(wanted());
    },
  };
}

function wantedHost({ host, overlays, tables, tasks, nodeId }: NodeParts): WantedHost {
  const bridge = host.gateway.seat;
  const ports = new Map<string, string>();
  for (const { request, network } of tasks.values()) {
    if (network.gatewayAddress === null) continue;
    ports.set(gatewayPortName(request.taskId), network.gatewayAddress);
  }
  const table = tables.ingress();
  const seat = table?.peers.get(nodeId);
  const overlay = table?.network ? overlays.get(table.network.id) : undefined;
  const ingress =
    table?.network && seat && overlay && host.ingressRefusal === null
      ? {
          link: INGRESS_LINK,
          ...ingressSeat(seat.address, table.network),
          mtu: overlay.mtu,
        }
      : null;
  return { gateway: bridge && { seat: bridge, ports, apart: portsApart(true) }, ingress };
}

const isGone = (differences: readonly Difference[], link: string): boolean =>
  differences.some(({ what, found }) => what === FACT.link(link) && found === null);
