/** The state machine of the throughput rounds: keys and values, as etcd's. */
import type { StateMachine } from '../../manager/raftnode/node-options.ts';

const KEY_BYTES = 16;
const KEYS = 10_000;
const CHUNK_RECORDS = 512;

/** A put of `valueBytes` under one of KEYS keys. */
export class PutSource {
  readonly #value: Buffer;
  #next = 0;

  constructor(valueBytes: number) {
    this.#value = Buffer.alloc(valueBytes, 'v');
  }

  next(): { key: Buffer; value: Buffer } {
    const key = Buffer.from(String(this.#next++ % KEYS).padStart(KEY_BYTES, '0'), 'latin1');
    return { key, value: this.#value };
  }
}

export function encodePut({ key, value }: { key: Buffer; value: Buffer }): Buffer {
  return Buffer.concat([key, value]);
}

export class KeyValueMachine implements StateMachine {
  #values = new Map<string, Buffer>();

  apply(_index: number, payload: Uint8Array): void {
    const put = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    this.#values.set(put.toString('latin1', 0, KEY_BYTES), put.subarray(KEY_BYTES));
  }

  snapshot(): Iterable<Uint8Array> {
    return chunksOf([...this.#values]);
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    const all = Buffer.concat(parts);
    const values = new Map<string, Buffer>();
    for (let at = 0; at < all.length; ) {
      const bytes = all.readUInt32LE(at);
      const record = all.subarray(at + 4, at + 4 + bytes);
      values.set(record.toString('latin1', 0, KEY_BYTES), record.subarray(KEY_BYTES));
      at += 4 + bytes;
    }
    this.#values = values;
  }
}

function* chunksOf(entries: readonly [string, Buffer][]): Generator<Uint8Array> {
  for (let from = 0; from < entries.length; from += CHUNK_RECORDS) {
    const parts = entries.slice(from, from + CHUNK_RECORDS).flatMap(([key, value]) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(KEY_BYTES + value.length);
      return [length, Buffer.from(key, 'latin1'), value];
    });
    yield Buffer.concat(parts);
  }
}
