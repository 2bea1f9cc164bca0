/** What the images take of the disk, over what index and stores say; and how full the disk is. */
import { statfs } from 'node:fs/promises';
import type { ImageEntry } from './image-index.ts';
import { chainIds } from './layer-store.ts';

export interface ImageUsage {
  readonly id: string;
  /** of its layers that other images have, too */
  readonly sharedBytes: number;
  /** containers that use it */
  readonly containers: number;
}

export interface ImagesUsage {
  /** unpacked layers and blobs, used or not */
  readonly bytes: number;
  readonly images: readonly ImageUsage[];
}

/** Share of the file system in use, as `df` counts it: what is reserved for root is not free. */
export async function diskFullness(dir: string): Promise<number> {
  const { blocks, bfree, bavail } = await statfs(dir);
  const used = blocks - bfree;
  return used + bavail > 0 ? used / (used + bavail) : 0;
}

/** Bytes of each layer, bottom first; 0 for one that is not unpacked. */
export function layerSizes(
  { document }: Pick<ImageEntry, 'document'>,
  sizeOf: (chainId: string) => number | undefined,
): number[] {
  return chainIds(document.diffIds).map((chainId) => sizeOf(chainId) ?? 0);
}

export function imageUsages(
  entries: readonly ImageEntry[],
  sizeOf: (chainId: string) => number | undefined,
  containersOf: (imageId: string) => number,
): ImageUsage[] {
  const users = new Map<string, number>();
  for (const { document } of entries) {
    for (const chainId of chainIds(document.diffIds)) {
      users.set(chainId, (users.get(chainId) ?? 0) + 1);
    }
  }
  return entries.map(({ id, document }) => {
    const shared = chainIds(document.diffIds).filter((chainId) => users.get(chainId)! > 1);
    const sharedBytes = shared.reduce((sum, chainId) => sum + (sizeOf(chainId) ?? 0), 0);
    return { id, sharedBytes, containers: containersOf(id) };
  });
}
