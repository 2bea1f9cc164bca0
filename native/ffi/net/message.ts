/**
 * Netlink framing: writes messages with their attributes into one growing buffer, reads answers.
 * Knows nothing of the families (rtnetlink, nf_tables, conntrack), sockets or namespaces.
 */
import { assert } from '../../../common/base/assert.ts';

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
export const NLM_F_DUMP = 0x300;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER_BYTES = 16;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const NLMSGERR_ATTR_MSG = 1;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

/** What one message was for: the words of an error, and the errnos that are no failure of it. */
export interface MessageNote {
  /** e.g. `add link br0` */
  readonly what: string;
  /** errno names, e.g. `EEXIST` when the same thing being there already is fine */
  readonly tolerate: readonly string[];
}

/** Messages to be sent together; the i-th (from 0) carries sequence number `i + 1` until sent. */
export class MessageBatch {
  #buffer: Buffer;
  #length = 0;
  #messageStart = -1;
  #lastStart = -1;
  readonly notes: MessageNote[] = [];

  constructor(capacity = 4096) {
    this.#buffer = Buffer.alloc(capacity);
  }

  get count(): number {
    return this.notes.length;
  }

  /** Opens a message; `fill` writes its family header and attributes. */
  message(
    type: number,
    flags: number,
    what: string,
    fill: () => void,
    tolerate: readonly string[] = [],
  ): void {
    assert(this.#messageStart < 0, 'netlink messages do not nest');
    this.#messageStart = this.#length;
    this.#lastStart = this.#length;
    this.notes.push({ what, tolerate });
    this.u32(0);
    this.u16(type);
    this.u16(flags | NLM_F_REQUEST);
    this.u32(this.notes.length);
    this.u32(0);
    fill();
    this.#buffer.writeUInt32LE(this.#length - this.#messageStart, this.#messageStart);
    this.#align();
    this.#messageStart = -1;
  }

  /** Adds `flags` to the message written last, e.g. to have only that one acknowledged. */
  flagLast(flags: number): void {
    assert(this.#lastStart >= 0, 'flagLast: no message yet');
    const at = this.#lastStart + 6;
    this.#buffer.writeUInt16LE(this.#buffer.readUInt16LE(at) | flags, at);
  }

  /** For comparison: what `fill` writes, without a message around it. */
  static attributesOf(fill: (batch: MessageBatch) => void): Buffer {
    const batch = new MessageBatch(512);
    fill(batch);
    return batch.#buffer.subarray(0, batch.#length);
  }

  /** The bytes, with `base` added to every sequence number. */
  bytes(base: number): Buffer {
    for (let at = 0, i = 1; at < this.#length; i++) {
      this.#buffer.writeUInt32LE(base + i, at + 8);
      at += (this.#buffer.readUInt32LE(at) + 3) & ~3;
    }
    return this.#buffer.subarray(0, this.#length);
  }

  // Plain fields of family headers.
  u8(value: number): void {
    this.#reserve(1);
    this.#length = this.#buffer.writeUInt8(value, this.#length);
  }
  u16(value: number): void {
    this.#reserve(2);
    this.#length = this.#buffer.writeUInt16LE(value, this.#length);
  }
  u32(value: number): void {
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32LE(value >>> 0, this.#length);
  }

  // Attributes. `be` is network byte order.
  attrU8(type: number, value: number): void {
    this.#attribute(type, 1);
    this.u8(value);
    this.#align();
  }
  attrU16(type: number, value: number): void {
    this.#attribute(type, 2);
    this.u16(value);
    this.#align();
  }
  attrU32(type: number, value: number): void {
    this.#attribute(type, 4);
    this.u32(value);
  }
  attrBe16(type: number, value: number): void {
    this.#attribute(type, 2);
    this.#reserve(2);
    this.#length = this.#buffer.writeUInt16BE(value, this.#length);
    this.#align();
  }
  attrBe32(type: number, value: number): void {
    this.#attribute(type, 4);
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32BE(value >>> 0, this.#length);
  }
  attrBytes(type: number, value: Uint8Array): void {
    this.#attribute(type, value.length);
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
    this.#align();
  }
  /** NUL-terminated. */
  attrText(type: number, value: string): void {
    this.attrBytes(type, Buffer.from(`${value}\0`));
  }
  nest(type: number, fill: () => void): void {
    const start = this.#length;
    this.#attribute(type | NLA_F_NESTED, 0);
    fill();
    const bytes = this.#length - start;
    assert(bytes <= 0xffff, `netlink attribute ${type}: ${bytes} bytes are more than 65535`);
    this.#buffer.writeUInt16LE(bytes, start);
    this.#align();
  }

  #attribute(type: number, payloadBytes: number): void {
    this.u16(payloadBytes + 4);
    this.u16(type);
  }

  #align(): void {
    while (this.#length % 4 !== 0) this.u8(0);
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const grown = Buffer.alloc(Math.max(this.#buffer.length * 2, this.#length + bytes));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

/** An answer that is not an acknowledgement. */
export interface NetlinkMessage {
  readonly type: number;
  /** index in the batch, from 0 */
  readonly index: number;
  /** what follows the netlink header */
  readonly payload: Buffer;
}

export interface NetlinkProblem {
  /** index in the batch, from 0 */
  readonly index: number;
  /** positive errno */
  readonly errnoValue: number;
  /** the kernel's own words, '' when it gave none */
  readonly detail: string;
}

export interface NetlinkAnswers {
  readonly messages: NetlinkMessage[];
  readonly problems: NetlinkProblem[];
}

/** Splits what came back for a batch sent with sequence base `base`; older sequences are dropped. */
export function readAnswers(reply: Buffer, base: number): NetlinkAnswers {
  const answers: NetlinkAnswers = { messages: [], problems: [] };
  for (let at = 0; at + HEADER_BYTES <= reply.length; ) {
    const bytes = reply.readUInt32LE(at);
    if (bytes < HEADER_BYTES || at + bytes > reply.length) break;
    const index = reply.readUInt32LE(at + 8) - base - 1;
    if (index >= 0) readOne(reply.subarray(at, at + bytes), index, answers);
    at += (bytes + 3) & ~3;
  }
  return answers;
}

function readOne(message: Buffer, index: number, answers: NetlinkAnswers): void {
  const type = message.readUInt16LE(4);
  if (type === NLMSG_DONE || type === NLMSG_ERROR) {
    const code = message.length >= HEADER_BYTES + 4 ? message.readInt32LE(HEADER_BYTES) : 0;
    if (code < 0) {
      answers.problems.push({ index, errnoValue: -code, detail: errorWords(message, type) });
    }
    return;
  }
  answers.messages.push({ type, index, payload: message.subarray(HEADER_BYTES) });
}

function errorWords(message: Buffer, type: number): string {
  const flags = message.readUInt16LE(6);
  if (type !== NLMSG_ERROR || (flags & NLM_F_ACK_TLVS) === 0) return '';
  // The request's header always follows the errno; its payload only when not capped.
  const echoed = (flags & NLM_F_CAPPED) === 0 ? message.readUInt32LE(HEADER_BYTES + 4) : 16;
  const words = attributes(message.subarray(HEADER_BYTES + 4 + echoed)).get(NLMSGERR_ATTR_MSG);
  return words === undefined ? '' : textOf(words);
}

/** The attributes in `payload` by type; of a repeated one the last. */
export function attributes(payload: Buffer): Map<number, Buffer> {
  return new Map(attributeList(payload).map(({ type, value }) => [type, value]));
}

export interface Attribute {
  readonly type: number;
  /** it was marked as holding attributes; some families do not mark theirs */
  readonly nested: boolean;
  readonly value: Buffer;
}

/** The attributes in `payload`, in order. */
export function attributeList(payload: Buffer): Attribute[] {
  const found: Attribute[] = [];
  for (let at = 0; at + 4 <= payload.length; ) {
    const bytes = payload.readUInt16LE(at);
    if (bytes < 4 || at + bytes > payload.length) break;
    const type = payload.readUInt16LE(at + 2);
    found.push({
      type: type & NLA_TYPE_MASK,
      nested: (type & NLA_F_NESTED) !== 0,
      value: payload.subarray(at + 4, at + bytes),
    });
    at += (bytes + 3) & ~3;
  }
  return found;
}

/** A NUL-terminated text attribute. */
export function textOf(value: Buffer): string {
  const nul = value.indexOf(0);
  return value.toString('utf8', 0, nul < 0 ? value.length : nul);
}
