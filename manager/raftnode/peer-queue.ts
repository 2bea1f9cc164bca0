/**
 * What waits to be sent to one peer: bounded, what is urgent first. Pure; knows no streams and no time.
 *
 * - Appends with entries are bulk: they go in their order, in batches of BATCH_BYTES. All else is small
 *   and goes first, so that no heartbeat, vote or answer waits behind a long log. Raft bears any order.
 * - An append without entries only tells a commit index (or asks where the peer is). Alone it waits a
 *   moment for company: under load the next entries come right after it and tell the same, which
 *   saves the peer a message and an answer for every commit.
 */
import type { Message } from '../raft/types.ts';

/** Messages held for a peer; the core keeps at most 256 appends under way. */
const MESSAGES_MAX = 1024;
const BYTES_MAX = 16 * 1024 * 1024;
/** A batch ends when it holds this much; a single message may be larger. */
const BATCH_BYTES = 256 * 1024;
const MESSAGE_OVERHEAD_BYTES = 64;

export class PeerQueue {
  #urgent: Message[] = [];
  #bulk: Message[] = [];
  #bytes = 0;
  /** The newest append without entries. */
  #news: Message | null = null;
  /** Although there is nothing but news, or nothing. */
  #isDue = false;

  /** False: there is no room, the message was not taken. */
  push(message: Message): boolean {
    if (isNews(message)) {
      this.#news = message;
      return true;
    }
    const bytes = messageBytes(message);
    const isFull = this.#urgent.length + this.#bulk.length >= MESSAGES_MAX;
    if (isFull || (this.#bytes > 0 && this.#bytes + bytes > BYTES_MAX)) return false;
    this.#bytes += bytes;
    if (message.entries.length > 0) {
      this.#bulk.push(message);
      this.#news = null; // these entries tell as much
    } else {
      this.#urgent.push(message);
    }
    return true;
  }

  /** Makes a batch due, also when there is no message for it. */
  greet(): void {
    this.#isDue = true;
  }

  /** Makes a batch due if something waits for company. */
  release(): void {
    if (this.#news !== null) this.#isDue = true;
  }

  /** A batch can be taken. */
  get isDue(): boolean {
    return this.#isDue || this.#urgent.length > 0 || this.#bulk.length > 0;
  }

  /** Empty when only a greeting was due. */
  takeBatch(): Message[] {
    this.#isDue = false;
    const batch = this.#urgent;
    this.#urgent = [];
    let bytes = 0;
    for (const message of batch) bytes += messageBytes(message);
    this.#bytes -= bytes;
    let taken = 0;
    for (const message of this.#bulk) {
      const size = messageBytes(message);
      if (batch.length > 0 && bytes + size > BATCH_BYTES) break;
      batch.push(message);
      bytes += size;
      this.#bytes -= size;
      taken++;
    }
    this.#bulk.splice(0, taken);
    if (this.#news !== null && this.#bulk.length === 0) {
      batch.push(this.#news);
      this.#news = null;
    }
    return batch;
  }

  clear(): void {
    this.#urgent = [];
    this.#bulk = [];
    this.#bytes = 0;
    this.#news = null;
    this.#isDue = false;
  }
}

function isNews({ type, entries }: Message): boolean {
  return type === 'append' && entries.length === 0;
}

/** Close enough to the encoded size. */
function messageBytes(message: Message): number {
  let bytes = MESSAGE_OVERHEAD_BYTES + message.context.length;
  for (const { data } of message.entries) bytes += data.length + MESSAGE_OVERHEAD_BYTES;
  return bytes;
}
