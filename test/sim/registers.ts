/**
 * The state machine of the simulation: a few registers with put and compare-and-swap, and a checksum
 * over everything that was applied. Deterministic; its snapshots are taken lazily, as the store's are.
 */
import { crc32 } from 'node:zlib';
import type { StateMachine } from '../../manager/raftnode/node-options.ts';

/** A write as it is proposed. */
export interface Write {
  /** Never used twice. */
  readonly id: number;
  readonly key: string;
  readonly value: number;
  /** Compare-and-swap: only when the register holds this. Null = put. */
  readonly expected: number | null;
}

export function encodeWrite({ id, key, value, expected }: Write, fillerBytes: number): Buffer {
  return Buffer.from(`${id} ${key} ${value} ${expected ?? '-'} ${'f'.repeat(fillerBytes)}`);
}

export function decodeWrite(payload: Uint8Array): Write {
  const head = Buffer.from(payload.buffer, payload.byteOffset, Math.min(payload.length, 60));
  const [id, key, value, expected] = head.toString('latin1').split(' ');
  return {
    id: Number(id),
    key: key ?? '',
    value: Number(value),
    expected: expected === '-' ? null : Number(expected),
  };
}

/** The registers alone: what a sequence of writes leads to. */
export class Registers {
  readonly values = new Map<string, number>();
  /** Checksum over index, payload and outcome of all writes so far. */
  chain = 0;

  /** True when the write took effect. */
  write(index: number, write: Write, payload: Uint8Array): boolean {
    const { key, value, expected } = write;
    const done = expected === null || (this.values.get(key) ?? 0) === expected;
    if (done) this.values.set(key, value);
    this.chain = crc32(payload, (this.chain ^ (index * 2 + (done ? 1 : 0))) >>> 0);
    return done;
  }

  encode(): string {
    return JSON.stringify([this.chain, [...this.values]]);
  }

  load(text: string): void {
    const [chain, values] = JSON.parse(text) as [number, [string, number][]];
    this.chain = chain;
    this.values.clear();
    for (const [key, value] of values) this.values.set(key, value);
  }
}

export interface RegisterObserver {
  applied(index: number, payload: Uint8Array, write: Write, done: boolean, chain: number): void;
  restored(index: number, chain: number): void;
}

/** Small, so that a snapshot takes several. */
const CHUNK_BYTES = 24;

export class RegisterMachine implements StateMachine {
  readonly registers = new Registers();
  /** Of the last write applied, or of the snapshot. */
  index = 0;
  readonly #observer: RegisterObserver;

  constructor(observer: RegisterObserver) {
    this.#observer = observer;
  }

  apply(index: number, payload: Uint8Array): void {
    const write = decodeWrite(payload);
    const done = this.registers.write(index, write, payload);
    this.index = index;
    this.#observer.applied(index, payload, write, done, this.registers.chain);
  }

  *snapshot(): Iterable<Uint8Array> {
    const text = this.registers.encode();
    for (let from = 0; from < text.length; from += CHUNK_BYTES) {
      yield Buffer.from(text.slice(from, from + CHUNK_BYTES));
    }
  }

  async restore(chunks: AsyncIterable<Uint8Array>, appliedIndex: number): Promise<void> {
    let text = '';
    for await (const chunk of chunks) text += Buffer.from(chunk).toString();
    this.registers.load(text);
    this.index = appliedIndex;
    this.#observer.restored(appliedIndex, this.registers.chain);
  }
}
