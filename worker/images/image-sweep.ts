/**
 * What of the store is used, and the removal of the rest. Loads, pulls and pushes hold what they are
 * about to record or send; whatever is held, or part of an image, stays.
 */
import type { ContentStore } from './content-store.ts';
import type { ImageEntry, ImageIndex } from './image-index.ts';
import { chainIds, type LayerStore } from './layer-store.ts';

/** How long blobs without an image are kept for the next attempt of a pull. */
const UNUSED_BLOB_GRACE_MS = 24 * 3600 * 1000;

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

export class ImageSweep {
  readonly #content: ContentStore;
  readonly #layers: LayerStore;
  readonly #index: ImageIndex;
  readonly #wallMs: () => number;
  readonly #holds = new Set<Hold>();

  constructor(content: ContentStore, layers: LayerStore, index: ImageIndex, wallMs: () => number) {
    this.#content = content;
    this.#layers = layers;
    this.#index = index;
    this.#wallMs = wallMs;
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

  /**
   * Removes blobs and layers that nothing refers to. Young blobs that were not of the images just
   * removed stay: they are what an interrupted pull goes on with.
   * @param graceMs how young
   */
  async run(gone: readonly ImageEntry[], graceMs = UNUSED_BLOB_GRACE_MS): Promise<Swept> {
    const ofGone = new Set(gone.flatMap(blobsOf));
    const oldMs = this.#wallMs() - graceMs;
    const listed = await this.#content.list();
    // From here on without a pause: nobody may begin to use what is found to be unused.
    const used = this.#usedBlobs();
    let bytes = 0;
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

/** Its layers, config and manifest, and the indexes under whose digests it is known. */
export function blobsOf(entry: ImageEntry): string[] {
  const named = entry.repoDigests.map((name) => name.slice(name.indexOf('@') + 1));
  return [entry.id, entry.manifestDigest, ...entry.layers.map((layer) => layer.blob), ...named];
}
