/** An image as the rest of the daemon sees it. */
import { familiarReference, parseImageReference } from '../../common/model/image-reference.ts';
import type { ImageConfig, ImageHistoryEntry } from './image-config.ts';
import type { ImageEntry } from './image-index.ts';

export interface ImageRecord {
  /** `sha256:...` */
  readonly id: string;
  /** as people write them: `web:1` */
  readonly repoTags: readonly string[];
  /** `web@sha256:...` */
  readonly repoDigests: readonly string[];
  /** 0 when the image does not say */
  readonly createdAtMs: number;
  /** of the unpacked layers' files */
  readonly sizeBytes: number;
  /** `amd64`, `arm64`, ... */
  readonly architecture: string;
  readonly variant: string;
  readonly os: string;
  readonly author: string;
  readonly config: ImageConfig;
  /** diff ids, bottom first */
  readonly layers: readonly string[];
  readonly history: readonly ImageHistoryEntry[];
}

export function recordOf(entry: ImageEntry): ImageRecord {
  const { document } = entry;
  const familiar = (name: string): string => familiarReference(parseImageReference(name));
  return {
    id: entry.id,
    repoTags: entry.repoTags.map(familiar),
    repoDigests: entry.repoDigests.map(familiar),
    createdAtMs: document.createdAtMs,
    sizeBytes: entry.sizeBytes,
    architecture: document.architecture,
    variant: document.variant,
    os: document.os,
    author: document.author,
    config: document.config,
    layers: document.diffIds,
    history: document.history,
  };
}
