/**
 * Blobs by digest: `blobs/sha256/<hex>`. A blob is visible only when complete, verified and on
 * disk, so a crash at any instruction leaves whole blobs and rubbish in `ingest/`, which the next
 * start removes, and in `partial/` what a download goes on with. Knows nothing of images or layers.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, statSync, unlinkSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import { isSha256Digest } from '../../common/model/image-reference.ts';

/** Manifests and configs are held in memory: a larger one is refused (the registry's own limit). */
export const DOCUMENT_BYTES_MAX = 4 * 1024 * 1024;

export function sha256Digest(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Makes the entries of `directory` durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Replaces `path` as a whole: after a crash it holds the old or the new bytes. */
export async function writeFileAtomically(path: string, bytes: string | Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** What is there of a blob when its ingest begins. */
interface Beginning {
  readonly hash: Hash;
  readonly sizeBytes: number;
  /** it is over: the file is somebody else's to go on with */
  readonly onEnd: () => void;
}

/** Bytes on their way into the store. Exactly one of `commit`, `abort` and `suspend` ends it. */
export class Ingest {
  readonly #store: ContentStore;
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #isKept: boolean;
  readonly #onEnd: () => void;
  #hash: Hash;
  #sizeBytes: number;
  #open = true;

  /** @param beginning null = a new file that nobody goes on with */
  constructor(
    store: ContentStore,
    handle: FileHandle,
    path: string,
    beginning: Beginning | null = null,
  ) {
    this.#store = store;
    this.#handle = handle;
    this.#path = path;
    this.#isKept = beginning !== null;
    this.#hash = beginning?.hash ?? createHash('sha256');
    this.#sizeBytes = beginning?.sizeBytes ?? 0;
    this.#onEnd = beginning?.onEnd ?? (() => {});
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Where the bytes are before `commit`. */
  get path(): string {
    return this.#path;
  }

  /** Of what was written so far. */
  digest(): string {
    return `sha256:${this.#hash.copy().digest('hex')}`;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    let at = 0;
    while (at < bytes.length) {
      const { bytesWritten } = await this.#handle.write(bytes, at, bytes.length - at);
      at += bytesWritten;
    }
    this.#sizeBytes += bytes.length;
  }

  /** Forgets everything written, for a sender that starts again from the first byte. */
  async restart(): Promise<void> {
    await this.#handle.truncate(0);
    this.#hash = createHash('sha256');
    this.#sizeBytes = 0;
    // The file is opened for append, so the next write begins at its new end.
  }

  /**
   * Publishes the blob and returns its digest. With `expected`, throws `data-loss` (and forgets the
   * bytes) when they hash to something else.
   */
  async commit(expected?: string): Promise<string> {
    const digest = this.digest();
    if (expected !== undefined && digest !== expected) {
      await this.abort();
      throw new SkepError('data-loss', `verify ${expected}: the content hashes to ${digest}`);
    }
    assert(this.#open, 'ingest is committed once');
    this.#open = false;
    try {
      await this.#publish(this.#store.path(digest));
    } finally {
      this.#onEnd();
    }
    return digest;
  }

  /** Idempotent; does nothing after `commit`. */
  async abort(): Promise<void> {
    await this.#close(false);
  }

  /** As `abort`, but what arrived is kept for `ContentStore.resume`, if it began there. Idempotent. */
  async suspend(): Promise<void> {
    await this.#close(this.#isKept && this.#sizeBytes > 0);
  }

  async #close(isKept: boolean): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    try {
      await this.#handle.close();
      if (!isKept) await rm(this.#path, { force: true });
    } finally {
      this.#onEnd();
    }
  }

  async #publish(target: string): Promise<void> {
    if (existsSync(target)) {
      await this.#handle.close();
      await rm(this.#path, { force: true });
      return;
    }
    try {
      await this.#handle.sync();
    } finally {
      await this.#handle.close();
    }
    await rename(this.#path, target);
    await syncDirectory(dirname(target));
  }
}

export class ContentStore {
  readonly #dir: string;
  readonly #random: Random;
  /** partial blobs that are being gone on with */
  readonly #resumed = new Set<string>();

  /** @param dir made when missing; `blobs`, `ingest` and `partial` below it are this store's own */
  constructor(dir: string, random: Random) {
    this.#dir = dir;
    this.#random = random;
  }

  /** A folder for half-made things; emptied at each start. */
  get ingestDir(): string {
    return join(this.#dir, 'ingest');
  }

  async start(): Promise<void> {
    await rm(this.ingestDir, { recursive: true, force: true });
    await mkdir(this.ingestDir, { recursive: true, mode: 0o700 });
    await mkdir(this.#partialDir, { recursive: true, mode: 0o700 });
    await mkdir(join(this.#dir, 'blobs', 'sha256'), { recursive: true, mode: 0o700 });
  }

  /** Where the blob is or would be. `digest` must be a valid sha256 digest. */
  path(digest: string): string {
    assert(isSha256Digest(digest), `not a sha256 digest: ${digest}`);
    return join(this.#dir, 'blobs', 'sha256', digest.slice('sha256:'.length));
  }

  has(digest: string): boolean {
    return existsSync(this.path(digest));
  }

  /** Throws `not-found`. */
  sizeBytes(digest: string): number {
    const stats = statSync(this.path(digest), { throwIfNoEntry: false });
    if (!stats) throw new SkepError('not-found', `read blob ${digest}: not in the store`);
    return stats.size;
  }

  /** As `sizeBytes`, for one that may be removed meanwhile. */
  sizeOrZero(digest: string): number {
    return statSync(this.path(digest), { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Wall-clock time of its arrival; 0 when it is not there. */
  modifiedMs(digest: string): number {
    return statSync(this.path(digest), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  async ingest(): Promise<Ingest> {
    const path = this.temporaryPath();
    return new Ingest(this, await open(path, 'ax', 0o600), path);
  }

  /**
   * Goes on with what `suspend` or a crash left of this blob. It may be damaged, by a power cut: `commit` tells.
   * Only one at a time has that; another one begins anew.
   */
  async resume(digest: string): Promise<Ingest> {
    const name = digest.slice('sha256:'.length);
    assert(isSha256Digest(digest), `not a sha256 digest: ${digest}`);
    if (this.#resumed.has(name)) return this.ingest();
    this.#resumed.add(name);
    const onEnd = (): void => void this.#resumed.delete(name);
    const path = join(this.#partialDir, name);
    let handle: FileHandle | null = null;
    try {
      handle = await open(path, 'a', 0o600);
      const hash = createHash('sha256');
      let sizeBytes = 0;
      for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
        hash.update(chunk);
        sizeBytes += chunk.length;
      }
      return new Ingest(this, handle, path, { hash, sizeBytes, onEnd });
    } catch (err) {
      await handle?.close();
      onEnd();
      throw err;
    }
  }

  /** Removes what nobody has gone on with since `oldMs`, wall clock, or needs to any more. Bytes. */
  removePartials(oldMs: number): number {
    let bytes = 0;
    for (const name of readdirSync(this.#partialDir)) {
      if (this.#resumed.has(name)) continue;
      const path = join(this.#partialDir, name);
      const { mtimeMs, size } = statSync(path);
      const digest = `sha256:${name}`;
      if (isSha256Digest(digest) && mtimeMs >= oldMs && !this.has(digest)) continue;
      unlinkSync(path);
      bytes += size;
    }
    return bytes;
  }

  get #partialDir(): string {
    return join(this.#dir, 'partial');
  }

  /** A fresh name below `ingestDir`. */
  temporaryPath(): string {
    return join(this.ingestDir, Buffer.from(this.#random.bytes(12)).toString('hex'));
  }

  /** `hold` is told the digest before the blob can be seen (and swept). */
  async put(bytes: Uint8Array, hold: (digest: string) => void): Promise<string> {
    hold(sha256Digest(bytes));
    const ingest = await this.ingest();
    try {
      await ingest.write(bytes);
      return await ingest.commit();
    } finally {
      await ingest.abort();
    }
  }

  /** The whole blob, verified. Throws `not-found`, `data-loss`, or `invalid-argument` above the limit. */
  async read(digest: string): Promise<Buffer> {
    const sizeBytes = this.sizeBytes(digest);
    if (sizeBytes > DOCUMENT_BYTES_MAX) {
      throw new SkepError(
        'invalid-argument',
        `read document ${digest}: ${sizeBytes} bytes is above ${DOCUMENT_BYTES_MAX}`,
      );
    }
    const bytes = await readFile(this.path(digest));
    const actual = sha256Digest(bytes);
    if (actual !== digest) {
      throw new SkepError('data-loss', `read blob ${digest}: the file hashes to ${actual}`);
    }
    return bytes;
  }

  async list(): Promise<string[]> {
    const names = await readdir(join(this.#dir, 'blobs', 'sha256'));
    return names.map((name) => `sha256:${name}`).filter(isSha256Digest);
  }

  /** Synchronous, so that no new user can appear between the caller's check and the deed. */
  remove(digest: string): void {
    try {
      unlinkSync(this.path(digest));
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
    }
  }
}
