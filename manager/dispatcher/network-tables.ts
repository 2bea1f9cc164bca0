/**
 * What every node with a task in a network must know of that network, kept up to date from commits:
 * a pure function of the store at one revision. Knows nothing of sessions.
 */
import type {
  AssignedEndpoint,
  AssignedNetwork,
  AssignedPeer,
  AssignedPort,
  AssignedServiceEntry,
  AssignmentChange,
} from '../../common/model/assignment.ts';
import { assignmentKey } from '../../common/model/assignment.ts';
import type { AssignmentChecksum } from '../../common/model/assignment-checksum.ts';
import { type Balancing, balancingOf, NO_BALANCING } from '../../common/model/balancing.ts';
import { expandedHostname } from '../../common/model/container-template.ts';
import {
  asId,
  type NetworkId,
  type NodeId,
  type ServiceId,
  type TaskId,
} from '../../common/model/ids.ts';
import {
  isEncrypted,
  isNodeMade,
  MTU_OPTION,
  type Network,
  subnet6Of,
} from '../../common/model/network.ts';
import { attachmentKey, type ContainerAttachment, type Node } from '../../common/model/node.ts';
import { isPredefinedNetwork } from '../../common/model/predefined-networks.ts';
import type { Service } from '../../common/model/service.ts';
import { addressesIn, type Task, taskName } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import { hostPortOf } from '../../common/rpc/listener.ts';
import type { ReadView, StoreChange } from '../store/types.ts';
import { type Entry, EntryTable, removeChange, setChange } from './entry-table.ts';
import { IngressGateways } from './ingress-gateways.ts';
import { UnderlayMtus, underlayMtuOf } from './underlay-mtus.ts';

type NetworkItemKind = 'network' | 'endpoint' | 'serviceEntry';
type NetworkItem = AssignedNetwork | AssignedEndpoint | AssignedServiceEntry;

/** What changed in one network. */
export interface NetworkChanges {
  /** everything but peers, in order */
  readonly items: readonly AssignmentChange[];
  /** the last one of each node */
  readonly peers: ReadonlyMap<NodeId, AssignmentChange>;
}

/** Changes of one commit batch, ready to be sent to whoever holds the table. */
export interface TableChanges {
  readonly byNetwork: ReadonlyMap<NetworkId, NetworkChanges>;
  /** published ports: every node has them */
  readonly ports: readonly AssignmentChange[];
}

/**
 * Whose peers a node must know of a network: all (null), for its tasks there answer packets from every one; or,
 * without a task there, its own only. So a cluster of N nodes sends N seats, not N * N.
 */
export type PeersOf = NodeId | null;

interface Table {
  /** by kind and key */
  readonly items: EntryTable<string, NetworkItem>;
  readonly peers: EntryTable<NodeId, AssignedPeer>;
}

const entryId = (kind: NetworkItemKind, key: string): string => `${kind} ${key}`;

export class NetworkTables {
  readonly #tables = new Map<NetworkId, Table>();
  readonly #ports: EntryTable<string, AssignedPort>;
  readonly #mtus = new UnderlayMtus();
  readonly #gateways: IngressGateways;
  #ingressId: NetworkId | null;
  /** of the newest entry: each has one of its own */
  #version = 0;

  /** Built whole from a view. */
  constructor(view: ReadView) {
    this.#ports = this.#entries();
    this.#ingressId = NetworkTables.ingressOf(view)?.id ?? null;
    for (const node of view.list('node')) this.#mtus.set(node.id, underlayMtuOf(node));
    this.#gateways = new IngressGateways(view.list('node'));
    for (const network of view.list('network'))
      this.#refreshNetwork(view, network.id, new Recorder());
    for (const service of view.list('service'))
      this.#refreshService(view, service, null, new Recorder());
    for (const task of view.list('task')) this.#refreshTask(view, task, null, new Recorder());
    for (const node of view.list('node')) this.#refreshNode(view, node, null, new Recorder());
  }

  /** The ingress network, or null before the allocator made it. */
  static ingressOf(view: ReadView): Network | null {
    return view.list('network').find((network) => network.spec.ingress) ?? null;
  }

  /** At the revision of the last `apply`. */
  get ingressId(): NetworkId | null {
    return this.#ingressId;
  }

  /** Everything of one network but peers, as `set` changes. */
  items(networkId: NetworkId): AssignmentChange[] {
    return Array.from(this.#tables.get(networkId)?.items.values() ?? [], setChange);
  }

  peers(networkId: NetworkId, whose: PeersOf): AssignmentChange[] {
    return Array.from(this.#peerEntries(networkId, whose), setChange);
  }

  /** The opposite of `items` and `peers`: `remove` changes for everything of one network. */
  removal(networkId: NetworkId, whose: PeersOf): AssignmentChange[] {
    const items = this.#tables.get(networkId)?.items.values() ?? [];
    return [...items, ...this.#peerEntries(networkId, whose)].map(removeChange);
  }

  /** `remove` changes for all peers but that of `nodeId`. */
  otherPeersRemoval(networkId: NetworkId, nodeId: NodeId): AssignmentChange[] {
    const peers = [...(this.#tables.get(networkId)?.peers.values() ?? [])];
    return peers.filter(({ item }) => item.nodeId !== nodeId).map(removeChange);
  }

  #peerEntries(networkId: NetworkId, whose: PeersOf): readonly Entry<AssignedPeer>[] {
    const peers = this.#tables.get(networkId)?.peers;
    if (!peers) return [];
    if (whose === null) return [...peers.values()];
    const own = peers.get(whose);
    return own ? [own] : [];
  }

  ports(): AssignmentChange[] {
    return Array.from(this.#ports.values(), setChange);
  }

  /** Adds what a node holds of a network, as `items` and `peers` tell it. */
  addTo(sum: AssignmentChecksum, networkId: NetworkId, whose: PeersOf): void {
    const table = this.#tables.get(networkId);
    if (!table) return;
    sum.include(table.items.sum);
    if (whose === null) {
      sum.include(table.peers.sum);
      return;
    }
    const own = table.peers.get(whose);
    if (own) sum.add(own.kind, own.key, own.version);
  }

  addPortsTo(sum: AssignmentChecksum): void {
    sum.include(this.#ports.sum);
  }

  /** Follows the changes of applied commits; `view` is the state after exactly them. */
  apply(view: ReadView, changes: readonly StoreChange[]): TableChanges {
    const recorder = new Recorder();
    this.#followMtus(view, changes, recorder);
    if (this.#gateways.follow(changes)) {
      for (const node of view.list('node')) this.#refreshPeers(view, node, node, recorder);
    }
    for (const change of changes) {
      const gone = change.action === 'remove';
      const previous = change.action === 'create' ? null : previousOf(change);
      if (change.kind === 'task') {
        this.#refreshTask(view, gone ? null : change.object, previous as Task | null, recorder);
      } else if (change.kind === 'service') {
        const service = gone ? null : change.object;
        this.#refreshService(view, service, previous as Service | null, recorder);
      } else if (change.kind === 'node') {
        this.#refreshNode(view, gone ? null : change.object, previous as Node | null, recorder);
      } else if (change.kind === 'network') {
        this.#ingressId = NetworkTables.ingressOf(view)?.id ?? null;
        this.#refreshNetwork(view, change.object.id, recorder);
        if (change.action !== 'update') this.#refreshNames(view, change.object.id, recorder);
      }
    }
    return recorder;
  }

  /** Networks whose MTU follows from the underlay are told when that is another. */
  #followMtus(view: ReadView, changes: readonly StoreChange[], recorder: Recorder): void {
    const before = this.#mtus.lowest;
    for (const change of changes) {
      if (change.kind !== 'node') continue;
      this.#mtus.set(
        change.object.id,
        change.action === 'remove' ? 0 : underlayMtuOf(change.object),
      );
    }
    if (this.#mtus.lowest === before) return;
    for (const { id } of view.list('network')) this.#refreshNetwork(view, id, recorder);
  }

  #refreshNetwork(view: ReadView, networkId: NetworkId, recorder: Recorder): void {
    const network = view.get('network', networkId);
    const cluster = view.list('cluster')[0];
    const item = network && assignedNetwork(network, cluster?.dataPathPort ?? 0, this.#mtus.lowest);
    this.#put(networkId, 'network', networkId, item ?? null, recorder);
  }

  /** Services have names in networks that exist. */
  #refreshNames(view: ReadView, networkId: NetworkId, recorder: Recorder): void {
    for (const service of view.list('service')) {
      if (networksOf(service).includes(networkId)) {
        this.#refreshService(view, service, service, recorder);
      }
    }
  }

  #refreshTask(view: ReadView, task: Task | null, previous: Task | null, recorder: Recorder): void {
    const networkIds = new Set<NetworkId>();
    for (const { networkId } of previous?.networks ?? []) networkIds.add(networkId);
    for (const { networkId } of task?.networks ?? []) networkIds.add(networkId);
    const id = (task ?? previous)?.id;
    for (const networkId of networkIds) {
      const item = task && assignedEndpoint(view, task, networkId);
      this.#put(networkId, 'endpoint', `${networkId}/${id}`, item ?? null, recorder);
    }
  }

  #refreshService(
    view: ReadView,
    service: Service | null,
    previous: Service | null,
    recorder: Recorder,
  ): void {
    const id = (service ?? previous)?.id as ServiceId;
    const networkIds = new Set([...networksOf(previous), ...networksOf(service)]);
    for (const networkId of networkIds) {
      const network = view.get('network', networkId);
      const named = service !== null && network !== undefined && !network.spec.ingress;
      const item = named ? assignedService(service, networkId) : null;
      this.#put(networkId, 'serviceEntry', `${networkId}/${id}`, item, recorder);
    }
    this.#refreshPorts(id, service, recorder);
  }

  #refreshPorts(serviceId: ServiceId, service: Service | null, recorder: Recorder): void {
    const wanted = new Map<string, AssignedPort>();
    const balancing = service ? balancingAsked(service) : NO_BALANCING;
    for (const port of service?.endpoint?.ports ?? []) {
      if (port.publishMode !== 'ingress' || port.publishedPort === 0) continue;
      const { protocol, name, publishedPort, targetPort, hostIp } = port;
      const item: AssignedPort = {
        ...{ protocol, name, publishedPort, targetPort, hostIp, serviceId },
        ...{ clientAffinity: balancing.clientAffinity, localOnly: balancing.localOnly },
      };
      wanted.set(assignmentKey('port', item), item);
    }
    for (const { key, item } of this.#ports.values()) {
      if (item.serviceId !== serviceId || wanted.has(key)) continue;
      recorder.port(this.#ports.replace(key, { kind: 'port', key, item: null }));
    }
    for (const [key, item] of wanted) {
      recorder.port(this.#ports.replace(key, { kind: 'port', key, item }));
    }
  }

  #refreshNode(view: ReadView, node: Node | null, previous: Node | null, recorder: Recorder): void {
    this.#refreshPeers(view, node, previous, recorder);
    this.#refreshContainers(node, previous, recorder);
    const id = (node ?? previous)?.id;
    const isDown = (it: Node | null): boolean => it?.status.state === 'down';
    const same =
      previous !== null &&
      hostAddressOf(previous) === (node && hostAddressOf(node)) &&
      isDown(previous) === isDown(node);
    if (same || !id) return;
    for (const task of view.tasksByNode(id)) this.#refreshTask(view, task, task, recorder);
  }

  /** The seats of the node itself. */
  #refreshPeers(
    view: ReadView,
    node: Node | null,
    previous: Node | null,
    recorder: Recorder,
  ): void {
    const hostAddress = node ? hostAddressOf(node) : null;
    const networkIds = new Set<NetworkId>();
    for (const { networkId } of previous?.attachments ?? []) networkIds.add(networkId);
    for (const { networkId } of node?.attachments ?? []) networkIds.add(networkId);
    const id = (node ?? previous)?.id;
    for (const networkId of networkIds) {
      const seat = node?.attachments.find((attachment) => attachment.networkId === networkId);
      const network = view.get('network', networkId);
      const encrypted = network !== undefined && isEncrypted(network.spec);
      const item: AssignedPeer | null =
        node && seat && hostAddress !== null
          ? {
              networkId,
              nodeId: node.id,
              hostAddress,
              address: withoutPrefix(seat.address),
              encryptionKey: (encrypted && node.description?.encryptionKey) || '',
              masquerades: this.#gateways.masquerades(node.id),
            }
          : null;
      if (id) this.#putPeer(networkId, id, item, recorder);
    }
  }

  #refreshContainers(node: Node | null, previous: Node | null, recorder: Recorder): void {
    const now = new Map((node?.containerAttachments ?? []).map((it) => [attachmentKey(it), it]));
    for (const attachment of previous?.containerAttachments ?? []) {
      const key = attachmentKey(attachment);
      if (!now.has(key)) this.#put(attachment.networkId, 'endpoint', key, null, recorder);
    }
    for (const [key, attachment] of now) {
      const item = node && containerEndpoint(node, attachment);
      this.#put(attachment.networkId, 'endpoint', key, item, recorder);
    }
  }

  #put(
    networkId: NetworkId,
    kind: NetworkItemKind,
    key: string,
    item: NetworkItem | null,
    recorder: Recorder,
  ): void {
    const table = this.#table(networkId);
    const change = table.items.replace(entryId(kind, key), { kind, key, item });
    this.#keepUnlessEmpty(networkId, table);
    if (change) recorder.network(networkId).items.push(change);
  }

  #putPeer(
    networkId: NetworkId,
    nodeId: NodeId,
    item: AssignedPeer | null,
    recorder: Recorder,
  ): void {
    const key = `${networkId}/${nodeId}`;
    const table = this.#table(networkId);
    const change = table.peers.replace(nodeId, { kind: 'peer', key, item });
    this.#keepUnlessEmpty(networkId, table);
    if (change) recorder.network(networkId).peers.set(nodeId, change);
  }

  #table(networkId: NetworkId): Table {
    const known = this.#tables.get(networkId);
    return known ?? { items: this.#entries(), peers: this.#entries() };
  }

  #entries<Id extends string, Item extends object>(): EntryTable<Id, Item> {
    return new EntryTable(() => ++this.#version);
  }

  #keepUnlessEmpty(networkId: NetworkId, table: Table): void {
    if (table.items.size + table.peers.size > 0) this.#tables.set(networkId, table);
    else this.#tables.delete(networkId);
  }
}

class Recorder implements TableChanges {
  readonly byNetwork = new Map<
    NetworkId,
    { readonly items: AssignmentChange[]; readonly peers: Map<NodeId, AssignmentChange> }
  >();
  readonly ports: AssignmentChange[] = [];

  network(networkId: NetworkId) {
    let changes = this.byNetwork.get(networkId);
    if (!changes) {
      changes = { items: [], peers: new Map() };
      this.byNetwork.set(networkId, changes);
    }
    return changes;
  }

  port(change: AssignmentChange | null): void {
    if (change) this.ports.push(change);
  }
}

function previousOf(change: StoreChange): unknown {
  if (change.action === 'update') return change.previous;
  return change.action === 'remove' ? change.object : null;
}

const withoutPrefix = (cidr: string): string => cidr.split('/')[0] ?? cidr;

/**
 * Where the VXLAN packets of a node's tasks go: the IP of its address. null before its first session, and of a stored
 * address that is none: what one node said once must not keep all others from their tables.
 */
export function hostAddressOf({ description }: Node): string | null {
  return description?.dataPathAddress || (hostPortOf(description?.address ?? '')?.host ?? null);
}

function networksOf(service: Service | null): NetworkId[] {
  if (!service) return [];
  const ids = new Set<NetworkId>();
  for (const { networkId } of service.endpoint?.virtualIps ?? []) ids.add(networkId);
  for (const { target } of service.spec.task.networks) {
    if (!isPredefinedNetwork(target)) ids.add(target as NetworkId);
  }
  return [...ids];
}

function assignedNetwork(
  network: Network,
  dataPathPort: number,
  underlayMtu: number,
): AssignedNetwork | null {
  const { name, driver, internal, ingress, driverOptions, configFrom } = network.spec;
  const ipam = network.ipam[0];
  const isLocal = isNodeMade(network.spec);
  if (!isLocal && (network.vxlanId === null || !ipam)) return null;
  return {
    id: network.id,
    name,
    driver,
    vxlanId: network.vxlanId ?? 0,
    subnet: ipam?.subnet ?? '',
    gateway: ipam?.gateway ?? '',
    internal,
    ingress,
    mtu: Number(driverOptions[MTU_OPTION] ?? 0),
    dataPathPort,
    encrypted: isEncrypted(network.spec),
    subnet6: subnet6Of(network),
    underlayMtu,
    local: isLocal ? { driverOptions, configFrom, ipam: network.spec.ipam.configs } : null,
  };
}

/**
 * A task's seat while it can have packets: from its assignment to a node until it ended. It serves
 * only while it runs (hence is healthy) and is wanted.
 */
function assignedEndpoint(
  view: ReadView,
  task: Task,
  networkId: NetworkId,
): AssignedEndpoint | null {
  const seat = task.networks.find((attachment) => attachment.networkId === networkId);
  const [address] = addressesIn(task, networkId);
  if (!seat || !address || task.nodeId === null) return null;
  if (isBefore(task.status.state, 'assigned') || isTerminal(task.status.state)) return null;
  const node = view.get('node', task.nodeId);
  const hostAddress = node && hostAddressOf(node);
  if (!hostAddress) return null;
  const wanted = task.desiredState === 'running' || task.desiredState === 'complete';
  return {
    networkId,
    taskId: task.id,
    serviceId: task.serviceId,
    serviceName: task.serviceAnnotations.name,
    slot: task.slot ?? 0,
    nodeId: task.nodeId,
    hostAddress,
    address: withoutPrefix(address),
    hostname: expandedHostname(task, node.description),
    containerName: taskName(task),
    aliases: seat.aliases,
    serving: wanted && task.status.state === 'running' && node.status.state !== 'down',
  };
}

/** The place of a container outside of services: it serves under its own names for as long as its node says. */
function containerEndpoint(node: Node, attachment: ContainerAttachment): AssignedEndpoint | null {
  const { networkId, containerId, containerName, hostname, aliases, address } = attachment;
  const hostAddress = hostAddressOf(node);
  if (address === '' || !hostAddress) return null;
  return {
    networkId,
    taskId: asId<TaskId>(containerId),
    serviceId: NO_SERVICE,
    serviceName: '',
    slot: 0,
    nodeId: node.id,
    hostAddress,
    address: withoutPrefix(address),
    hostname,
    containerName,
    aliases,
    serving: node.status.state !== 'down',
  };
}

const NO_SERVICE = asId<ServiceId>('');

/** Labels of services from before they were checked may hold anything. */
function balancingAsked({ spec }: Service): Balancing {
  try {
    return balancingOf(spec.labels);
  } catch {
    return NO_BALANCING;
  }
}

function assignedService(service: Service, networkId: NetworkId): AssignedServiceEntry | null {
  const attachment = service.spec.task.networks.find(({ target }) => target === networkId);
  if (!attachment) return null;
  const { clientAffinity, weight } = balancingAsked(service);
  const vip = service.endpoint?.virtualIps.find((entry) => entry.networkId === networkId);
  return {
    networkId,
    serviceId: service.id,
    name: service.spec.name,
    aliases: attachment.aliases,
    mode: service.spec.endpoint.mode,
    virtualIp: vip ? withoutPrefix(vip.address) : null,
    clientAffinity,
    weight,
    hostPorts: service.spec.endpoint.ports
      .filter(({ publishMode }) => publishMode === 'host')
      .map(({ protocol, name, targetPort }) => ({ protocol, name, targetPort })),
  };
}
