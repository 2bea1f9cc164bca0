/**
 * The public face of the Raft core: feed it messages and ticks, take from it what to persist, send
 * and apply. Not reentrant; every method is synchronous.
 */
import type { RaftConfig } from './config.ts';
import type { BasicStatus, Status } from './status.ts';
import type { AnyConfChange, ConfState, Message, NodeId, Ready } from './types.ts';

export interface BootstrapPeer {
  readonly id: NodeId;
  /** Put into the `context` of the member's first conf change. */
  readonly context: Uint8Array;
}

export declare class RawNode {
  constructor(config: RaftConfig);

  /**
   * Founds a cluster: appends one committed conf change per peer at term 1. Only on an empty
   * storage. The entries come out of `ready` and must be applied like all others.
   */
  bootstrap(peers: readonly BootstrapPeer[]): void;
  /** One unit of time. */
  tick(): void;
  /** Starts an election now. */
  campaign(): void;
  /**
   * Takes a message from the network or a response of a local storage message. The message is kept
   * and must not change. Throws `LocalMessageError`, `UnknownPeerError`, and for a forwarded
   * proposal `ProposalDroppedError`; a transport may drop the message on any of them.
   */
  step(message: Message): void;
  /** Appends on the leader, forwards elsewhere. Throws `ProposalDroppedError`. */
  propose(data: Uint8Array): void;
  /** Like `propose`. A change that comes too early is replaced by an empty normal entry. */
  proposeConfChange(change: AnyConfChange): void;
  /**
   * Puts a committed conf change into force; to be called for each such entry when it is applied
   * (with `nodeId` 0 to refuse it). Returns the members from now on, to be kept with snapshots.
   */
  applyConfChange(change: AnyConfChange): ConfState;
  hasReady(): boolean;
  /** Takes what is due. Without async storage writes `advance` must come before the next call. */
  ready(): Ready;
  /** The last Ready was carried out. Only without async storage writes. */
  advance(): void;
  /** Asks for a linearizable read point; answered by `Ready.readStates`, or never. */
  readIndex(requestContext: Uint8Array): void;
  /** Hands leadership to `to` if it catches up within one election timeout. */
  transferLeader(to: NodeId): void;
  /** A follower stops following its leader, so that it may vote for another. */
  forgetLeader(): void;
  /** The last message to `id` was not delivered. */
  reportUnreachable(id: NodeId): void;
  /** The snapshot sent to `id` was handed over completely, or not. */
  reportSnapshot(id: NodeId, outcome: 'delivered' | 'failed'): void;
  status(): Status;
  /** Cheap; for polling. */
  basicStatus(): BasicStatus;
}
