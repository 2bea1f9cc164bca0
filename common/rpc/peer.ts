/**
 * Who is calling: the identity in a verified certificate, or, on a forwarded call, the original
 * caller as a manager vouches for it. Knows no sockets.
 */
import { ROLE_LOST, SkepError } from '../base/errors.ts';
import { asId, type NodeId } from '../model/ids.ts';
import type { NodeRole } from '../model/node.ts';
import type { CallerRole } from './method.ts';

/** The other end of a connection. Without a certificate everything but the address is null. */
export interface Peer {
  readonly nodeId: NodeId | null;
  readonly role: NodeRole | null;
  readonly clusterId: string | null;
  /** IP address as seen by the server; empty = unknown */
  readonly address: string;
}

/** Identity of one TCP connection. INVARIANT: `refusal` is not null only when `peer.nodeId` is null. */
export interface ConnectionIdentity {
  readonly peer: Peer;
  /** why a given certificate was not accepted; null = none was given, or it was accepted */
  readonly refusal: string | null;
}

export interface Caller {
  /** on whose behalf: the peer itself, or the original caller of a forwarded call */
  readonly peer: Peer;
  /** true = a manager passed this call on; it must not be passed on again */
  readonly forwarded: boolean;
}

export const FORWARDED = 'skep-forwarded';
const CALLER_NODE = 'skep-caller-node';
const CALLER_ROLE = 'skep-caller-role';
const CALLER_ADDRESS = 'skep-caller-address';

export function anonymousPeer(address: string): Peer {
  return { nodeId: null, role: null, clusterId: null, address };
}

/** The metadata by which a manager tells the leader for whom it asks. */
export function forwardingMetadata(caller: Peer): Record<string, string> {
  return {
    [FORWARDED]: '1',
    [CALLER_NODE]: caller.nodeId ?? '',
    [CALLER_ROLE]: caller.role ?? '',
    [CALLER_ADDRESS]: caller.address,
  };
}

/** Throws `permission-denied` when anyone but a manager claims to forward. */
export function resolveCaller(peer: Peer, metadata: ReadonlyMap<string, string>): Caller {
  if (!metadata.has(FORWARDED)) return { peer, forwarded: false };
  if (peer.role !== 'manager') {
    throw new SkepError('permission-denied', 'forward a call: only managers may forward');
  }
  const nodeId = metadata.get(CALLER_NODE) ?? '';
  const role = metadata.get(CALLER_ROLE) ?? '';
  const address = metadata.get(CALLER_ADDRESS) ?? '';
  if (nodeId === '' || (role !== 'manager' && role !== 'worker')) {
    return { peer: anonymousPeer(address), forwarded: true };
  }
  const caller: Peer = { nodeId: asId<NodeId>(nodeId), role, clusterId: peer.clusterId, address };
  return { peer: caller, forwarded: true };
}

const NO_MANAGER = { [ROLE_LOST]: 'manager' };

/**
 * Throws `permission-denied` for a node that is none of the managers, `unavailable` while they are not known.
 * @param isManager whether the node is one of them now; null = it is not known yet
 */
export function requireCurrentManager(
  path: string,
  nodeId: NodeId | null,
  isManager: boolean | null,
): void {
  if (isManager === true) return;
  if (isManager === null) {
    throw new SkepError(
      'unavailable',
      `call ${path}: this node was not told yet who the managers are`,
    );
  }
  throw new SkepError(
    'permission-denied',
    `call ${path}: permission denied: node ${nodeId ?? ''} is none of the managers that this node was told of`,
    { details: NO_MANAGER },
  );
}

/**
 * Throws `unavailable` for a node that shows a manager's certificate and is a worker by now: demoted, or promoted a moment ago,
 * which this manager does not know yet. As a worker it may go on.
 * @param isWorker whether the cluster says so, as far as it is known here
 */
export function requireNotDemoted(
  path: string,
  roles: readonly CallerRole[],
  caller: Caller,
  peer: Peer,
  isWorker: (nodeId: NodeId) => boolean,
): void {
  const isForWorkers = roles.includes('anyone') || roles.includes('worker');
  for (const { nodeId, role } of [peer, caller.peer]) {
    if (nodeId === null || role !== 'manager') continue;
    // Who speaks for others does so as a manager, whatever the method.
    if (isForWorkers && !(caller.forwarded && nodeId === peer.nodeId)) continue;
    if (!isWorker(nodeId)) continue;
    throw new SkepError('unavailable', `call ${path}: node ${nodeId} is no manager now`, {
      details: NO_MANAGER,
    });
  }
}

/** Throws `unauthenticated` or `permission-denied`, naming the method and what it needs. */
export function requireRole(path: string, roles: readonly CallerRole[], caller: Peer): void {
  if (roles.includes('anyone')) return;
  if (caller.role === null) {
    throw new SkepError('unauthenticated', `call ${path}: a certificate of this cluster is needed`);
  }
  if (!roles.includes(caller.role)) {
    throw new SkepError(
      'permission-denied',
      `call ${path}: permission denied: the caller is a ${caller.role}, the method is for ${roles.join(' or ')}`,
    );
  }
}
