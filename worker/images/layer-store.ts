/**
 * Unpacked layers: `l/<n>` is the overlayfs lower directory, `l/<n>.json` says which layer it is and
 * exists only when the directory is complete. Layers are known by chain id (the layer together with
 * everything below it), because what a layer leaves unsaid - parent directories, targets of hard
 * links - is taken from below. Knows nothing of image names.
 */
import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { renameSync, unlinkSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { abortWith } from '../../common/base/abort-with.ts';
import { describeError, SkepError } from '../../common/base/errors.ts';
import { CancelledError, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import { syncFileSystem } from '../../native/ffi/fs.ts';
import type { ContentStore } from './content-store.ts';
import { completeFromBelow } from './layer-completion.ts';
import { SharedWork } from './shared-work.ts';
import { UnpackPool } from './unpack-pool.ts';

/** overlayfs takes at most 500 lower directories; Docker allows 127 layers, so images have fewer. */
export const LAYERS_MAX = 127;

export interface LayerSource {
  /** digest of the uncompressed tar */
  readonly diffId: string;
  /** digest of the blob as stored, compressed or not */
  readonly blob: string;
}

interface LayerRecord {
  readonly chainId: string;
  readonly diffId: string;
  readonly sizeBytes: number;
  readonly opaqueRoot: boolean;
  /** Boot in which it was unpacked while not yet on disk for sure; null = it survives a power cut. */
  readonly bootId: string | null;
}

interface Layer {
  readonly directory: string;
  record: LayerRecord;
}

/** Chain ids from the bottom up: the first is the diff id, each further sha256(chain + " " + diff). */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    const text = `${below} ${diffId}`;
    chain.push(
      below === undefined ? diffId : `sha256:${createHash('sha256').update(text).digest('hex')}`,
    );
  }
  return chain;
}

export class LayerStore {
  readonly #dir: string;
  readonly #content: ContentStore;
  readonly #log: Logger;
  readonly #pool = new UnpackPool();
  readonly #tasks: TaskSet;
  /** by chain id */
  readonly #layers = new Map<string, Layer>();
  readonly #unpacking = new SharedWork();
  #nextNumber = 1;
  #bootId = '';

  constructor(dir: string, content: ContentStore, log: Logger) {
    this.#dir = join(dir, 'l');
    this.#content = content;
    this.#log = log;
    this.#tasks = new TaskSet((err) => log.warn({ err }, 'layer housekeeping failed'));
  }

  /** Reads what is there; removes half-made layers and those that a power cut may have damaged. */
  async start(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o711 });
    this.#bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const names = await readdir(this.#dir);
    // A number is never used twice: a directory must not meet the record of an earlier one.
    for (const name of names) {
      const number = Number.parseInt(name, 36); // of "<n>" and of "<n>.json"
      if (number >= this.#nextNumber) this.#nextNumber = number + 1;
    }
    for (const name of names.filter((n) => /^[0-9a-z]+$/.test(n))) {
      const record = names.includes(`${name}.json`) ? await this.#readRecord(name) : null;
      const directory = join(this.#dir, name);
      if (record !== null && (record.bootId === null || record.bootId === this.#bootId)) {
        this.#layers.set(record.chainId, { directory, record });
      } else {
        await this.#moveToTrash(directory);
      }
    }
    for (const name of names.filter((n) => n.endsWith('.json'))) {
      const known = [...this.#layers.values()].some((l) =>
        `${l.directory}.json`.endsWith(`/${name}`),
      );
      if (!known) await rm(join(this.#dir, name), { force: true });
    }
  }

  async stop(): Promise<void> {
    await this.#pool.stop();
    await this.#unpacking.ended();
    await this.#tasks.stop();
  }

  /** Bytes of regular files, or undefined when the layer is not unpacked. */
  sizeBytes(chainId: string): number | undefined {
    return this.#layers.get(chainId)?.record.sizeBytes;
  }

  list(): string[] {
    return [...this.#layers.keys()];
  }

  /**
   * Unpacks what is missing of these layers (bottom first), each once however many callers want
   * it, and as long as one does. Rejects with `not-found` when a blob is missing, `data-loss` when
   * one does not match, or with the signal's reason.
   */
  async ensure(layers: readonly LayerSource[], signal?: AbortSignal): Promise<void> {
    if (layers.length > LAYERS_MAX) {
      throw new SkepError(
        'invalid-argument',
        `unpack image: ${layers.length} layers are above the maximum of ${LAYERS_MAX}`,
      );
    }
    const chain = chainIds(layers.map((layer) => layer.diffId));
    const link = abortWith(signal);
    setMaxListeners(0, link.signal); // each layer listens
    try {
      await Promise.all(layers.map((_, i) => this.#ensureOne(layers, chain, i, link.signal)));
    } finally {
      link.abort(new CancelledError()); // where one layer failed, the others are not wanted any more
      link.release();
    }
  }

  /** Marks the unpacked layers as safe from power cuts, in the background. */
  persistLater(): void {
    const unsafe = [...this.#layers.values()].filter((layer) => layer.record.bootId !== null);
    if (unsafe.length === 0) return;
    this.#tasks.run(async () => {
      const handle = await open(this.#dir, 'r');
      try {
        await syncFileSystem(handle.fd);
      } finally {
        await handle.close();
      }
      for (const layer of unsafe) {
        await this.#publishRecord(layer.directory, { ...layer.record, bootId: null }, (record) => {
          if (this.#layers.get(record.chainId) !== layer) return false; // removed meanwhile
          layer.record = record;
          return true;
        });
      }
    });
  }

  /** Lower directories for overlayfs, topmost first. Throws `not-found` when one is not unpacked. */
  lowerDirs(diffIds: readonly string[]): string[] {
    const directories: string[] = [];
    for (const chainId of chainIds(diffIds).reverse()) {
      const layer = this.#layers.get(chainId);
      if (!layer) throw new SkepError('not-found', `use layer ${chainId}: it is not unpacked`);
      directories.push(layer.directory);
      if (layer.record.opaqueRoot) break;
    }
    return directories;
  }

  /** Synchronous, so that no new user appears between check and deed; the files go later. */
  remove(chainId: string): void {
    const layer = this.#layers.get(chainId);
    if (!layer) return;
    this.#layers.delete(chainId);
    unlinkSync(`${layer.directory}.json`); // first: from here on the directory is rubbish
    const trash = this.#content.temporaryPath();
    renameSync(layer.directory, trash);
    this.#tasks.run(() => rm(trash, { recursive: true, force: true }));
  }

  /** Of the layers that those of `chain` stand for. */
  async #ensureOne(
    layers: readonly LayerSource[],
    chain: readonly string[],
    i: number,
    signal: AbortSignal,
  ): Promise<Layer> {
    const isHere = (): boolean => this.#layers.has(chain[i]!);
    await this.#unpacking.ensure(chain[i]!, isHere, signal, (shared) =>
      this.#unpack(layers, chain, i, shared),
    );
    return this.#layers.get(chain[i]!)!;
  }

  async #unpack(
    layers: readonly LayerSource[],
    chain: readonly string[],
    i: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { blob, diffId } = layers[i]!;
    const chainId = chain[i]!;
    const blobPath = this.#content.path(blob);
    this.#content.sizeBytes(blob); // throws not-found
    const targetDir = this.#content.temporaryPath();
    try {
      const summary = await this.#pool.unpack({ blobPath, diffId, targetDir }, signal);
      // Those below are under way already; whoever wants this one wants them.
      const lower: Layer[] = [];
      for (let j = i - 1; j >= 0; j--) lower.push(await this.#ensureOne(layers, chain, j, signal));
      await completeFromBelow(
        targetDir,
        summary,
        lower.map((layer) => layer.directory),
      );
      signal.throwIfAborted();
      const directory = join(this.#dir, (this.#nextNumber++).toString(36));
      await rename(targetDir, directory);
      const { sizeBytes, opaqueRoot } = summary;
      const record = {
        chainId,
        diffId,
        sizeBytes,
        opaqueRoot,
        bootId: this.#bootId,
      };
      const layer: Layer = { directory, record };
      await this.#publishRecord(directory, record, () => {
        if (!signal.aborted) this.#layers.set(chainId, layer); // else another one may do it by now
        return !signal.aborted;
      });
      if (this.#layers.get(chainId) !== layer) {
        await this.#moveToTrash(directory);
        signal.throwIfAborted();
      }
      this.#log.debug({ chainId, directory, entries: summary.entries }, 'layer unpacked');
    } catch (err) {
      await rm(targetDir, { recursive: true, force: true });
      throw err;
    }
  }

  /**
   * Replaces the record of a directory, if `accept` still wants it at the very moment. No fsync:
   * without it on disk the layer is simply unpacked again.
   */
  async #publishRecord(
    directory: string,
    record: LayerRecord,
    accept: (record: LayerRecord) => boolean,
  ): Promise<void> {
    const temporary = this.#content.temporaryPath();
    await writeFile(temporary, JSON.stringify(record));
    if (accept(record)) renameSync(temporary, `${directory}.json`);
    else await rm(temporary);
  }

  async #readRecord(name: string): Promise<LayerRecord | null> {
    try {
      return JSON.parse(await readFile(join(this.#dir, `${name}.json`), 'utf8')) as LayerRecord;
    } catch (err) {
      this.#log.warn({ name, reason: describeError(err) }, 'layer record is damaged');
      return null;
    }
  }

  async #moveToTrash(directory: string): Promise<void> {
    const trash = this.#content.temporaryPath();
    await rename(directory, trash);
    this.#tasks.run(() => rm(trash, { recursive: true, force: true }));
  }
}
