/**
 * What the cluster told this node about networks, indexed for programming. Pure: a function of the
 * assignment changes applied so far; each `apply` says what must be looked at again.
 */
import { isIPv4 } from 'node:net';
import type {
  AssignedEndpoint,
  AssignedNetwork,
  AssignedPeer,
  AssignedPort,
  AssignedServiceEntry,
  AssignmentChange,
  AssignmentKind,
} from '../../common/model/assignment.ts';
import type { NetworkId, NodeId, ServiceId } from '../../common/model/ids.ts';
import { NameIndex } from './name-index.ts';

/** What one batch of changes touched. */
export interface Touched {
  readonly networks: Set<NetworkId>;
  /** addresses whose holder or host may differ now */
  readonly seats: Map<NetworkId, Set<string>>;
  /** services whose VIP or serving tasks may differ now */
  readonly services: Map<NetworkId, Set<ServiceId>>;
  /** addresses that ended in a network: their connections must be forgotten */
  readonly gone: Map<NetworkId, Set<string>>;
  /** addresses that serve no more, whoever holds them: what is sent without a connection must find others */
  readonly unserved: Map<NetworkId, Set<string>>;
  /** virtual IPs that are none any more */
  readonly virtualIpsGone: Map<NetworkId, Set<string>>;
  readonly ports: Set<string>;
  /** networks whose peers changed */
  readonly peers: Set<NetworkId>;
}

type NetworkKind = Exclude<AssignmentKind, 'task' | 'secret' | 'config'>;
const KINDS: readonly NetworkKind[] = ['network', 'endpoint', 'serviceEntry', 'port', 'peer'];

const isNetworkKind = (kind: AssignmentKind): kind is NetworkKind =>
  (KINDS as readonly string[]).includes(kind);

/** Everything of one network. */
export class NetworkTable {
  network: AssignedNetwork | null = null;
  readonly names = new NameIndex();
  readonly endpoints = new Map<string, AssignedEndpoint>();
  readonly services = new Map<ServiceId, AssignedServiceEntry>();
  readonly peers = new Map<NodeId, AssignedPeer>();
  /** serving endpoints: service -> task -> address */
  readonly #serving = new Map<ServiceId, Map<string, string>>();
  /** address -> how many serve there: two only while it changes hands */
  readonly #servingAt = new Map<string, number>();
  /** address -> key of its holder -> host; two holders only while an address changes hands */
  readonly #seats = new Map<string, Map<string, string>>();

  get empty(): boolean {
    const items = this.endpoints.size + this.services.size + this.peers.size;
    return this.network === null && items === 0;
  }

  /** Addresses of a service's serving tasks. */
  servingOf(serviceId: ServiceId): Iterable<string> {
    return this.#serving.get(serviceId)?.values() ?? [];
  }

  /** Whether somebody serves there, of whatever service. */
  servesAt(address: string): boolean {
    return this.#servingAt.has(address);
  }

  /** Every address in use and the host that holds it. */
  *seats(): Iterable<[string, string]> {
    for (const [address, holders] of this.#seats) yield [address, lastOf(holders)];
  }

  /** The host of an address; null when nobody holds it. */
  hostOf(address: string): string | null {
    const holders = this.#seats.get(address);
    return holders ? lastOf(holders) : null;
  }

  addSeat(address: string, key: string, host: string): void {
    const holders = this.#seats.get(address) ?? new Map<string, string>();
    holders.delete(key);
    holders.set(key, host);
    this.#seats.set(address, holders);
  }

  removeSeat(address: string, key: string): void {
    const holders = this.#seats.get(address);
    holders?.delete(key);
    if (holders?.size === 0) this.#seats.delete(address);
  }

  setServing(endpoint: AssignedEndpoint, serving: boolean): void {
    const { serviceId, taskId, address } = endpoint;
    const tasks = this.#serving.get(serviceId) ?? new Map<string, string>();
    const before = tasks.get(taskId);
    if (before !== undefined) this.#countServing(before, -1);
    if (serving) {
      tasks.set(taskId, address);
      this.#countServing(address, 1);
    } else tasks.delete(taskId);
    if (tasks.size > 0) this.#serving.set(serviceId, tasks);
    else this.#serving.delete(serviceId);
  }

  #countServing(address: string, by: 1 | -1): void {
    const count = (this.#servingAt.get(address) ?? 0) + by;
    if (count > 0) this.#servingAt.set(address, count);
    else this.#servingAt.delete(address);
  }
}

function lastOf(holders: ReadonlyMap<string, string>): string {
  let last = '';
  for (const host of holders.values()) last = host;
  return last;
}

export class ClusterTables {
  readonly networks = new Map<NetworkId, NetworkTable>();
  readonly ports = new Map<string, AssignedPort>();
  /** key -> network, for removals, which carry the key only */
  readonly #known: Record<NetworkKind, Set<string>> = {
    network: new Set(),
    endpoint: new Set(),
    serviceEntry: new Set(),
    port: new Set(),
    peer: new Set(),
  };

  /** CIDRs of the networks that this node knows of. */
  get subnets(): string[] {
    return [...this.networks.values()].flatMap(({ network }) => network?.subnet || []);
  }

  /** The ingress network's table, when this node knows of one. */
  ingress(): NetworkTable | null {
    for (const table of this.networks.values()) if (table.network?.ingress) return table;
    return null;
  }

  /** @param complete the changes name the whole set: what they do not name is gone */
  apply(changes: readonly AssignmentChange[], complete: boolean): Touched {
    const touched: Touched = {
      networks: new Set(),
      seats: new Map(),
      services: new Map(),
      gone: new Map(),
      unserved: new Map(),
      virtualIpsGone: new Map(),
      ports: new Set(),
      peers: new Set(),
    };
    if (complete) this.#removeUnnamed(changes, touched);
    for (const change of changes) {
      if (!isNetworkKind(change.kind)) continue;
      if (change.action === 'set') this.#set(change, touched);
      else this.#remove(change.kind, change.key, touched);
    }
    for (const [id, table] of this.networks) if (table.empty) this.networks.delete(id);
    this.#dropHandedOn(touched);
    return touched;
  }

  /** What was removed and set again in the same batch is not gone; what serves again does so as before. */
  #dropHandedOn(touched: Touched): void {
    drop(touched.gone, (id, address) => this.networks.get(id)?.hostOf(address) != null);
    drop(touched.unserved, (id, address) => {
      return touched.gone.get(id)?.has(address) || this.networks.get(id)?.servesAt(address);
    });
    for (const [networkId, virtualIps] of touched.virtualIpsGone) {
      for (const entry of this.networks.get(networkId)?.services.values() ?? []) {
        if (entry.virtualIp !== null) virtualIps.delete(entry.virtualIp);
      }
      if (virtualIps.size === 0) touched.virtualIpsGone.delete(networkId);
    }
  }

  #removeUnnamed(changes: readonly AssignmentChange[], touched: Touched): void {
    const named = new Set(changes.map(({ kind, key }) => `${kind} ${key}`));
    for (const kind of KINDS) {
      for (const key of [...this.#known[kind]]) {
        if (!named.has(`${kind} ${key}`)) this.#remove(kind, key, touched);
      }
    }
  }

  #table(networkId: NetworkId): NetworkTable {
    const table = this.networks.get(networkId) ?? new NetworkTable();
    this.networks.set(networkId, table);
    return table;
  }

  #set(change: AssignmentChange & { readonly action: 'set' }, touched: Touched): void {
    const { kind, key } = change;
    if (!isNetworkKind(kind)) return;
    if (kind !== 'network' && this.#known[kind].has(key)) this.#remove(kind, key, touched);
    this.#known[kind].add(key);
    switch (change.kind) {
      case 'network':
        this.#table(change.item.id).network = change.item;
        touched.networks.add(change.item.id);
        break;
      case 'endpoint':
        // A worker may have said it: what is programmed by this must not fail for all others.
        if (isIPv4(change.item.address)) this.#setEndpoint(change.item, key, touched);
        break;
      case 'serviceEntry': {
        const table = this.#table(change.item.networkId);
        table.services.set(change.item.serviceId, change.item);
        table.names.addService(change.item);
        note(touched.services, change.item.networkId, change.item.serviceId);
        break;
      }
      case 'peer': {
        const { networkId, nodeId, address, hostAddress } = change.item;
        const table = this.#table(networkId);
        table.peers.set(nodeId, change.item);
        table.addSeat(address, key, hostAddress);
        note(touched.seats, networkId, address);
        touched.peers.add(networkId);
        break;
      }
      case 'port':
        this.ports.set(key, change.item);
        touched.ports.add(key);
        break;
      case 'task':
      case 'secret':
      case 'config':
        break; // not ours
    }
  }

  #setEndpoint(endpoint: AssignedEndpoint, key: string, touched: Touched): void {
    const table = this.#table(endpoint.networkId);
    table.endpoints.set(key, endpoint);
    table.addSeat(endpoint.address, key, endpoint.hostAddress);
    if (endpoint.serving) {
      table.setServing(endpoint, true);
      table.names.addEndpoint(endpoint);
    }
    note(touched.seats, endpoint.networkId, endpoint.address);
    note(touched.services, endpoint.networkId, endpoint.serviceId);
  }

  #remove(kind: NetworkKind, key: string, touched: Touched): void {
    if (!this.#known[kind].delete(key)) return;
    const [networkId, rest] = key.split('/') as [NetworkId, string];
    const table = this.networks.get(networkId);
    if (kind === 'port') {
      this.ports.delete(key);
      touched.ports.add(key);
    } else if (kind === 'network') {
      if (table) table.network = null;
      touched.networks.add(networkId);
    } else if (kind === 'endpoint') {
      this.#removeEndpoint(networkId, key, touched);
    } else if (kind === 'serviceEntry') {
      const entry = table?.services.get(rest as ServiceId);
      table?.services.delete(rest as ServiceId);
      if (entry) table?.names.removeService(entry);
      if (entry?.virtualIp) note(touched.virtualIpsGone, networkId, entry.virtualIp);
      note(touched.services, networkId, rest as ServiceId);
    } else {
      const peer = table?.peers.get(rest as NodeId);
      table?.peers.delete(rest as NodeId);
      if (peer) {
        table?.removeSeat(peer.address, key);
        note(touched.seats, networkId, peer.address);
      }
      touched.peers.add(networkId);
    }
  }

  #removeEndpoint(networkId: NetworkId, key: string, touched: Touched): void {
    const table = this.networks.get(networkId);
    const endpoint = table?.endpoints.get(key);
    if (!table || !endpoint) return;
    table.endpoints.delete(key);
    table.removeSeat(endpoint.address, key);
    table.setServing(endpoint, false);
    if (endpoint.serving) {
      table.names.removeEndpoint(endpoint);
      note(touched.unserved, networkId, endpoint.address);
    }
    note(touched.seats, networkId, endpoint.address);
    note(touched.services, networkId, endpoint.serviceId);
    note(touched.gone, networkId, endpoint.address);
  }
}

/** Those of whom it is true, and networks in which nothing is left. */
function drop(
  index: Map<NetworkId, Set<string>>,
  isMeant: (networkId: NetworkId, address: string) => boolean | undefined,
): void {
  for (const [networkId, addresses] of index) {
    for (const address of addresses) if (isMeant(networkId, address)) addresses.delete(address);
    if (addresses.size === 0) index.delete(networkId);
  }
}

function note<K, V>(index: Map<K, Set<V>>, key: K, value: V): void {
  const values = index.get(key) ?? new Set<V>();
  values.add(value);
  index.set(key, values);
}
