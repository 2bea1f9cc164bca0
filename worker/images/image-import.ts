/**
 * Makes an image from a tar: of a file system, as `docker import`, or of what a container changed, as
 * `docker commit`. Records nothing.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { HoldBlob, StoredImage } from './archive-reader.ts';
import { compressionOf, MAGIC_BYTES } from './compression.ts';
import { type ConfigJson, changedConfig } from './config-changes.ts';
import type { ContentStore } from './content-store.ts';
import { encodeManifest, layerMediaType, parseImageDocument } from './image-config.ts';
import { inflate } from './inflate.ts';
import type { LayerSource } from './layer-store.ts';

export interface ImportOptions {
  /** instructions of a Dockerfile */
  readonly changes: readonly string[];
  /** why, for the image's history */
  readonly message: string;
  readonly architecture: string;
  readonly nowMs: number;
}

/** What a new layer is put upon. */
export interface ImageBase {
  /** its document as it is stored */
  readonly document: Uint8Array;
  /** bottom first */
  readonly layers: readonly LayerSource[];
}

export interface CommitOptions extends ImportOptions {
  readonly author: string;
  /** of the image's config, as its document has it; what is not named stays */
  readonly config: ConfigJson;
}

/** Takes the whole stream: the tar of one layer. */
export async function importLayer(
  content: ContentStore,
  input: Readable,
  base: ImageBase,
  options: CommitOptions,
  hold: HoldBlob,
  signal?: AbortSignal,
): Promise<StoredImage> {
  const before = JSON.parse(Buffer.from(base.document).toString('utf8')) as {
    readonly config?: ConfigJson;
    readonly rootfs?: { readonly diff_ids?: readonly string[] };
    readonly history?: readonly object[];
  };
  const config = changedConfig({ ...before.config, ...options.config }, options.changes);
  const layer = await layerOf(content, input, hold, signal);
  const created = new Date(options.nowMs).toISOString();
  const document = {
    ...before,
    created,
    author: options.author,
    config,
    rootfs: { type: 'layers', diff_ids: [...(before.rootfs?.diff_ids ?? []), layer.diffId] },
    history: [...(before.history ?? []), { created, comment: options.message }],
  };
  return stored(content, document, [...base.layers, layer], hold);
}

/** Takes the whole stream: a tar, plain, gzip or zstd. What is no tar fails when it is unpacked. */
export async function importFileSystem(
  content: ContentStore,
  input: Readable,
  options: ImportOptions,
  hold: HoldBlob,
  signal?: AbortSignal,
): Promise<StoredImage> {
  const config = changedConfig({}, options.changes); // before the stream: it may be long
  const layer = await layerOf(content, input, hold, signal);
  const created = new Date(options.nowMs).toISOString();
  const image = {
    created,
    architecture: options.architecture,
    os: 'linux',
    config,
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    history: [{ created, comment: options.message }],
  };
  return stored(content, image, [layer], hold);
}

async function layerOf(
  content: ContentStore,
  input: Readable,
  hold: HoldBlob,
  signal?: AbortSignal,
): Promise<LayerSource> {
  const blob = await receive(content, input, hold, signal);
  const path = content.path(blob);
  const compression = compressionOf(await beginningOf(path));
  return { blob, diffId: await diffIdOf(inflate(createReadStream(path), compression), signal) };
}

async function stored(
  content: ContentStore,
  image: object,
  layers: readonly LayerSource[],
  hold: HoldBlob,
): Promise<StoredImage> {
  const bytes = Buffer.from(JSON.stringify(image));
  const id = await content.put(bytes, hold);
  const described = layers.map(async ({ blob }) => ({
    digest: blob,
    sizeBytes: content.sizeBytes(blob),
    mediaType: layerMediaType(compressionOf(await beginningOf(content.path(blob)))),
  }));
  const config = { digest: id, sizeBytes: bytes.length };
  const manifest = encodeManifest(config, await Promise.all(described));
  return {
    id,
    manifestDigest: await content.put(manifest, hold),
    document: parseImageDocument(bytes),
    layers,
  };
}

async function receive(
  content: ContentStore,
  input: Readable,
  hold: HoldBlob,
  signal?: AbortSignal,
): Promise<string> {
  const ingest = await content.ingest();
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      signal?.throwIfAborted();
      await ingest.write(chunk);
    }
    hold(ingest.digest());
    return await ingest.commit();
  } finally {
    await ingest.abort();
    input.destroy();
  }
}

async function beginningOf(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAGIC_BYTES), 0, MAGIC_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function diffIdOf(tar: AsyncIterable<Buffer>, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of tar) {
    signal?.throwIfAborted();
    hash.update(chunk);
  }
  return `sha256:${hash.digest('hex')}`;
}
