/**
 * Who holds which address, VXLAN id, subnet and port: the allocator's memory. It is a cache of the
 * store, rebuilt by each new leader, plus what was decided but is not committed yet. No I/O.
 */
import { DEFAULT_ADDRESS_POOL, DEFAULT_SUBNET_SIZE } from '../../common/model/cluster.ts';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import {
  type IpamConfig,
  isIpv6Config,
  isOverlay,
  type Network,
} from '../../common/model/network.ts';
import { attachmentKey, type Node } from '../../common/model/node.ts';
import type { Endpoint, Service } from '../../common/model/service.ts';
import type { NetworkAttachment, Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import type { ReadView } from '../store/types.ts';
import { AddressPool } from './address-pool.ts';
import { KeptAddresses } from './kept-addresses.ts';
import { PortPool } from './port-pool.ts';
import { SubnetPool } from './subnet-pool.ts';
import { VxlanIdPool } from './vxlan-id-pool.ts';

export interface AllocatedNetwork {
  /** as allocated */
  readonly network: Network;
  readonly pool: AddressPool;
}

export interface ContainerPlace {
  readonly networkId: NetworkId;
  readonly address: string;
}

/** Those that addresses are given from: IPv6 ones follow from them. */
export function ipv4Of({ ipam }: Network): IpamConfig[] {
  return ipam.filter((config) => !isIpv6Config(config));
}

/** False of a task that ended, or was told to stop before it had a node: it never gets one, and may stay as history. */
export function keepsAddresses({ status, desiredState }: Task): boolean {
  const stops = desiredState === 'shutdown' || desiredState === 'remove';
  if (stops && isBefore(status.state, 'assigned')) return false;
  return !isTerminal(status.state);
}

export class AllocationBook {
  readonly subnets: SubnetPool;
  readonly vxlanIds = new VxlanIdPool();
  readonly ports = new PortPool();
  readonly kept = new KeptAddresses();
  readonly networks = new Map<NetworkId, AllocatedNetwork>();
  /** why a network could not be set up, for those that wait for it */
  readonly obstacles = new Map<NetworkId, string>();
  readonly endpoints = new Map<ServiceId, Endpoint>();
  readonly taskAttachments = new Map<TaskId, readonly NetworkAttachment[]>();
  /** address by network, per node; interface notation */
  readonly nodeAttachments = new Map<NodeId, Map<NetworkId, string>>();
  /** of a node's containers outside of services: `attachmentKey` -> place; interface notation */
  readonly containerPlaces = new Map<NodeId, Map<string, ContainerPlace>>();

  constructor(addressPools: readonly string[], subnetPrefixLength: number) {
    this.subnets = new SubnetPool(addressPools, subnetPrefixLength);
  }

  /** The books of a new leader: exactly what the store says is in use. */
  static fromView(view: ReadView): AllocationBook {
    const { book, restoring } = AllocationBook.restore(view);
    while (!restoring.next().done);
    return book;
  }

  /**
   * The same object by object: the book is whole when `restoring` has come to its end. It may be drained
   * after the view has ended, for it works on lists that stay as they are.
   */
  static restore(view: ReadView): {
    readonly book: AllocationBook;
    readonly restoring: Generator<void, void>;
  } {
    const cluster = view.list('cluster')[0];
    const book = new AllocationBook(
      cluster?.defaultAddressPool ?? DEFAULT_ADDRESS_POOL,
      cluster?.subnetSize ?? DEFAULT_SUBNET_SIZE,
    );
    const restoring = book.#restoring(
      view.list('network'),
      view.list('service'),
      view.list('node'),
      view.list('task'),
    );
    return { book, restoring };
  }

  *#restoring(
    networks: readonly Network[],
    services: readonly Service[],
    nodes: readonly Node[],
    tasks: readonly Task[],
  ): Generator<void, void> {
    for (const network of networks) this.#restoreNetwork(network);
    for (const service of services) {
      this.kept.put(service);
      if (service.endpoint) this.#restoreEndpoint(service.id, service.endpoint);
      yield;
    }
    for (const node of nodes) {
      this.#restoreNode(node);
      yield;
    }
    for (const task of tasks) {
      this.#restoreTask(task);
      yield;
    }
    this.vxlanIds.continueAboveUsed();
    this.ports.continueAboveUsed();
  }

  /** The ingress network once it has a subnet. */
  get ingress(): AllocatedNetwork | undefined {
    for (const entry of this.networks.values()) if (entry.network.spec.ingress) return entry;
    return undefined;
  }

  addNetwork(network: Network): void {
    const pool = new AddressPool(ipv4Of(network), this.kept.of(network.id));
    this.networks.set(network.id, { network, pool });
    this.obstacles.delete(network.id);
  }

  releaseNetwork(networkId: NetworkId): boolean {
    this.obstacles.delete(networkId);
    this.kept.removeNetwork(networkId);
    const entry = this.networks.get(networkId);
    if (!entry) return false;
    this.networks.delete(networkId);
    for (const { subnet } of ipv4Of(entry.network)) this.subnets.release(subnet);
    if (entry.network.vxlanId !== null) this.vxlanIds.release(entry.network.vxlanId);
    return true;
  }

  releaseAddress(networkId: NetworkId, address: string): void {
    this.networks.get(networkId)?.pool.release(address);
  }

  releaseService(serviceId: ServiceId): boolean {
    const keptSome = this.kept.remove(serviceId);
    const endpoint = this.endpoints.get(serviceId);
    if (!endpoint) return keptSome;
    this.endpoints.delete(serviceId);
    for (const { networkId, address } of endpoint.virtualIps) {
      this.releaseAddress(networkId, address);
    }
    for (const port of endpoint.ports) {
      if (port.publishMode === 'ingress') {
        this.ports.release(port, serviceId);
      }
    }
    return true;
  }

  releaseTask(taskId: TaskId): boolean {
    const attachments = this.taskAttachments.get(taskId);
    if (!attachments) return false;
    this.taskAttachments.delete(taskId);
    for (const { networkId, addresses } of attachments) {
      for (const address of addresses) this.releaseAddress(networkId, address);
    }
    return true;
  }

  /** Gives it back what it had, which nobody was given meanwhile. */
  returnToTask(taskId: TaskId, attachments: readonly NetworkAttachment[]): void {
    this.taskAttachments.set(taskId, attachments);
    for (const { networkId, addresses } of attachments) {
      for (const address of addresses) this.networks.get(networkId)?.pool.take(address);
    }
  }

  releaseNode(nodeId: NodeId): boolean {
    const freed = this.releaseLeft(nodeId, []);
    const attachments = this.nodeAttachments.get(nodeId);
    if (!attachments) return freed;
    this.nodeAttachments.delete(nodeId);
    for (const [networkId, address] of attachments) this.releaseAddress(networkId, address);
    return true;
  }

  /** The places of a node's containers that are not among `kept` any more. True when there were any. */
  releaseLeft(nodeId: NodeId, kept: Node['containerAttachments']): boolean {
    const places = this.containerPlaces.get(nodeId);
    if (!places) return false;
    const keys = new Set(kept.map(attachmentKey));
    let freed = false;
    for (const [key, { networkId, address }] of [...places]) {
      if (keys.has(key)) continue;
      places.delete(key);
      this.releaseAddress(networkId, address);
      freed = true;
    }
    if (places.size === 0) this.containerPlaces.delete(nodeId);
    return freed;
  }

  #restoreNetwork(network: Network): void {
    // Subnets and ids are in use by whoever holds them, whether we gave them or not.
    for (const { subnet } of ipv4Of(network)) if (subnet !== '') this.subnets.use(subnet);
    if (network.vxlanId !== null) this.vxlanIds.take(network.vxlanId);
    if (isOverlay(network.spec) && network.vxlanId !== null) this.addNetwork(network);
  }

  #restoreEndpoint(serviceId: ServiceId, endpoint: Endpoint): void {
    this.endpoints.set(serviceId, endpoint);
    for (const { networkId, address } of endpoint.virtualIps) this.#restore(networkId, address);
    for (const port of endpoint.ports) {
      if (port.publishMode === 'ingress') {
        this.ports.take(port, serviceId);
      }
    }
  }

  #restoreTask(task: Task): void {
    if (!keepsAddresses(task) || task.networks.length === 0) return;
    this.taskAttachments.set(task.id, task.networks);
    for (const { networkId, addresses } of task.networks) {
      for (const address of addresses) this.#restore(networkId, address);
    }
  }

  #restoreNode(node: Node): void {
    const places = new Map<string, ContainerPlace>();
    for (const attachment of node.containerAttachments) {
      const { networkId, address } = attachment;
      if (address === '') continue;
      places.set(attachmentKey(attachment), { networkId, address });
      this.#restore(networkId, address);
    }
    if (places.size > 0) this.containerPlaces.set(node.id, places);
    if (node.attachments.length === 0) return;
    const byNetwork = new Map<NetworkId, string>();
    for (const { networkId, address } of node.attachments) {
      byNetwork.set(networkId, address);
      this.#restore(networkId, address);
    }
    this.nodeAttachments.set(node.id, byNetwork);
  }

  #restore(networkId: NetworkId, address: string): void {
    this.networks.get(networkId)?.pool.restore(address);
  }
}
