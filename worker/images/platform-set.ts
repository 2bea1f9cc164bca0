/**
 * An index with the images of all its platforms, as something that is kept, sent and saved whole. What this
 * machine runs of it is an image like any other.
 */
import { SkepError } from '../../common/base/errors.ts';
import { type Descriptor, type ManifestDocument, parseManifest } from './image-config.ts';

export interface PlatformSet {
  /** of the index */
  readonly digest: string;
  /** manifests, configs and layers that it leads to; all are in the store */
  readonly blobs: readonly string[];
}

/** What is done with each part of an index. */
export interface PlatformVisitor {
  manifest(descriptor: Descriptor): Promise<Buffer>;
  blob(descriptor: Descriptor): Promise<void>;
  /** after all blobs of the manifest */
  complete?(descriptor: Descriptor, manifest: Buffer): Promise<void>;
}

/** Windows' base layers, which their maker alone distributes. */
export function isForeign({ mediaType }: Pick<Descriptor, 'mediaType'>): boolean {
  return /foreign|nondistributable/.test(mediaType);
}

/** One manifest after the other; resolves with the digests of all that was visited. */
export async function visitPlatforms(
  index: Extract<ManifestDocument, { kind: 'index' }>,
  visitor: PlatformVisitor,
): Promise<string[]> {
  const visited = new Set<string>();
  for (const descriptor of index.manifests) {
    if (visited.has(descriptor.digest)) continue;
    const bytes = await visitor.manifest(descriptor);
    const manifest = parseManifest(bytes);
    if (manifest.kind === 'index') {
      throw new SkepError('unimplemented', 'read image manifest: an index inside an index');
    }
    const parts = [manifest.config, ...manifest.layers.filter((layer) => !isForeign(layer))];
    const unique = new Map(parts.map((part) => [part.digest, part]));
    await Promise.all([...unique.values()].map((part) => visitor.blob(part)));
    await visitor.complete?.(descriptor, bytes);
    for (const digest of [descriptor.digest, ...unique.keys()]) visited.add(digest);
  }
  return [...visited];
}
