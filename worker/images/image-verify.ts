/** Looks whether the store holds what it says: each blob by its digest, each image with all that it needs. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { ContentStore } from './content-store.ts';
import type { ImageEntry } from './image-index.ts';
import { chainIds, type LayerStore } from './layer-store.ts';

/** What was looked at, and what is wrong with it. */
export interface Verified {
  /** digest of a blob, or id of an image */
  readonly subject: string;
  readonly kind: 'blob' | 'image';
  /** null = nothing */
  readonly problem: string | null;
}

/** What is removed meanwhile is passed over. */
export async function* verifyImages(
  content: ContentStore,
  layers: LayerStore,
  entries: () => readonly ImageEntry[],
  signal: AbortSignal,
): AsyncGenerator<Verified> {
  const damaged = new Set<string>();
  for (const digest of await content.list()) {
    const actual = await digestOf(content.path(digest), signal);
    if (actual === null) continue;
    const problem = actual === digest ? null : `its content hashes to ${actual}`;
    if (problem !== null) damaged.add(digest);
    yield { subject: digest, kind: 'blob', problem };
  }
  const unpacked = new Set(layers.list());
  for (const entry of entries()) {
    signal.throwIfAborted();
    yield {
      subject: entry.id,
      kind: 'image',
      problem: imageProblem(entry, content, damaged, unpacked),
    };
  }
}

function imageProblem(
  entry: ImageEntry,
  content: ContentStore,
  damaged: ReadonlySet<string>,
  unpacked: ReadonlySet<string>,
): string | null {
  const { id, manifestDigest, layers, platforms } = entry;
  const whole = platforms === null ? [] : [platforms.digest, ...platforms.blobs];
  for (const blob of [id, manifestDigest, ...layers.map((l) => l.blob), ...whole]) {
    if (!content.has(blob)) return `blob ${blob} is missing`;
    if (damaged.has(blob)) return `blob ${blob} is damaged`;
  }
  const missing = chainIds(entry.document.diffIds).find((chainId) => !unpacked.has(chainId));
  return missing === undefined ? null : `layer ${missing} is not unpacked`;
}

/** null = the file is gone. */
async function digestOf(path: string, signal: AbortSignal): Promise<string | null> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      signal.throwIfAborted();
      hash.update(chunk);
    }
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw err;
  }
  return `sha256:${hash.digest('hex')}`;
}
