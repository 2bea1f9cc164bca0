/**
 * Snapshots on disk: written to a temporary name, synced, renamed; read back frame by frame. Knows
 * neither what the data means nor how it gets to other nodes.
 */
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import { bytesPassed } from '../../common/base/young-collection.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { type FileCipher, type Keyring, SALT_BYTES } from './crypt.ts';
import { RaftDamageError } from './damage.ts';
import { type Disk, type DiskFile, errnoOf } from './disk.ts';
import {
  checkFrame,
  decodeFrameHead,
  decodeSnapshotHeader,
  encodeSnapshotFrame,
  encodeSnapshotHeader,
  FRAME_HEAD_BYTES,
  firstFrame,
  frameBytes,
  openFrame,
  parseSnapshotName,
  SNAPSHOT_HEADER_BYTES,
  type SnapshotFrameHead,
  type SnapshotFrameKind,
  type SnapshotHeader,
  type SnapshotPosition,
  snapshotName,
} from './snapshot-format.ts';
import type { WalIdentity } from './wal-recovery.ts';

export const SNAPSHOT_KEY_PURPOSE = 'raft snapshot';

const CHUNK_BYTES_MAX = 1024 * 1024;

export interface SnapshotDirOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly keyring: Keyring;
  readonly random: Random;
  readonly identity: WalIdentity;
}

/** What a snapshot covers. */
export interface SnapshotId {
  readonly index: number;
  readonly term: number;
}

/** The directory of snapshots of one node. */
export class SnapshotDir {
  readonly #options: SnapshotDirOptions;
  #keyring: Keyring;
  #temporary = 0;
  /** Begun and not aborted: each may get its final name yet, or has just got it. */
  readonly #writing = new Set<SnapshotWriter>();

  constructor(options: SnapshotDirOptions) {
    this.#options = options;
    this.#keyring = options.keyring;
  }

  /** Later files are written under the keyring's writing key. */
  rekey(keyring: Keyring): void {
    this.#keyring = keyring;
  }

  /** Makes the directory and deletes what was never finished. */
  async open(): Promise<void> {
    const { disk, dir } = this.#options;
    await disk.mkdir(dir);
    for (const name of await disk.readdir(dir)) {
      if (name.endsWith('.tmp')) await disk.unlink(`${dir}/${name}`);
    }
    await disk.fsyncDir(dir); // a rename seen here may not be durable yet: see `settle` in wal.ts
  }

  /** Finished snapshots, newest (highest index) first. They need not be intact. */
  async list(): Promise<(SnapshotId & { readonly path: string })[]> {
    const { disk, dir } = this.#options;
    if ((await disk.stat(dir)) === null) return [];
    return (await disk.readdir(dir))
      .flatMap((name) => {
        const id = parseSnapshotName(name);
        return id === null ? [] : [{ ...id, path: `${dir}/${name}` }];
      })
      .sort((a, b) => b.index - a.index);
  }

  get path(): string {
    return this.#options.dir;
  }

  pathOf(id: SnapshotId): string {
    return `${this.#options.dir}/${snapshotName(id.term, id.index)}`;
  }

  /** Begins a snapshot under a temporary name. */
  async begin(id: SnapshotId, membership: Uint8Array): Promise<SnapshotWriter> {
    const { disk, dir, random, identity } = this.#options;
    const salt = Buffer.from(random.bytes(SALT_BYTES));
    const { cipher, check } = this.#keyring.forNewFile(salt, SNAPSHOT_KEY_PURPOSE);
    const header: SnapshotHeader = { ...identity, ...id, salt, keyCheck: check };
    const path = `${dir}/${snapshotName(id.term, id.index)}.${++this.#temporary}.tmp`;
    const file = await disk.open(path, 'create');
    const ended = (): void => void this.#writing.delete(writer);
    const writer = new SnapshotWriter({ disk, dir, file, header, cipher, ended });
    this.#writing.add(writer);
    try {
      await writer.writeHeader(membership);
    } catch (err) {
      await writer.abort();
      throw err;
    }
    return writer;
  }

  /** Whether any snapshot, finished or being written, is under an older key. */
  async hasStale(): Promise<boolean> {
    for (const writer of this.#writing) if (this.isStale(writer.header)) return true;
    for (const { path } of await this.list()) {
      const header = await readHeader(this.#options.disk, path);
      if (header === 'damaged' || (header !== 'gone' && this.isStale(header))) return true;
    }
    return false;
  }

  /** Under an older key. */
  isStale({ salt, keyCheck }: SnapshotHeader): boolean {
    return !this.#keyring.isCurrent(salt, keyCheck);
  }

  /** Opens for reading; throws `data-loss`, naming file and offset, when it is not whole. */
  async read(id: SnapshotId): Promise<SnapshotReader> {
    const { disk, identity } = this.#options;
    return SnapshotReader.open(disk, this.pathOf(id), this.#keyring, identity);
  }

  /**
   * Deletes what `newest` replaces, but for the `keepOld` before it. One that is newer still may wait for being installed.
   * @returns the index of the oldest that is left
   */
  async deleteReplaced(newest: SnapshotId, keepOld = 0): Promise<number> {
    const { disk, dir } = this.#options;
    const older = (await this.list()).filter(
      ({ index, path }) => index <= newest.index && path !== this.pathOf(newest),
    );
    const kept = older.filter(({ index }) => index < newest.index).slice(0, keepOld);
    for (const one of older) if (!kept.includes(one)) await disk.unlink(one.path);
    await disk.fsyncDir(dir);
    return kept.at(-1)?.index ?? newest.index;
  }
}

interface WriterParts {
  readonly disk: Disk;
  readonly dir: string;
  readonly file: DiskFile;
  readonly header: SnapshotHeader;
  readonly cipher: FileCipher;
  /** It will write no more: published or aborted. */
  readonly ended: () => void;
}

/** One snapshot in the making: `append`..., `finish`, `publish`; or `abort` at any time. */
export class SnapshotWriter {
  readonly #parts: WriterParts;
  #at: SnapshotPosition;
  /** Of all frames, one after the other: each is on disk before the next is made. */
  #frameMemory = Buffer.alloc(0);
  #dataFrames = 0;
  #dataBytes = 0;
  #state: 'open' | 'finished' | 'published' | 'aborted' = 'open';

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#at = firstFrame(parts.header);
  }

  get header(): SnapshotHeader {
    return this.#parts.header;
  }

  get id(): SnapshotId {
    return { index: this.#parts.header.index, term: this.#parts.header.term };
  }

  /** Bytes of data taken so far. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  async writeHeader(membership: Uint8Array): Promise<void> {
    await this.#parts.file.pwrite(encodeSnapshotHeader(this.#parts.header), 0);
    await this.#frame('membership', membership);
  }

  /** Larger chunks are split: each must fit one message on the way to a follower. */
  async append(chunk: Uint8Array): Promise<void> {
    assert(this.#state === 'open', 'snapshot takes data only before it is finished');
    for (let from = 0; from < chunk.length; from += CHUNK_BYTES_MAX) {
      const piece = chunk.subarray(from, from + CHUNK_BYTES_MAX);
      await this.#frame('data', piece);
      this.#dataFrames++;
      this.#dataBytes += piece.length;
    }
  }

  /** Completes the file; durable, but not yet under its final name. */
  async finish(): Promise<void> {
    assert(this.#state === 'open', 'snapshot is finished once');
    await this.#frame(
      'footer',
      new ByteWriter().u32(this.#dataFrames).u64(this.#dataBytes).finish(),
    );
    await this.#parts.file.fdatasync();
    await this.#parts.file.close();
    this.#state = 'finished';
  }

  /** Gives the file its final name; durable when it resolves. */
  async publish(): Promise<void> {
    assert(this.#state === 'finished', 'snapshot is published after it is finished');
    const { disk, dir, file } = this.#parts;
    const { term, index } = this.id;
    await disk.rename(file.path, `${dir}/${snapshotName(term, index)}`);
    await disk.fsyncDir(dir);
    this.#state = 'published';
    this.#parts.ended();
  }

  /** Deletes what was written, unless published. Idempotent. */
  async abort(): Promise<void> {
    if (this.#state === 'published' || this.#state === 'aborted') return;
    const { disk, file } = this.#parts;
    if (this.#state === 'open') await file.close();
    this.#state = 'aborted';
    this.#parts.ended();
    await disk.unlink(file.path);
  }

  async #frame(kind: SnapshotFrameKind, body: Uint8Array): Promise<void> {
    const { header, cipher, file } = this.#parts;
    const at = this.#at;
    const frame = this.#zeros(frameBytes(body.length));
    this.#at = encodeSnapshotFrame(header, cipher, at, kind, body, frame);
    await file.pwrite(frame, at.offset);
    bytesPassed(body.length);
  }

  #zeros(length: number): Buffer {
    if (this.#frameMemory.length < length) this.#frameMemory = Buffer.alloc(length);
    return this.#frameMemory.subarray(0, length).fill(0);
  }
}

/** A piece of the state, at its offset in all data of the snapshot. */
export interface SnapshotChunk {
  readonly offset: number;
  readonly data: Buffer;
}

/** An intact snapshot. Stays readable until `close`, even when the file is deleted meanwhile. */
export class SnapshotReader {
  readonly id: SnapshotId;
  readonly membership: Buffer;
  readonly dataBytes: number;
  /** Tells two files of the same state apart: chunk bounds may differ. */
  readonly fileId: string;
  readonly header: SnapshotHeader;
  readonly #file: DiskFile;
  readonly #cipher: FileCipher;
  readonly #firstData: SnapshotPosition;

  private constructor(
    file: DiskFile,
    header: SnapshotHeader,
    cipher: FileCipher,
    scan: { membership: Buffer; dataBytes: number; firstData: SnapshotPosition },
  ) {
    this.#file = file;
    this.header = header;
    this.#cipher = cipher;
    this.#firstData = scan.firstData;
    this.id = { index: header.index, term: header.term };
    this.fileId = header.salt.toString('hex');
    this.membership = scan.membership;
    this.dataBytes = scan.dataBytes;
  }

  /** Checks the whole file. */
  static async open(
    disk: Disk,
    path: string,
    keyring: Keyring,
    identity: WalIdentity,
  ): Promise<SnapshotReader> {
    const file = await disk.open(path, 'read');
    try {
      const header = decodeSnapshotHeader(await file.read(0, SNAPSHOT_HEADER_BYTES));
      if (header === null) throw new RaftDamageError(path, 0, 'header is not intact');
      if (!header.clusterDigest.equals(identity.clusterDigest)) {
        throw new SkepError('failed-precondition', `open ${path}: it belongs to another cluster`);
      }
      const cipher = keyring.forFile(path, header.salt, header.keyCheck, SNAPSHOT_KEY_PURPOSE);
      const scan = await scanFrames(file, header, cipher);
      return new SnapshotReader(file, header, cipher, scan);
    } catch (err) {
      await file.close();
      throw err;
    }
  }

  /** The data from `fromOffset` on, which must be 0 or the end of some chunk. */
  async *chunks(fromOffset = 0): AsyncGenerator<SnapshotChunk> {
    let at = this.#firstData;
    let started = fromOffset === this.dataBytes;
    for (let offset = 0; offset < this.dataBytes; ) {
      const { frame, body, next } = await readFrame(this.#file, at);
      if (offset >= fromOffset) {
        if (!started && offset !== fromOffset) break;
        started = true;
        const data = unsealed(this.#file.path, this.header, this.#cipher, frame, body, at);
        yield { offset, data };
      }
      offset += frame.bodyBytes;
      at = next;
    }
    if (started) return;
    throw new SkepError(
      'invalid-argument',
      `read snapshot ${this.#file.path} from offset ${fromOffset}: no chunk begins there`,
    );
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** `gone`: a newer snapshot took its place meanwhile. */
async function readHeader(disk: Disk, path: string): Promise<SnapshotHeader | 'damaged' | 'gone'> {
  let file: DiskFile;
  try {
    file = await disk.open(path, 'read');
  } catch (err) {
    if (errnoOf(err) === 'ENOENT') return 'gone';
    throw err;
  }
  try {
    return decodeSnapshotHeader(await file.read(0, SNAPSHOT_HEADER_BYTES)) ?? 'damaged';
  } finally {
    await file.close();
  }
}

async function scanFrames(
  file: DiskFile,
  header: SnapshotHeader,
  cipher: FileCipher,
): Promise<{ membership: Buffer; dataBytes: number; firstData: SnapshotPosition }> {
  const first = firstFrame(header);
  const opening = await readFrame(file, first);
  if (opening.frame.kind !== 'membership')
    throw new RaftDamageError(file.path, first.offset, 'no membership');
  const membership = unsealed(file.path, header, cipher, opening.frame, opening.body, first);
  let dataBytes = 0;
  let dataFrames = 0;
  for (let at = opening.next; ; ) {
    const { frame, body, next } = await readFrame(file, at);
    if (frame.kind === 'footer') {
      const footer = new ByteReader(unsealed(file.path, header, cipher, frame, body, at));
      if (footer.u32() !== dataFrames || footer.u64() !== dataBytes) {
        throw new RaftDamageError(file.path, at.offset, 'footer does not match the data');
      }
      return { membership, dataBytes, firstData: opening.next };
    }
    if (frame.kind !== 'data')
      throw new RaftDamageError(file.path, at.offset, `a second ${frame.kind} frame`);
    dataFrames++;
    dataBytes += frame.bodyBytes;
    at = next;
  }
}

async function readFrame(
  file: DiskFile,
  at: SnapshotPosition,
): Promise<{ frame: SnapshotFrameHead; body: Buffer; next: SnapshotPosition }> {
  const frame = decodeFrameHead(await file.read(at.offset, FRAME_HEAD_BYTES), at);
  if (frame === null) throw new RaftDamageError(file.path, at.offset, 'no frame where one is due');
  const body = await file.read(at.offset + FRAME_HEAD_BYTES, frame.bodyBytes);
  const next = checkFrame(frame, body, at);
  if (next === null) throw new RaftDamageError(file.path, at.offset, 'checksum mismatch');
  bytesPassed(frame.bodyBytes);
  return { frame, body, next };
}

function unsealed(
  path: string,
  header: SnapshotHeader,
  cipher: FileCipher,
  frame: SnapshotFrameHead,
  body: Buffer,
  at: SnapshotPosition,
): Buffer {
  const plain = openFrame(header, cipher, frame, body);
  if (plain === null) throw new RaftDamageError(path, at.offset, 'authentication failed');
  return plain;
}
