/**
 * Containers outside of services in networks of the cluster: each node says which of its own are in which, whole, and
 * is told the addresses that the allocator gives them. Knows nothing of what runs where.
 */
import type { Clock } from '../../common/base/clock.ts';
import { withDeadline } from '../../common/base/deadline.ts';
import { SkepError } from '../../common/base/errors.ts';
import { isContainerId } from '../../common/model/container-id.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { isAttachable } from '../../common/model/network.ts';
import { attachmentKey, type ContainerAttachment, type Node } from '../../common/model/node.ts';
import { checkSize } from '../../common/model/spec-size.ts';
import {
  type AttachableNetwork,
  findAttachable,
  type SetAttachmentsRequest,
  setAttachments,
} from '../../common/rpc/attachment-methods.ts';
import type { LeaderCaller } from '../../common/rpc/leader.ts';
import type { Peer } from '../../common/rpc/peer.ts';
import type { RpcServer } from '../../common/rpc/server.ts';
import type { ReadView, Store, WriteTx } from '../store/types.ts';
import { findByRef } from './lookup.ts';
import { invalid } from './refusal.ts';

export interface AttachmentsOptions {
  readonly store: Store;
  readonly leader: LeaderCaller;
  readonly clock: Clock;
}

/** A caller, and whether a manager spoke for it. */
interface Caller {
  readonly peer: Peer;
  readonly forwarded: boolean;
  readonly signal: AbortSignal;
}

/** Of one node: what it says is written into one object. */
const ATTACHMENTS_MAX = 1_000;
/** The allocator looks within milliseconds; a new leader's begins with the whole store. */
const ALLOCATION_TIMEOUT_MS = 10_000;

/** Stateless between calls; may run on every manager. */
export class Attachments {
  readonly #options: AttachmentsOptions;

  constructor(options: AttachmentsOptions) {
    this.#options = options;
  }

  /** Serves the methods; returns the release. */
  register(server: Pick<RpcServer, 'handleUnary'>): () => void {
    const releases = [
      server.handleUnary(findAttachable, (request, context) => this.#find(request, context)),
      server.handleUnary(setAttachments, (request, context) => this.#set(request, context)),
    ];
    return () => {
      for (const release of releases) release();
    };
  }

  async #find(request: { readonly ref: string }, caller: Caller): Promise<AttachableNetwork> {
    const { store, leader } = this.#options;
    const { response } = await leader.run({
      ...{ method: findAttachable, request, caller, signal: caller.signal },
      local: async () => store.view((view) => attachableByRef(view, request.ref)),
    });
    return response;
  }

  async #set(
    request: SetAttachmentsRequest,
    caller: Caller,
  ): Promise<readonly ContainerAttachment[]> {
    const { nodeId } = caller.peer;
    if (nodeId === null) throw new SkepError('unauthenticated', 'set attachments: no certificate');
    checkAttachments(request.attachments);
    const { response } = await this.#options.leader.run({
      ...{ method: setAttachments, request, caller, signal: caller.signal },
      local: () => this.#setHere(nodeId, request, caller.signal),
    });
    return response;
  }

  async #setHere(
    nodeId: NodeId,
    request: SetAttachmentsRequest,
    signal: AbortSignal,
  ): Promise<readonly ContainerAttachment[]> {
    const { store, clock } = this.#options;
    await store.update((tx) => writeAttachments(tx, nodeId, request), signal);
    return withDeadline(
      { clock, limitMs: ALLOCATION_TIMEOUT_MS, action: 'wait for addresses of containers', signal },
      (within) => this.#allocated(nodeId, request.sequence, within),
    );
  }

  /** Once the allocator has looked at each of them. */
  async #allocated(
    nodeId: NodeId,
    sequence: number,
    signal: AbortSignal,
  ): Promise<readonly ContainerAttachment[]> {
    const { store } = this.#options;
    const watch = store.watch();
    try {
      for (;;) {
        const node = store.view((view) => requireNode(view, nodeId));
        requireLatest(node, sequence);
        const waiting = node.containerAttachments.some(
          ({ address, problem }) => address === '' && problem === '',
        );
        if (!waiting) return node.containerAttachments;
        if ((await watch.next(signal)) === null) {
          throw new SkepError(
            'unavailable',
            'wait for addresses of containers: this manager stops',
          );
        }
      }
    } finally {
      watch.close();
    }
  }
}

function attachableByRef(view: ReadView, ref: string): AttachableNetwork {
  const network = findByRef(view, 'network', ref);
  if (!network) throw new SkepError('not-found', `network ${ref} not found`);
  const { id, spec } = network;
  if (!isAttachable(spec)) {
    // The words by which clients of Docker Swarm know it.
    const words = `rpc error: code = PermissionDenied desc = network ${ref} not manually attachable`;
    throw new SkepError('permission-denied', `Could not attach to network ${ref}: ${words}`);
  }
  return { id, name: spec.name, internal: spec.internal };
}

function checkAttachments(attachments: readonly ContainerAttachment[]): void {
  if (attachments.length > ATTACHMENTS_MAX) {
    throw invalid(`set attachments: ${attachments.length} exceed the limit of ${ATTACHMENTS_MAX}`);
  }
  checkSize('set attachments: list', attachments);
  const keys = new Set<string>();
  for (const attachment of attachments) {
    const { containerId } = attachment;
    if (!isContainerId(containerId)) {
      throw invalid(`set attachments: '${containerId}' is not the id of a container`);
    }
    if (keys.has(attachmentKey(attachment))) {
      throw invalid(`set attachments: container ${containerId} is named twice in a network`);
    }
    keys.add(attachmentKey(attachment));
  }
}

/**
 * What a node says of its attachments takes the place of what it said before. An attachment that goes on keeps the
 * address that the allocator gave it; one that this cluster does not know asks for the address that it uses.
 */
function writeAttachments(
  tx: WriteTx,
  nodeId: NodeId,
  { attachments, sequence }: SetAttachmentsRequest,
): void {
  const node = requireNode(tx, nodeId);
  if (sequence <= node.attachmentsSequence) requireLatest(node, sequence);
  const known = new Map(node.containerAttachments.map((it) => [attachmentKey(it), it]));
  for (const networkId of new Set(attachments.map((it) => it.networkId))) {
    if (tx.get('network', networkId)) tx.guard('exists', 'network', networkId);
  }
  const next = attachments.map((said) => {
    const before = known.get(attachmentKey(said));
    const address = before?.address ?? '';
    return { ...said, wanted: said.wanted || said.address, address, problem: '' };
  });
  tx.update('node', { ...node, containerAttachments: next, attachmentsSequence: sequence });
}

function requireNode(view: ReadView, nodeId: NodeId): Node {
  const node = view.get('node', nodeId);
  if (node) return node;
  throw new SkepError('permission-denied', `node ${nodeId} was removed from the swarm`);
}

function requireLatest(node: Node, sequence: number): void {
  const latest = node.attachmentsSequence;
  if (latest === sequence) return;
  const words = `set attachments: word ${sequence} of node ${node.id} came after ${latest}`;
  throw new SkepError('conflict', words, { details: { latest: String(latest) } });
}
