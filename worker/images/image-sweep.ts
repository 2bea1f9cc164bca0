/**
 * What of the store is used, and the removal of the rest. Loads, pulls and pushes hold what they are
 * about to record or send; whatever is held, or part of an image, stays.
 */
import type { Clock } from '../../common/base/clock.ts';
import type { Logger } from '../../common/base/log.ts';
import type { ContentStore } from './content-store.ts';
import type { ImageEntry, ImageIndex } from './image-index.ts';
import { chainIds, type LayerStore } from './layer-store.ts';

/** How long blobs without an image are kept for the next attempt of a pull. */
const UNUSED_BLOB_GRACE_MS = 24 * 3600 * 1000;
/** So that the grace ends for the blobs of a daemon that runs for months, too: managers keep what others pull. */
const PERIOD_MS = 24 * 3600 * 1000;

/** What a piece of work needs: neither these blobs nor these layers are swept. */
export interface Hold {
  readonly blobs: Set<string>;
  readonly chainIds: Set<string>;
}

export interface Swept {
  /** chain ids */
  readonly layers: readonly string[];
  /** of blobs, and of the files of layers */
  readonly bytes: number;
}

export interface ImageSweepOptions {
  readonly content: Pick<
    ContentStore,
    'list' | 'modifiedMs' | 'sizeOrZero' | 'remove' | 'removePartials'
  >;
  readonly layers: Pick<LayerStore, 'list' | 'sizeBytes' | 'remove'>;
  readonly index: Pick<ImageIndex, 'list'>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ImageSweep {
  readonly #content: ImageSweepOptions['content'];
  readonly #layers: ImageSweepOptions['layers'];
  readonly #index: ImageSweepOptions['index'];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #holds = new Set<Hold>();

  constructor({ content, layers, index, clock, log }: ImageSweepOptions) {
    this.#content = content;
    this.#layers = layers;
    this.#index = index;
    this.#clock = clock;
    this.#log = log;
  }

  async holding<T>(work: (hold: Hold) => Promise<T>): Promise<T> {
    const hold: Hold = { blobs: new Set(), chainIds: new Set() };
    this.#holds.add(hold);
    try {
      return await work(hold);
    } finally {
      this.#holds.delete(hold);
    }
  }

  /** Sweeps once a day, until the signal's end. */
  async keepSwept(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#clock.sleep(PERIOD_MS, signal);
      try {
        await this.run([]);
      } catch (err) {
        this.#log.warn({ err }, 'unused blobs were not removed, will be retried');
      }
    }
  }

  /**
   * Removes blobs and layers that nothing refers to. Young blobs that were not of the images just
   * removed stay: they are what an interrupted pull goes on with.
   * @param graceMs how young
   */
  async run(gone: readonly ImageEntry[], graceMs = UNUSED_BLOB_GRACE_MS): Promise<Swept> {
    const ofGone = new Set(gone.flatMap(blobsOf));
    const oldMs = this.#clock.wallMs() - graceMs;
    const listed = await this.#content.list();
    // From here on without a pause: nobody may begin to use what is found to be unused.
    const used = this.#usedBlobs();
    let bytes = this.#content.removePartials(oldMs);
    for (const digest of listed) {
      if (used.has(digest)) continue;
      if (!ofGone.has(digest) && this.#content.modifiedMs(digest) >= oldMs) continue;
      bytes += this.#content.sizeOrZero(digest);
      this.#content.remove(digest);
    }
    const usedLayers = this.#usedLayers();
    const layers = this.#layers.list().filter((chainId) => !usedLayers.has(chainId));
    for (const chainId of layers) {
      bytes += this.#layers.sizeBytes(chainId) ?? 0;
      this.#layers.remove(chainId);
    }
    return { layers, bytes };
  }

  #usedBlobs(): Set<string> {
    const held = [...this.#holds].flatMap((hold) => [...hold.blobs]);
    return new Set([...held, ...this.#index.list().flatMap(blobsOf)]);
  }

  #usedLayers(): Set<string> {
    const held = [...this.#holds].flatMap((hold) => [...hold.chainIds]);
    const ofImages = this.#index.list().flatMap((entry) => chainIds(entry.document.diffIds));
    return new Set([...held, ...ofImages]);
  }
}

/** Its layers, config and manifest, the indexes under whose digests it is known, and what is here of them. */
export function blobsOf(entry: ImageEntry): string[] {
  const named = entry.repoDigests.map((name) => name.slice(name.indexOf('@') + 1));
  const { id, manifestDigest, layers, platforms } = entry;
  const whole = platforms === null ? [] : [platforms.digest, ...platforms.blobs];
  return [id, manifestDigest, ...layers.map((layer) => layer.blob), ...named, ...whole];
}
