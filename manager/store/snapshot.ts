/**
 * The state as a stream of bytes and back: length-prefixed records, a header first, a footer with the
 * count last. How the stream is cut into chunks means nothing.
 */
import { assert } from '../../common/base/assert.ts';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { TurnBudget } from '../../common/base/turn-budget.ts';
import type { ObjectKind, ObjectsByKind } from '../../common/model/object-kinds.ts';
import { decodeObject, encodeObject } from '../../common/wire/object.ts';
import {
  decodeSnapshotRecord,
  encodeSnapshotObjectHead,
  encodeSnapshotRecord,
  type SnapshotRecord,
} from '../../common/wire/store-log.ts';
import { type ObjectList, Tables } from './tables.ts';

const SNAPSHOT_FORMAT = 1;
/**
 * Longest chunk written, bytes. Making one, encrypting and sending it are turns of the event loop, each of which makes arrays
 * of that size: while V8 marks for memory outside of its heap, it takes a step of 5 to 10 ms for each 128 KiB of them.
 */
export const SNAPSHOT_CHUNK_BYTES = 32 * 1024;
/** Longest record accepted, bytes: above what a transaction can carry. */
const RECORD_BYTES_MAX = 16 * 1024 * 1024;
const LENGTH_BYTES = 4;

/** Writes the objects of `lists` as chunks of at most SNAPSHOT_CHUNK_BYTES, each made when it is asked for. */
export function* writeSnapshot(lists: readonly ObjectList[]): Generator<Uint8Array, void> {
  const chunks = new ChunkWriter();
  const header = encodeSnapshotRecord({ type: 'header', format: SNAPSHOT_FORMAT });
  chunks.write(header, NO_BYTES);
  let objectCount = 0;
  for (const { kind, objects } of lists) {
    objectCount += objects.length;
    for (const object of objects) {
      const bytes = encodeObject(kind, object);
      chunks.write(encodeSnapshotObjectHead(kind, bytes.length), bytes);
      while (chunks.hasFull) yield chunks.takeFull();
    }
  }
  const footer = encodeSnapshotRecord({ type: 'footer', objectCount });
  chunks.write(footer, NO_BYTES);
  while (chunks.hasFull) yield chunks.takeFull();
  const rest = chunks.rest();
  if (rest.length > 0) yield rest;
}

const NO_BYTES = new Uint8Array(0);

/** Makes as little garbage as it can: it runs while all other work of a manager goes on. */
class ChunkWriter {
  readonly #length = Buffer.alloc(LENGTH_BYTES);
  #chunk = Buffer.allocUnsafeSlow(SNAPSHOT_CHUNK_BYTES);
  #filled = 0;
  #full: Uint8Array[] = [];

  get hasFull(): boolean {
    return this.#full.length > 0;
  }

  takeFull(): Uint8Array {
    const chunk = this.#full.shift();
    assert(chunk !== undefined, 'a full chunk is there');
    return chunk;
  }

  /** A record in two parts. */
  write(head: Uint8Array, tail: Uint8Array): void {
    this.#length.writeUInt32LE(head.length + tail.length, 0);
    this.#append(this.#length);
    this.#append(head);
    this.#append(tail);
  }

  rest(): Uint8Array {
    return this.#chunk.subarray(0, this.#filled);
  }

  #append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const room = SNAPSHOT_CHUNK_BYTES - this.#filled;
      const part = bytes.length - at <= room && at === 0 ? bytes : bytes.subarray(at, at + room);
      this.#chunk.set(part, this.#filled);
      at += part.length;
      this.#fill(part.length);
    }
  }

  #fill(length: number): void {
    this.#filled += length;
    if (this.#filled < SNAPSHOT_CHUNK_BYTES) return;
    this.#full.push(this.#chunk);
    this.#chunk = Buffer.allocUnsafeSlow(SNAPSHOT_CHUNK_BYTES); // the reader may keep the other
    this.#filled = 0;
  }
}

/**
 * Tables from a snapshot, decoded in short turns. Throws `data-loss` for a stream that is damaged or
 * incomplete.
 */
export async function readSnapshot(
  chunks: AsyncIterable<Uint8Array>,
  clock: Clock,
): Promise<Tables> {
  const tables = new Tables();
  const reader = new RecordReader();
  const state = new RestoreState(tables);
  const budget = new TurnBudget(clock);
  budget.begin();
  for await (const chunk of chunks) {
    reader.push(chunk);
    for (let record = reader.next(); record; record = reader.next()) {
      state.take(record);
      if (budget.spent) await budget.renew();
    }
  }
  state.finish(reader.pending);
  return tables;
}

function damaged(what: string): SkepError {
  return new SkepError('data-loss', `restore snapshot: ${what}`);
}

/** The order and the number of records. */
class RestoreState {
  readonly #tables: Tables;
  #objects = 0;
  #phase: 'header' | 'objects' | 'end' = 'header';

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  take(record: SnapshotRecord): void {
    if (this.#phase === 'header') {
      if (record.type !== 'header') throw damaged('it does not start with a header');
      if (record.format !== SNAPSHOT_FORMAT) throw damaged(`format ${record.format} is unknown`);
      this.#phase = 'objects';
      return;
    }
    if (this.#phase === 'end') throw damaged('it goes on after its footer');
    if (record.type === 'header') throw damaged('a second header');
    if (record.type === 'object') {
      this.#objects++;
      const { kind, bytes } = record;
      const object = decodeOwned(kind, bytes);
      this.#tables.put(kind, object, this.#tables.get(kind, object.id));
      return;
    }
    if (record.objectCount !== this.#objects) {
      throw damaged(`${this.#objects} objects, its footer says ${record.objectCount}`);
    }
    this.#phase = 'end';
  }

  finish(pendingBytes: number): void {
    if (this.#phase !== 'end' || pendingBytes > 0) throw damaged('it ends too early');
  }
}

/** An object with memory of its own: `bytes` may be a view of something far larger. Throws `data-loss`. */
export function decodeOwned<K extends ObjectKind>(kind: K, bytes: Uint8Array): ObjectsByKind[K] {
  // Byte arrays of an object are views of what it was decoded from. Tasks, by far the most, have none.
  return decodeObject(kind, kind === 'task' ? bytes : Buffer.from(bytes));
}

/** Puts records together from chunks. */
class RecordReader {
  #buffer: Uint8Array = new Uint8Array(0);
  #at = 0;

  get pending(): number {
    return this.#buffer.length - this.#at;
  }

  push(chunk: Uint8Array): void {
    if (this.pending === 0) {
      this.#buffer = chunk;
    } else {
      const joined = new Uint8Array(this.pending + chunk.length);
      joined.set(this.#buffer.subarray(this.#at));
      joined.set(chunk, this.pending);
      this.#buffer = joined;
    }
    this.#at = 0;
  }

  next(): SnapshotRecord | null {
    if (this.pending < LENGTH_BYTES) return null;
    const { buffer, byteOffset } = this.#buffer;
    const length = new DataView(buffer, byteOffset + this.#at, LENGTH_BYTES).getUint32(0, true);
    if (length > RECORD_BYTES_MAX) throw damaged(`a record of ${length} bytes`);
    if (this.pending < LENGTH_BYTES + length) return null;
    const start = this.#at + LENGTH_BYTES;
    this.#at = start + length;
    assert(this.#at <= this.#buffer.length, 'a record ends within its buffer');
    return decodeSnapshotRecord(this.#buffer.subarray(start, this.#at));
  }
}
