/** Makes an image of one layer from a tar of a file system, as `docker import`. Records nothing. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { HoldBlob, StoredImage } from './archive-reader.ts';
import { compressionOf, MAGIC_BYTES } from './compression.ts';
import { changedConfig } from './config-changes.ts';
import type { ContentStore } from './content-store.ts';
import { encodeManifest, layerMediaType, parseImageDocument } from './image-config.ts';
import { inflate } from './inflate.ts';

export interface ImportOptions {
  /** instructions of a Dockerfile */
  readonly changes: readonly string[];
  /** why, for the image's history */
  readonly message: string;
  readonly architecture: string;
  readonly nowMs: number;
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
  const blob = await receive(content, input, hold, signal);
  const path = content.path(blob);
  const compression = compressionOf(await beginningOf(path));
  const diffId = await diffIdOf(inflate(createReadStream(path), compression), signal);
  const created = new Date(options.nowMs).toISOString();
  const image = {
    created,
    architecture: options.architecture,
    os: 'linux',
    config,
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created, comment: options.message }],
  };
  const bytes = Buffer.from(JSON.stringify(image));
  const id = await content.put(bytes, hold);
  const manifest = encodeManifest({ digest: id, sizeBytes: bytes.length }, [
    { digest: blob, sizeBytes: content.sizeBytes(blob), mediaType: layerMediaType(compression) },
  ]);
  return {
    id,
    manifestDigest: await content.put(manifest, hold),
    document: parseImageDocument(bytes),
    layers: [{ blob, diffId }],
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
