/**
 * Which images this node has and how they are called: one small JSON file, replaced as a whole at
 * each change. Finds images by name, digest, id and id prefix. Knows nothing of layers on disk.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import {
  canonicalReference,
  type ImageReference,
  isSha256Digest,
  parseImageReference,
  withDefaultTag,
} from '../../common/model/image-reference.ts';
import { type ContentStore, writeFileAtomically } from './content-store.ts';
import { type ImageDocument, parseImageDocument } from './image-config.ts';
import type { LayerSource } from './layer-store.ts';
import { noSuchImage } from './no-such-image.ts';
import type { PlatformSet } from './platform-set.ts';

export interface ImageEntry {
  /** `sha256:...` of the config */
  readonly id: string;
  readonly manifestDigest: string;
  /** bottom first */
  readonly layers: readonly LayerSource[];
  /** canonical, e.g. `docker.io/library/web:1`; each tag belongs to one image */
  readonly repoTags: readonly string[];
  /** canonical, e.g. `docker.io/library/web@sha256:...` */
  readonly repoDigests: readonly string[];
  /** of the unpacked layers' files */
  readonly sizeBytes: number;
  /** the index that it is part of, when the images of all its platforms are here */
  readonly platforms: PlatformSet | null;
  readonly document: ImageDocument;
}

/** As the file has it: one of an earlier version says nothing of platforms. */
type StoredEntry = Omit<ImageEntry, 'document' | 'platforms'> &
  Partial<Pick<ImageEntry, 'platforms'>>;

export type ImageMap = Map<string, ImageEntry>;

const VERSION = 1;

/** How a reference led to an image; decides what `remove` means. */
export interface FoundImage {
  readonly entry: ImageEntry;
  /** null = found by its id */
  readonly reference: ImageReference | null;
}

export class ImageIndex {
  readonly #path: string;
  readonly #content: ContentStore;
  readonly #log: Logger;
  #images: ImageMap = new Map();
  #writing: Promise<unknown> = Promise.resolve();

  constructor(dir: string, content: ContentStore, log: Logger) {
    this.#path = join(dir, 'images.json');
    this.#content = content;
    this.#log = log;
  }

  /** An image whose config is gone is left out with a warning: it cannot be run or shown. */
  async start(): Promise<void> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw err;
    }
    const file = JSON.parse(text) as {
      version: number;
      images: StoredEntry[];
    };
    if (file.version !== VERSION) {
      throw new SkepError('data-loss', `read ${this.#path}: version ${file.version} is unknown`);
    }
    for (const image of file.images) {
      try {
        const document = parseImageDocument(await this.#content.read(image.id));
        this.#images.set(image.id, { ...image, platforms: image.platforms ?? null, document });
      } catch (err) {
        this.#log.warn({ imageId: image.id, reason: describeError(err) }, 'image is damaged');
      }
    }
  }

  list(): ImageEntry[] {
    return [...this.#images.values()];
  }

  get(id: string): ImageEntry | undefined {
    return this.#images.get(id);
  }

  /** By id, name (`:latest` understood), digest, unique id prefix: in this order. */
  find(text: string): FoundImage | undefined {
    const id = isSha256Digest(`sha256:${text}`) ? `sha256:${text}` : text;
    const exact = this.#images.get(id);
    if (exact) return { entry: exact, reference: null };
    const named = this.#findByName(text);
    if (named) return named;
    const prefix = /^(?:sha256:)?([0-9a-f]{1,64})$/.exec(text)?.[1];
    if (prefix === undefined) return undefined;
    const matches = this.list().filter((entry) => entry.id.startsWith(`sha256:${prefix}`));
    return matches.length === 1 ? { entry: matches[0]!, reference: null } : undefined;
  }

  /** As `find`. Throws `not-found` in Docker's words. */
  require(text: string): ImageEntry {
    const found = this.find(text);
    if (!found) throw noSuchImage(text);
    return found.entry;
  }

  /** The image of a tag; without a tag each image of the repository, under all its tags there. */
  taggedIn(wanted: ImageReference): { reference: ImageReference; entry: ImageEntry }[] {
    const named = this.list().flatMap((entry) =>
      entry.repoTags.map((tag) => ({ reference: parseImageReference(tag), entry })),
    );
    return named.filter(
      ({ reference }) =>
        reference.domain === wanted.domain &&
        reference.path === wanted.path &&
        (wanted.tag === null || reference.tag === wanted.tag),
    );
  }

  /** Another repository of the registry `domain` from which, or to which, this blob went; null = none. */
  repositoryOf(blob: string, domain: string, otherThan: string): string | null {
    for (const entry of this.#images.values()) {
      const isPart = entry.layers.some((layer) => layer.blob === blob);
      if (!isPart && !entry.platforms?.blobs.includes(blob)) continue;
      for (const name of entry.repoDigests) {
        const reference = parseImageReference(name);
        if (reference.domain === domain && reference.path !== otherThan) return reference.path;
      }
    }
    return null;
  }

  /** After every change that was asked for before. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Runs `change` on a copy, then writes it to disk, then shows it. One at a time. */
  update<T>(change: (images: ImageMap) => T): Promise<T> {
    const run = async (): Promise<T> => {
      const draft: ImageMap = new Map(this.#images);
      const result = change(draft);
      const images = [...draft.values()].map(({ document: _, ...stored }) => stored);
      await writeFileAtomically(this.#path, JSON.stringify({ version: VERSION, images }));
      this.#images = draft;
      return result;
    };
    const result = this.#writing.then(run, run);
    this.#writing = result.catch(() => {}); // reported to the caller
    return result;
  }

  #findByName(text: string): FoundImage | undefined {
    let reference: ImageReference;
    try {
      reference = withDefaultTag(parseImageReference(text));
    } catch {
      return undefined; // ids and prefixes need not be names
    }
    const { digest } = reference;
    const repository = `${reference.domain}/${reference.path}`;
    const matches = (entry: ImageEntry): boolean =>
      digest === null
        ? entry.repoTags.includes(canonicalReference(reference))
        : entry.repoDigests.includes(`${repository}@${digest}`);
    const entry = this.list().find(matches);
    return entry && { entry, reference };
  }
}

/** Gives `tag` to the image `id` and takes it from whichever had it. */
export function moveTag(images: ImageMap, id: string, tag: string): void {
  for (const [otherId, other] of images) {
    if (otherId !== id && other.repoTags.includes(tag)) {
      images.set(otherId, { ...other, repoTags: other.repoTags.filter((t) => t !== tag) });
    }
  }
  const entry = images.get(id);
  if (entry && !entry.repoTags.includes(tag)) {
    images.set(id, { ...entry, repoTags: [...entry.repoTags, tag] });
  }
}
