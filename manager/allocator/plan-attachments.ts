/** Decides the addresses of tasks and nodes. Takes them in the book; writes nothing. */
import { SkepError } from '../../common/base/errors.ts';
import type { NetworkId, NodeId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { Endpoint, NetworkAttachmentConfig, Service } from '../../common/model/service.ts';
import type { NetworkAttachment, Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import type { ReadView } from '../store/types.ts';
import type { AllocatedNetwork, AllocationBook } from './allocation-book.ts';
import { requireNetworks } from './networks-of.ts';
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
  book.taskAttachments.set(task.id, attachments);
  return { networks: attachments, endpoint };
}

function takeAddresses(
  entry: AllocatedNetwork,
  config: NetworkAttachmentConfig | undefined,
): string[] | Problem {
  const fixed = config?.addresses ?? [];
  if (fixed.length === 0) {
    const address = entry.pool.takeNext();
    return address === null ? exhausted(entry) : [address];
  }
  const taken: string[] = [];
  for (const wanted of fixed) {
    const address = takeFixed(entry, wanted);
    if (typeof address !== 'string') {
      for (const one of taken) entry.pool.release(one);
      return address;
    }
    taken.push(address);
  }
  return taken;
}

function takeFixed({ network, pool }: AllocatedNetwork, wanted: string): string | Problem {
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

export interface NodeAllocation {
  /** null = as they are */
  readonly attachments: Node['attachments'] | null;
  /** networks without an address for the node; the allocator tries again when one is freed */
  readonly problems: readonly string[];
}

/**
 * The node's own addresses: one in each overlay network of its tasks, one in the ingress network from
 * the day it was ready. What no task there uses any more is given back.
 */
export function planNode(book: AllocationBook, view: ReadView, node: Node): NodeAllocation {
  const held = book.nodeAttachments.get(node.id) ?? new Map<NetworkId, string>();
  const wanted = wantedNetworks(book, view, node);
  const next = new Map<NetworkId, string>();
  const problems: string[] = [];
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
  if (!changed) return { attachments: null, problems };
  setNodeAttachments(book, node.id, next);
  const attachments = [...next].map(([networkId, address]) => ({ networkId, address }));
  return { attachments, problems };
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
