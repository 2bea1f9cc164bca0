/**
 * The ways in which images come to this node: archives, file systems, registries, other nodes. Each ends with
 * the image unpacked, and only then visible under its names.
 */
import { Readable } from 'node:stream';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import {
  canonicalReference,
  familiarReference,
  isSha256Digest,
  parseImageReference,
  withDefaultTag,
} from '../../common/model/image-reference.ts';
import { readImageArchive, type StoredImage } from './archive-reader.ts';
import type { ContentStore } from './content-store.ts';
import {
  type CommitOptions,
  type ImportOptions,
  importFileSystem,
  importLayer,
} from './image-import.ts';
import { type ImageIndex, moveTag } from './image-index.ts';
import { type ImageRecord, recordOf } from './image-record.ts';
import type { ImageSource } from './image-source.ts';
import type { Hold, ImageSweep } from './image-sweep.ts';
import { chainIds, type LayerStore } from './layer-store.ts';
import type { PlatformSet } from './platform-set.ts';
import type { ProgressListener } from './progress.ts';
import type { Puller } from './puller.ts';
import type { RegistryAuth } from './registry-authorizer.ts';
import type { RegistryHosts } from './registry-hosts.ts';
import { downloaded, importUrl } from './url-source.ts';

export interface LoadedImage {
  readonly id: string;
  /** null = the archive gave it no name */
  readonly reference: string | null;
}

export interface ImageArrivalsParts {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly index: ImageIndex;
  readonly sweep: ImageSweep;
  readonly puller: Puller;
  /** GOARCH of this machine */
  readonly architecture: string;
  readonly clock: Clock;
  readonly hosts: RegistryHosts;
  readonly tell: (action: string, id: string, name: string) => void;
  /** An image is recorded, perhaps once more. */
  readonly arrived: (id: string) => void;
  readonly log: Logger;
}

export class ImageArrivals {
  readonly #parts: ImageArrivalsParts;

  constructor(parts: ImageArrivalsParts) {
    this.#parts = parts;
  }

  /**
   * Takes a docker-archive or OCI layout, plain or gzip, from `tar` to its end. Rejects with
   * `invalid-argument` (no such archive), `data-loss` (a digest does not match).
   */
  async load(
    tar: Readable,
    onProgress: ProgressListener = () => {},
    signal?: AbortSignal,
  ): Promise<LoadedImage[]> {
    return this.#parts.sweep.holding(async (hold) => {
      const images = await readImageArchive(
        this.#parts.content,
        tar,
        this.#parts.architecture,
        (digest) => hold.blobs.add(digest),
        signal,
      );
      const loaded: LoadedImage[] = [];
      for (const image of images) {
        const tags = image.references.map((r) => canonicalReference(withDefaultTag(r)));
        await this.#record(image, hold, tags, [], signal);
        this.#parts.tell('load', image.id, image.id);
        for (const reference of image.references) {
          const name = familiarReference(withDefaultTag(reference));
          loaded.push({ id: image.id, reference: name });
          onProgress({ stream: `Loaded image: ${name}\n` });
        }
        if (image.references.length > 0) continue;
        loaded.push({ id: image.id, reference: null });
        onProgress({ stream: `Loaded image ID: ${image.id}\n` });
      }
      return loaded;
    });
  }

  /**
   * Makes an image from a tar of a file system, plain or compressed; `name` may be null. Rejects with
   * `invalid-argument` for what is no tar, and for malformed changes.
   */
  async import(
    tar: Readable,
    name: string | null,
    options: Pick<ImportOptions, 'changes' | 'message'>,
    signal?: AbortSignal,
  ): Promise<ImageRecord> {
    const reference = name === null ? null : withDefaultTag(parseImageReference(name));
    if (reference !== null && reference.digest !== null) {
      throw new SkepError('invalid-argument', 'cannot import digest reference');
    }
    return this.#parts.sweep.holding(async (hold) => {
      const more = { architecture: this.#parts.architecture, nowMs: this.#parts.clock.wallMs() };
      const image = await importFileSystem(
        this.#parts.content,
        tar,
        { ...options, ...more },
        (digest) => hold.blobs.add(digest),
        signal,
      );
      await this.#record(image, hold, reference ? [canonicalReference(reference)] : [], [], signal);
      this.#parts.tell('import', image.id, reference ? familiarReference(reference) : image.id);
      return recordOf(this.#parts.index.require(image.id));
    });
  }

  /** As `import`, of the file behind an http(s) URL. Rejects with what is wrong with the way to it, too. */
  async importFrom(
    source: string,
    name: string | null,
    options: Pick<ImportOptions, 'changes' | 'message'>,
    onProgress: ProgressListener = () => {},
    signal?: AbortSignal,
  ): Promise<ImageRecord> {
    const tar = downloaded(this.#parts, importUrl(source), onProgress, signal);
    return this.import(Readable.from(tar, { objectMode: false }), name, options, signal);
  }

  /** A further layer upon an image that is here; `name` may be null. */
  async commit(
    baseId: string,
    layer: Readable,
    name: string | null,
    options: Omit<CommitOptions, 'architecture' | 'nowMs'>,
    signal?: AbortSignal,
  ): Promise<ImageRecord> {
    const reference = name === null ? null : withDefaultTag(parseImageReference(name));
    if (reference !== null && reference.digest !== null) {
      throw new SkepError('invalid-argument', 'cannot commit to digest reference');
    }
    const { content, index, sweep, architecture, clock } = this.#parts;
    const entry = index.require(baseId);
    return sweep.holding(async (hold) => {
      const base = { document: await content.read(entry.id), layers: entry.layers };
      const image = await importLayer(
        content,
        layer,
        base,
        { ...options, architecture, nowMs: clock.wallMs() },
        (digest) => hold.blobs.add(digest),
        signal,
      );
      await this.#record(image, hold, reference ? [canonicalReference(reference)] : [], [], signal);
      return recordOf(index.require(image.id));
    });
  }

  /**
   * Fetches the image from its registry, for this machine's architecture, and names it so. Rejects
   * with the registry's own words: `not-found`, `unauthenticated`, `permission-denied`, ...
   */
  async pull(
    reference: string,
    auth: RegistryAuth | null,
    onProgress: ProgressListener = () => {},
    signal?: AbortSignal,
  ): Promise<ImageRecord> {
    return this.#pull(reference, auth, false, onProgress, signal);
  }

  /** As `pull`, with the images of all other platforms, to be pushed and saved with them. */
  async pullAllPlatforms(
    reference: string,
    auth: RegistryAuth | null,
    onProgress: ProgressListener = () => {},
    signal?: AbortSignal,
  ): Promise<ImageRecord> {
    return this.#pull(reference, auth, true, onProgress, signal);
  }

  async #pull(
    reference: string,
    auth: RegistryAuth | null,
    allPlatforms: boolean,
    onProgress: ProgressListener,
    signal?: AbortSignal,
  ): Promise<ImageRecord> {
    const wanted = withDefaultTag(parseImageReference(reference));
    return this.#parts.sweep.holding(async (hold) => {
      const pulled = await this.#parts.puller.pull(wanted, auth, {
        hold: (digest) => hold.blobs.add(digest),
        allPlatforms,
        onProgress,
        ...(signal && { signal }),
      });
      const before = this.#parts.index.get(pulled.id);
      // As Docker: a pull by digest gives the image no tag.
      const tags = wanted.digest === null ? [canonicalReference(wanted)] : [];
      const digests = pulled.digests.map((d) => `${wanted.domain}/${wanted.path}@${d}`);
      await this.#record(pulled, hold, tags, digests, signal);
      const name = familiarReference(wanted);
      this.#parts.tell('pull', name, familiarReference({ ...wanted, tag: null, digest: null }));
      onProgress({ status: `Digest: ${pulled.digests[0]}` });
      onProgress({
        status: before
          ? `Status: Image is up to date for ${name}`
          : `Status: Downloaded newer image for ${name}`,
      });
      return recordOf(this.#parts.index.require(pulled.id));
    });
  }

  /** Fetches an image from another node and gives it these canonical names. */
  async take(
    source: ImageSource,
    manifestDigest: string,
    tags: readonly string[],
    signal?: AbortSignal,
  ): Promise<ImageRecord> {
    if (!isSha256Digest(manifestDigest)) {
      throw new SkepError('invalid-argument', `take image ${manifestDigest}: no digest`);
    }
    return this.#parts.sweep.holding(async (hold) => {
      const taken = await this.#parts.puller.take(manifestDigest, source, {
        hold: (digest) => hold.blobs.add(digest),
        onProgress: () => {},
        ...(signal && { signal }),
      });
      await this.#record(taken, hold, tags, [], signal);
      this.#parts.tell('pull', taken.id, taken.id);
      return recordOf(this.#parts.index.require(taken.id));
    });
  }

  /** Unpacks, then makes the image visible under its names. */
  async #record(
    image: StoredImage,
    hold: Hold,
    tags: readonly string[],
    digests: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    hold.blobs.add(image.manifestDigest).add(image.id);
    const chain = chainIds(image.document.diffIds);
    for (const chainId of chain) hold.chainIds.add(chainId);
    for (const layer of image.layers) hold.blobs.add(layer.blob);
    await this.#parts.layers.ensure(image.layers, signal);
    const sizeBytes = chain.reduce((sum, id) => sum + (this.#parts.layers.sizeBytes(id) ?? 0), 0);
    await this.#parts.index.update((images) => {
      const known = images.get(image.id);
      images.set(image.id, {
        id: image.id,
        document: image.document,
        // Two manifests can share a config (other compression): the blobs we know stay in use.
        layers: known?.layers ?? image.layers,
        manifestDigest: known?.manifestDigest ?? image.manifestDigest,
        platforms: image.platforms ?? stillIts(known?.platforms ?? null, digests),
        repoTags: known?.repoTags ?? [],
        repoDigests: [...new Set([...(known?.repoDigests ?? []), ...digests])],
        sizeBytes,
      });
      for (const tag of tags) moveTag(images, image.id, tag);
    });
    this.#parts.layers.persistLater();
    this.#parts.arrived(image.id);
    this.#parts.log.info({ imageId: image.id, tags }, 'image recorded');
  }
}

/** An index that came before, unless the name stands for another one now, which has this image as well. */
function stillIts(known: PlatformSet | null, digests: readonly string[]): PlatformSet | null {
  const isAnother =
    digests.length > 0 && !digests.some((name) => name.endsWith(known?.digest ?? ''));
  return isAnother ? null : known;
}
