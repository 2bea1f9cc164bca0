/**
 * Reads image archives - what `docker save` and `skopeo` write: docker-archive and OCI layout, plain,
 * gzip or zstd - into the content store. Gives names and digests back; unpacks nothing, records nothing.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';
import { type ImageReference, parseImageReference } from '../../common/model/image-reference.ts';
import { compressionOf, MAGIC_BYTES } from './compression.ts';
import { type ContentStore, DOCUMENT_BYTES_MAX, type Ingest } from './content-store.ts';
import {
  choosePlatform,
  type Descriptor,
  encodeManifest,
  type ImageDocument,
  layerMediaType,
  type ManifestDocument,
  parseImageDocument,
  parseJson,
  parseManifest,
} from './image-config.ts';
import { inflate } from './inflate.ts';
import type { LayerSource } from './layer-store.ts';
import { type PlatformSet, visitPlatforms } from './platform-set.ts';
import { type TarEntry, TarReader, type TarSink } from './tar-reader.ts';

/** An archive of more files than this is not an image archive. */
const FILES_MAX = 4096;
const LINK_HOPS_MAX = 8;
/** Annotations that carry a name, most telling first (containerd, then the OCI specification). */
const NAME_ANNOTATIONS = ['io.containerd.image.name', 'org.opencontainers.image.ref.name'];

/** An image whose blobs are all in the content store. */
export interface StoredImage {
  /** digest of the config = the image id */
  readonly id: string;
  readonly manifestDigest: string;
  readonly document: ImageDocument;
  /** bottom first */
  readonly layers: readonly LayerSource[];
  /** the index that it came with, when all of that is in the store, too */
  readonly platforms?: PlatformSet | null;
}

export interface ArchiveImage extends StoredImage {
  readonly references: readonly ImageReference[];
}

/** Keeps blobs from being swept while their image is not recorded yet. */
export type HoldBlob = (digest: string) => void;

function refused(rule: string): SkepError {
  return new SkepError('invalid-argument', `load image: ${rule}`);
}

/** Takes the whole stream. Throws `invalid-argument` when it is no image archive. */
export async function readImageArchive(
  content: ContentStore,
  input: Readable,
  architecture: string,
  hold: HoldBlob,
  signal?: AbortSignal,
): Promise<ArchiveImage[]> {
  const files = new ArchiveFiles(content, hold);
  try {
    await receive(await inflated(input), files, signal);
    // Archives of docker (since 25) and of ours are both; the layout alone keeps digests and indexes.
    if (await isWholeLayout(files)) return await readOciLayout(files, architecture);
    if (files.has('manifest.json')) return await readDockerArchive(content, files);
    if (files.has('index.json')) return await readOciLayout(files, architecture);
    throw refused('neither manifest.json nor index.json in the archive');
  } finally {
    input.destroy();
    await files.close();
  }
}

/** The stream, inflated when it begins as gzip or zstd do. */
async function inflated(input: Readable): Promise<AsyncIterable<Buffer>> {
  const chunks = input[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let start = Buffer.alloc(0);
  while (start.length < MAGIC_BYTES) {
    const next = await chunks.next();
    if (next.done) break;
    start = Buffer.concat([start, next.value]);
  }
  const whole = (async function* (): AsyncGenerator<Buffer> {
    if (start.length > 0) yield start;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  })();
  return inflate(Readable.from(whole, { objectMode: false }), compressionOf(start));
}

/** Collects what one chunk means, so that it can be carried out with promises after the parse. */
class PendingSink implements TarSink {
  steps: (
    | { kind: 'entry'; entry: TarEntry }
    | { kind: 'data'; bytes: Buffer }
    | { kind: 'end' }
  )[] = [];

  entry(entry: TarEntry): void {
    this.steps.push({ kind: 'entry', entry });
  }

  data(bytes: Buffer): void {
    this.steps.push({ kind: 'data', bytes });
  }

  end(): void {
    this.steps.push({ kind: 'end' });
  }
}

async function receive(
  input: AsyncIterable<Buffer>,
  files: ArchiveFiles,
  signal?: AbortSignal,
): Promise<void> {
  const sink = new PendingSink();
  const reader = new TarReader(sink);
  let current: Ingest | null = null;
  for await (const chunk of input) {
    signal?.throwIfAborted();
    reader.push(chunk);
    for (const step of sink.steps) {
      if (step.kind === 'entry') current = await files.add(step.entry);
      else if (step.kind === 'data') await current?.write(step.bytes);
      else current = null;
    }
    sink.steps = [];
  }
  reader.finish();
}

/** The archive's files, as unpublished blobs, by cleaned name. */
class ArchiveFiles {
  readonly #content: ContentStore;
  readonly hold: HoldBlob;
  readonly #files = new Map<string, Ingest>();
  readonly #links = new Map<string, string>();
  readonly #published = new Map<Ingest, string>();

  constructor(content: ContentStore, hold: HoldBlob) {
    this.#content = content;
    this.hold = hold;
  }

  async add(entry: TarEntry): Promise<Ingest | null> {
    const name = cleanName(entry.name);
    if (this.#files.size + this.#links.size >= FILES_MAX) {
      throw refused(`more than ${FILES_MAX} files in the archive`);
    }
    if (entry.kind === 'symlink') {
      const directory = name.includes('/') ? name.slice(0, name.lastIndexOf('/')) : '';
      this.#links.set(name, cleanName(`${directory}/${entry.linkName}`));
    }
    if (entry.kind === 'hardlink') this.#links.set(name, cleanName(entry.linkName));
    if (entry.kind !== 'file') return null;
    const ingest = await this.#content.ingest();
    await this.#files.get(name)?.abort(); // the last of two entries with one name counts
    this.#files.set(name, ingest);
    return ingest;
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  async read(name: string): Promise<Buffer> {
    const ingest = this.#require(name);
    if (ingest.sizeBytes > DOCUMENT_BYTES_MAX) {
      throw refused(`${name} has ${ingest.sizeBytes} bytes, above ${DOCUMENT_BYTES_MAX}`);
    }
    const published = this.#published.get(ingest);
    return readFile(published === undefined ? ingest.path : this.#content.path(published));
  }

  /** Puts the file into the content store; `expected` is checked. Returns its digest. */
  async publish(name: string, expected?: string): Promise<string> {
    const ingest = this.#require(name);
    const known = this.#published.get(ingest);
    if (known !== undefined) return known;
    this.hold(ingest.digest());
    const digest = await ingest.commit(expected);
    this.#published.set(ingest, digest);
    return digest;
  }

  /** Drops what was not published. */
  async close(): Promise<void> {
    for (const ingest of this.#files.values()) await ingest.abort();
  }

  #find(name: string): Ingest | undefined {
    let current = cleanName(name);
    for (let hops = 0; hops < LINK_HOPS_MAX; hops++) {
      const file = this.#files.get(current);
      if (file) return file;
      const target = this.#links.get(current);
      if (target === undefined) return undefined;
      current = target;
    }
    return undefined;
  }

  #require(name: string): Ingest {
    const ingest = this.#find(name);
    if (!ingest) throw refused(`${name} is missing in the archive`);
    return ingest;
  }
}

/** Only a key of a map, never a path on disk. */
function cleanName(name: string): string {
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

interface DockerArchiveItem {
  readonly Config: string;
  /** null = an image without a name */
  readonly RepoTags: readonly string[] | null;
  /** null = an image without layers, as Go writes an empty list */
  readonly Layers: readonly string[] | null;
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isTextsOrNothing(value: unknown): boolean {
  return value === undefined || value === null || isTexts(value);
}

function isDockerArchiveItem(value: unknown): value is DockerArchiveItem {
  const item = value as Partial<DockerArchiveItem> | null;
  return (
    typeof item?.Config === 'string' &&
    isTextsOrNothing(item.Layers) &&
    isTextsOrNothing(item.RepoTags)
  );
}

async function readDockerArchive(
  content: ContentStore,
  files: ArchiveFiles,
): Promise<ArchiveImage[]> {
  const items = parseJson(await files.read('manifest.json'), 'manifest.json');
  if (!Array.isArray(items) || !items.every(isDockerArchiveItem)) {
    throw refused('manifest.json is not that of a docker-archive');
  }
  const images: ArchiveImage[] = [];
  for (const item of items) {
    const id = await files.publish(item.Config);
    const document = parseImageDocument(await files.read(item.Config));
    const blobs: string[] = [];
    for (const layer of item.Layers ?? []) blobs.push(await files.publish(layer));
    const manifest = encodeManifest(
      { digest: id, sizeBytes: content.sizeBytes(id) },
      blobs.map((digest) => ({
        digest,
        sizeBytes: content.sizeBytes(digest),
        mediaType: mediaTypeOf(content.path(digest)),
      })),
    );
    images.push({
      id,
      manifestDigest: await content.put(manifest, files.hold),
      document,
      layers: pairLayers(document, blobs),
      references: (item.RepoTags ?? []).map(parseImageReference),
    });
  }
  return images;
}

/** True when the files that `index.json` names first are there. */
async function isWholeLayout(files: ArchiveFiles): Promise<boolean> {
  if (!files.has('oci-layout') || !files.has('index.json')) return false;
  const index = parseManifest(await files.read('index.json'));
  return index.kind === 'index' && index.manifests.every((m) => files.has(blobName(m.digest)));
}

async function readOciLayout(files: ArchiveFiles, architecture: string): Promise<ArchiveImage[]> {
  const index = parseManifest(await files.read('index.json'));
  if (index.kind !== 'index') throw refused('index.json is not an OCI index');
  const images: ArchiveImage[] = [];
  for (const descriptor of index.manifests) {
    images.push(await readOciImage(files, descriptor, architecture));
  }
  return images;
}

async function readOciImage(
  files: ArchiveFiles,
  descriptor: Descriptor,
  architecture: string,
): Promise<ArchiveImage> {
  let chosen = descriptor;
  let manifest = parseManifest(await files.read(blobName(chosen.digest)));
  let platforms: PlatformSet | null = null;
  if (manifest.kind === 'index') {
    platforms = await publishPlatforms(files, descriptor.digest, manifest);
    chosen = choosePlatform(manifest.manifests, architecture);
    manifest = parseManifest(await files.read(blobName(chosen.digest)));
  }
  if (manifest.kind === 'index') throw refused('an index of indexes of indexes');
  const manifestDigest = await files.publish(blobName(chosen.digest), chosen.digest);
  const id = await files.publish(blobName(manifest.config.digest), manifest.config.digest);
  const document = parseImageDocument(await files.read(blobName(id)));
  const blobs: string[] = [];
  for (const { digest } of manifest.layers) {
    blobs.push(await files.publish(blobName(digest), digest));
  }
  const layers = pairLayers(document, blobs);
  return { id, manifestDigest, document, layers, platforms, references: namesOf(descriptor) };
}

/** null = the archive does not have all that the index leads to, which is common: the rest of it is left. */
async function publishPlatforms(
  files: ArchiveFiles,
  digest: string,
  index: Extract<ManifestDocument, { kind: 'index' }>,
): Promise<PlatformSet | null> {
  let isWhole = index.manifests.every((m) => files.has(blobName(m.digest)));
  if (!isWhole) return null;
  await visitPlatforms(index, {
    manifest: (m) => files.read(blobName(m.digest)),
    blob: async (part) => {
      isWhole &&= files.has(blobName(part.digest));
    },
  });
  if (!isWhole) return null;
  const publish = async (name: string): Promise<void> => {
    await files.publish(blobName(name), name);
  };
  const blobs = await visitPlatforms(index, {
    manifest: (m) => files.read(blobName(m.digest)),
    blob: (part) => publish(part.digest),
    complete: (m) => publish(m.digest),
  });
  await publish(digest);
  return { digest, blobs };
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** A bare word there is a tag without a repository (skopeo's `oci:dir:latest`): no name at all. */
function namesOf(descriptor: Descriptor): ImageReference[] {
  for (const annotation of NAME_ANNOTATIONS) {
    const name = descriptor.annotations[annotation];
    if (name !== undefined && /[:/]/.test(name)) return [parseImageReference(name)];
  }
  return [];
}

/** Joins blobs and diff ids. Throws `invalid-argument` when their numbers differ. */
export function pairLayers(document: ImageDocument, blobs: readonly string[]): LayerSource[] {
  if (blobs.length !== document.diffIds.length) {
    throw new SkepError(
      'invalid-argument',
      `read image: ${blobs.length} layers, but its config names ${document.diffIds.length}`,
    );
  }
  return blobs.map((blob, i) => ({ blob, diffId: document.diffIds[i]! }));
}

function mediaTypeOf(path: string): string {
  const start = Buffer.alloc(MAGIC_BYTES);
  const fd = openSync(path, 'r');
  try {
    readSync(fd, start, 0, start.length, 0);
  } finally {
    closeSync(fd);
  }
  return layerMediaType(compressionOf(start));
}
