/** Decides the addresses of tasks and nodes. Takes them in the book; writes nothing. */
import { SkepError } from '../../common/base/errors.ts';
import { hasFixedAddress } from '../../common/model/fixed-address.ts';
import type { NetworkId, NodeId, TaskId } from '../../common/model/ids.ts';
import { isAttachable } from '../../common/model/network.ts';
import { overlapProblem } from '../../common/model/network-overlap.ts';
import { attachmentKey, type ContainerAttachment, type Node } from '../../common/model/node.ts';
import type { Endpoint, NetworkAttachmentConfig, Service } from '../../common/model/service.ts';
import type { NetworkAttachment, Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import type { ReadView } from '../store/types.ts';
import type { AllocatedNetwork, AllocationBook, ContainerPlace } from './allocation-book.ts';
import { nodeMadeNetworks, requireNetworks } from './networks-of.ts';
import { exhausted, publishesIngress } from './plan-endpoint.ts';
import { isProblem, type Problem } from './problem.ts';

export interface TaskAllocation {
  readonly networks: readonly NetworkAttachment[];
  readonly endpoint: Endpoint;
}

/** True when the task waits for us and somebody still wants it to run. */
export function taskNeedsAllocation(task: Task): boolean {
  return (
    task.status.state === 'new' &&
    task.desiredState !== 'shutdown' &&
    task.desiredState !== 'remove'
  );
}

/**
 * Those that the task follows and whose end nobody can tell: their node is down. Where the task has an address of its own
 * they have it, and would for as long as that machine is away.
 */
export function lostForerunners(view: ReadView, task: Task): readonly TaskId[] {
  if (task.slot === null || !hasFixedAddress(task.spec)) return [];
  return view
    .tasksBySlot(task.serviceId, task.slot)
    .filter(({ id, nodeId, desiredState, status }) => {
      const isToStop = desiredState === 'shutdown' || desiredState === 'remove';
      if (id === task.id || nodeId === null || !isToStop || isTerminal(status.state)) return false;
      return view.get('node', nodeId)?.status.state === 'down';
    })
    .map(({ id }) => id);
}

/** The task's seats; or why it must wait, with nothing taken. */
export function planTask(
  book: AllocationBook,
  view: ReadView,
  task: Task,
  service: Service,
  endpoint: Endpoint,
): TaskAllocation | Problem {
  const configs = task.spec.networks;
  const networks = requireNetworks(book, view, configs, publishesIngress(service));
  if (isProblem(networks)) return networks;
  const attachments: NetworkAttachment[] = [];
  for (const entry of networks) {
    const config = configs.find(({ target }) => target === entry.network.id);
    const addresses = takeAddresses(entry, config);
    if (isProblem(addresses)) {
      for (const { networkId, addresses: taken } of attachments) {
        for (const address of taken) book.releaseAddress(networkId, address);
      }
      return addresses;
    }
    attachments.push({ networkId: entry.network.id, addresses, aliases: config?.aliases ?? [] });
  }
  for (const { id } of nodeMadeNetworks(view, configs)) {
    const aliases = configs.find(({ target }) => target === id)?.aliases ?? [];
    attachments.push({ networkId: id, addresses: [], aliases });
  }
  // Links are made in this order: what comes first has the way out.
  const place = ({ networkId }: NetworkAttachment): number =>
    configs.findIndex(({ target }) => target === networkId);
  attachments.sort((a, b) => place(a) - place(b));
  book.taskAttachments.set(task.id, attachments);
  return { networks: attachments, endpoint };
}

function takeAddresses(
  entry: AllocatedNetwork,
  config: NetworkAttachmentConfig | undefined,
): string[] | Problem {
  const fixed = config?.addresses ?? [];
  if (fixed.length === 0) {
    const address = takeAddress(entry, '');
    return typeof address === 'string' ? [address] : address;
  }
  const taken: string[] = [];
  for (const wanted of fixed) {
    const address = takeAddress(entry, wanted);
    if (typeof address !== 'string') {
      for (const one of taken) entry.pool.release(one);
      return address;
    }
    taken.push(address);
  }
  return taken;
}

/** @param wanted '' = any */
function takeAddress(entry: AllocatedNetwork, wanted: string): string | Problem {
  const { network, pool } = entry;
  if (wanted === '') return pool.takeNext() ?? exhausted(entry);
  try {
    const address = pool.take(wanted);
    if (address !== null) return address;
    return { problem: `address ${wanted} of network '${network.spec.name}' is in use` };
  } catch (err) {
    if (err instanceof SkepError) {
      return { problem: `network '${network.spec.name}': ${err.message}` };
    }
    throw err;
  }
}

/** What is to be written of a node. */
export interface NodeChanges {
  /** null = as they are */
  readonly attachments: Node['attachments'] | null;
  /** `attachmentKey` -> what its container's place has now, where that is something else */
  readonly places: ReadonlyMap<string, Pick<ContainerAttachment, 'address' | 'problem'>>;
}

export interface NodeAllocation extends NodeChanges {
  /** networks without an address for the node; the allocator tries again when one is freed */
  readonly problems: readonly string[];
}

/**
 * The addresses of its containers outside of services, and the node's own: one in each overlay network of
 * these and of its tasks, one in the ingress network from the day it was ready. What nothing there uses
 * any more is given back.
 */
export function planNode(book: AllocationBook, view: ReadView, node: Node): NodeAllocation {
  const { places, problems } = planPlaces(book, view, node);
  const held = book.nodeAttachments.get(node.id) ?? new Map<NetworkId, string>();
  const wanted = wantedNetworks(book, view, node);
  const next = new Map<NetworkId, string>();
  let changed = false;
  for (const entry of wanted) {
    const { network, pool } = entry;
    const address = held.get(network.id) ?? pool.takeNext();
    if (address === null) {
      problems.push(exhausted(entry).problem);
      continue;
    }
    if (!held.has(network.id)) changed = true;
    next.set(network.id, address);
  }
  for (const [networkId, address] of held) {
    if (next.has(networkId)) continue;
    book.releaseAddress(networkId, address);
    changed = true;
  }
  if (!changed) return { attachments: null, places, problems };
  setNodeAttachments(book, node.id, next);
  const attachments = [...next].map(([networkId, address]) => ({ networkId, address }));
  return { attachments, places, problems };
}

/** What a node's containers have in the networks that they are attached to, where it is not written so. */
function planPlaces(
  book: AllocationBook,
  view: ReadView,
  { id, containerAttachments }: Node,
): { places: Map<string, Pick<ContainerAttachment, 'address' | 'problem'>>; problems: string[] } {
  const held = book.containerPlaces.get(id) ?? new Map<string, ContainerPlace>();
  const places = new Map<string, Pick<ContainerAttachment, 'address' | 'problem'>>();
  const problems: string[] = [];
  for (const attachment of containerAttachments) {
    const { networkId } = attachment;
    const key = attachmentKey(attachment);
    // Asked only of a new one: each of those that are there has been compared.
    const others = (): readonly ContainerAttachment[] =>
      containerAttachments.filter(
        (other) =>
          other !== attachment &&
          other.containerId === attachment.containerId &&
          held.has(attachmentKey(other)),
      );
    const taken = held.get(key)?.address ?? takePlace(book, view, attachment, others());
    const place =
      typeof taken === 'string'
        ? { address: taken, problem: '' }
        : { address: '', problem: taken?.problem ?? '' };
    if (place.address !== '') held.set(key, { networkId, address: place.address });
    else problems.push(place.problem || `network ${networkId} has no subnet yet`);
    if (place.address === attachment.address && place.problem === attachment.problem) continue;
    places.set(key, place);
  }
  if (held.size > 0) book.containerPlaces.set(id, held);
  return { places, problems };
}

/** null = the network is being set up. @param others places that the same container has */
function takePlace(
  book: AllocationBook,
  view: ReadView,
  { networkId, wanted }: ContainerAttachment,
  others: readonly ContainerAttachment[],
): string | Problem | null {
  const network = view.get('network', networkId);
  if (!network) return { problem: `network ${networkId} not found` };
  const { spec } = network;
  // Nodes ask before they attach: one that does not is no reason to let it into any network.
  if (!isAttachable(spec)) return { problem: `network '${spec.name}' is not manually attachable` };
  const theirs = others.flatMap((other) => view.get('network', other.networkId) ?? []);
  const problem = overlapProblem([...theirs, network]);
  if (problem !== null) return { problem };
  const entry = book.networks.get(networkId);
  if (entry) return takeAddress(entry, wanted);
  const obstacle = book.obstacles.get(networkId);
  return obstacle === undefined ? null : { problem: obstacle };
}

function setNodeAttachments(book: AllocationBook, id: NodeId, next: Map<NetworkId, string>): void {
  if (next.size === 0) book.nodeAttachments.delete(id);
  else book.nodeAttachments.set(id, next);
}

function wantedNetworks(book: AllocationBook, view: ReadView, node: Node): Set<AllocatedNetwork> {
  const wanted = new Set<AllocatedNetwork>();
  const ingress = book.ingress;
  if (ingress) {
    const has = book.nodeAttachments.get(node.id)?.has(ingress.network.id) ?? false;
    if (has || node.status.state === 'ready') wanted.add(ingress);
  }
  for (const { networkId } of book.containerPlaces.get(node.id)?.values() ?? []) {
    const entry = book.networks.get(networkId);
    if (entry) wanted.add(entry);
  }
  for (const task of view.tasksByNode(node.id)) {
    const { state } = task.status;
    if (isBefore(state, 'assigned') || isTerminal(state)) continue;
    for (const { networkId } of task.networks) {
      const entry = book.networks.get(networkId);
      if (entry) wanted.add(entry);
    }
  }
  return wanted;
}
