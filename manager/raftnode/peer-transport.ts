/**
 * How raft nodes reach each other, as an interface, so that the simulator can lose, delay and
 * reorder. Knows message values, not what they mean.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Message } from '../raft/types.ts';

export interface PeerAddress {
  readonly raftId: number;
  /** `host:port` */
  readonly address: string;
}

/** A snapshot that is being sent: what `SnapshotReader` offers. */
export interface SnapshotSource {
  /** Tells two files of the same state apart; a transfer is resumed only within one file. */
  readonly fileId: string;
  readonly membership: Uint8Array;
  readonly dataBytes: number;
  chunks(fromOffset: number): AsyncIterable<{ readonly offset: number; readonly data: Uint8Array }>;
}

/** The first thing a receiver hears of a snapshot. */
export interface SnapshotOffer {
  /** Of type `snapshot`; given to the core when the data is here. */
  readonly message: Message;
  readonly fileId: string;
  readonly membership: Uint8Array;
  readonly dataBytes: number;
}

/** The receiving end of one snapshot. One call at a time. */
export interface SnapshotSink {
  /** Data received so far, also by earlier attempts: where the sender goes on. */
  readonly offset: number;
  /** Throws `conflict` when `offset` is not where this sink is, or it was given up for a newer one. */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** All data is here: durable, and handed to the core, when it resolves. */
  finish(): Promise<void>;
}

/** The node above the transport. None of the calls may throw but where said. */
export interface PeerHandler {
  /** Throws `permission-denied` when the sender is a member, and another node than `nodeId`. */
  identify(from: PeerAddress, nodeId: string): void;
  /**
   * Messages from a peer, in the order sent. Throws `RemovedMemberError` when the sender is no member
   * any more, `failed-precondition` when the messages are meant for another node.
   */
  receive(from: PeerAddress, messages: readonly Message[]): void;
  /** Throws as `receive`, and `unavailable` when another snapshot is being received. */
  beginSnapshot(from: PeerAddress, offer: SnapshotOffer): Promise<SnapshotSink>;
  /** Messages to the peer were dropped: the queue is full or the connection is lost. */
  unreachable(raftId: number): void;
  /** The stream of a peer's messages broke off: its process may have ended, `isGone` tells. */
  lost(raftId: number): void;
  /** The peer says that this node was removed from the cluster. */
  removed(by: number): void;
}

export interface PeerTransport {
  /** Begins to receive and send. Called once. */
  start(self: PeerAddress, handler: PeerHandler): Promise<void>;
  /** Ends all streams, theirs too; later sends are dropped. Idempotent. */
  stop(): Promise<void>;
  /** All peers from now on. Streams to others, or to an old address, end. */
  setPeers(peers: readonly PeerAddress[]): void;
  /** Never blocks: what does not fit into the peer's queue is dropped and told by `unreachable`. */
  send(messages: readonly Message[]): void;
  /** Sends every peer an empty batch: one that knows this node as removed says so. */
  greet(): void;
  /**
   * True when the peer's host says that no process takes its connections; false when one does, or the
   * host does not say so soon. Rejects only with `signal.reason`.
   */
  isGone(raftId: number, signal: AbortSignal): Promise<boolean>;
  /** On a stream of its own. Resolves when the receiver has everything durable. */
  sendSnapshot(message: Message, source: SnapshotSource, signal: AbortSignal): Promise<void>;
}

/** Told to a node that sends after it was removed, so that it can stop for good. */
export class RemovedMemberError extends SkepError {
  constructor(raftId: number) {
    super(
      'permission-denied',
      `accept raft messages of ${raftId.toString(16)}: it was removed from the cluster`,
    );
  }
}
