/**
 * Linearizable reads that wait for proof of leadership. Each read gets a position; heartbeats carry
 * the newest position; a position acknowledged by a quorum confirms all reads up to it.
 */
import { committedIndex, type JointVoters } from './quorum.ts';
import { type Message, NO_BYTES, type NodeId } from './types.ts';

export interface PendingRead {
  readonly request: Message;
  /** Commit index when the request came; what the reader has to wait for. */
  readonly index: number;
}

const CONTEXT_BYTES = 8;

export class ReadOnlyQueue {
  #unconfirmed: PendingRead[] = [];
  /** Reads confirmed so far; the position of `#unconfirmed[0]` is one more. */
  #confirmed = 0;
  readonly #acked: Map<NodeId, number> = new Map();

  /**
   * Few gather: a member has one request under way and repeats it after some ticks, and a leader without
   * a quorum, whose reads nobody confirms, steps down after an election timeout.
   */
  add(request: Message, commit: number): void {
    this.#unconfirmed.push({ request, index: commit });
  }

  /** What the next heartbeats carry; empty when no read waits. */
  heartbeatContext(): Uint8Array {
    if (this.#unconfirmed.length === 0) return NO_BYTES;
    const bytes = new Uint8Array(CONTEXT_BYTES);
    const position = this.#confirmed + this.#unconfirmed.length;
    new DataView(bytes.buffer).setBigUint64(0, BigInt(position));
    return bytes;
  }

  /** A member answered a heartbeat that carried `context`. Anything malformed is no answer. */
  acked(from: NodeId, context: Uint8Array): void {
    if (context.length !== CONTEXT_BYTES) return;
    const view = new DataView(context.buffer, context.byteOffset, CONTEXT_BYTES);
    const position = Number(view.getBigUint64(0));
    this.#acked.set(from, Math.max(this.#acked.get(from) ?? 0, position));
  }

  /** Takes out the reads that a quorum has confirmed. */
  takeConfirmed(voters: JointVoters): PendingRead[] {
    const position = committedIndex(voters, (id) => this.#acked.get(id));
    const count = Math.min(position - this.#confirmed, this.#unconfirmed.length);
    if (count <= 0) return [];
    this.#confirmed += count;
    return this.#unconfirmed.splice(0, count);
  }
}
