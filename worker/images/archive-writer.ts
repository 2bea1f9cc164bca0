/**
 * Writes image archives, streamed: `blobs/` with `manifest.json` (docker-archive) and `index.json`
 * (OCI layout) at once, as Docker does since 25. Blobs go out as they are stored.
 */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { familiarReference, parseImageReference } from '../../common/model/image-reference.ts';
import type { ContentStore } from './content-store.ts';
import { MEDIA_TYPES } from './image-config.ts';
import type { ImageEntry } from './image-index.ts';
import { encodeTarHeader, tarPadding, tarTrailer } from './tar-writer.ts';

export interface ArchivedImage {
  readonly entry: ImageEntry;
  /** canonical names to write */
  readonly tags: readonly string[];
}

export function writeImageArchive(
  content: ContentStore,
  images: readonly ArchivedImage[],
): Readable {
  return Readable.from(archiveChunks(content, images), { objectMode: false });
}

async function* archiveChunks(
  content: ContentStore,
  images: readonly ArchivedImage[],
): AsyncGenerator<Buffer> {
  yield* directory('blobs/');
  yield* directory('blobs/sha256/');
  const written = new Set<string>();
  for (const { entry } of images) {
    const { layers, id, manifestDigest, platforms } = entry;
    const whole = platforms === null ? [] : [...platforms.blobs, platforms.digest];
    const digests = [...layers.map((l) => l.blob), id, manifestDigest, ...whole];
    for (const digest of digests) {
      if (written.has(digest)) continue;
      written.add(digest);
      yield* blob(content, digest);
    }
  }
  yield* document('index.json', await ociIndex(content, images));
  yield* document('manifest.json', dockerManifest(images));
  yield* document('oci-layout', { imageLayoutVersion: '1.0.0' });
  yield tarTrailer();
}

function* directory(name: string): Generator<Buffer> {
  yield encodeTarHeader({ name, kind: 'directory' });
}

async function* blob(content: ContentStore, digest: string): AsyncGenerator<Buffer> {
  const sizeBytes = content.sizeBytes(digest);
  yield encodeTarHeader({ name: blobName(digest), kind: 'file', sizeBytes });
  yield* createReadStream(content.path(digest)) as AsyncIterable<Buffer>;
  yield tarPadding(sizeBytes);
}

function* document(name: string, value: unknown): Generator<Buffer> {
  const bytes = Buffer.from(JSON.stringify(value));
  yield encodeTarHeader({ name, kind: 'file', sizeBytes: bytes.length });
  yield bytes;
  yield tarPadding(bytes.length);
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function familiar(name: string): string {
  return familiarReference(parseImageReference(name));
}

function dockerManifest(images: readonly ArchivedImage[]): object {
  return images.map(({ entry, tags }) => ({
    Config: blobName(entry.id),
    RepoTags: tags.map(familiar),
    Layers: entry.layers.map((layer) => blobName(layer.blob)),
  }));
}

async function ociIndex(content: ContentStore, images: readonly ArchivedImage[]): Promise<object> {
  const manifests: object[] = [];
  for (const { entry, tags } of images) {
    const digest = entry.platforms?.digest ?? entry.manifestDigest;
    const bytes = await content.read(digest);
    const usual = entry.platforms === null ? MEDIA_TYPES.ociManifest : MEDIA_TYPES.ociIndex;
    const { mediaType = usual } = JSON.parse(bytes.toString('utf8')) as { mediaType?: string };
    const descriptor = { mediaType, digest, size: bytes.length };
    if (tags.length === 0) manifests.push(descriptor);
    for (const tag of tags) manifests.push({ ...descriptor, annotations: annotationsOf(tag) });
  }
  return { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests };
}

function annotationsOf(tag: string): Record<string, string> {
  return {
    'io.containerd.image.name': tag,
    'org.opencontainers.image.ref.name': tag.slice(tag.lastIndexOf(':') + 1),
  };
}
