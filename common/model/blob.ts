/** Content of images as nodes ask one another for it: by digest, with the way to the registry that has it. */
import type { RegistryCredentials } from './registry-auth.ts';

/** Where a node that has not the blob can get it. */
export interface BlobOrigin {
  /** registry and repository, as in image names */
  readonly domain: string;
  readonly path: string;
  readonly auth: RegistryCredentials | null;
  /** as announced; 0 for a manifest, whose size nobody announces */
  readonly sizeBytes: number;
  /** registries serve manifests and blobs under different names */
  readonly isManifest: boolean;
}

export interface ReadBlobRequest {
  /** `sha256:...` */
  readonly digest: string;
  /** first byte that is wanted */
  readonly offset: number;
  /** null = only what the node has */
  readonly origin: BlobOrigin | null;
}

/** Bytes that follow one another. */
export interface BlobPart {
  readonly data: Uint8Array;
}

/** To the node that is to have the image. */
export interface TakeImageRequest {
  readonly manifestDigest: string;
  /** canonical */
  readonly tags: readonly string[];
  /** the node that has it */
  readonly source: { readonly nodeId: string; readonly address: string };
}

/** References as services' specs have them, former specs included. */
export interface WantedImages {
  readonly images: readonly string[];
}

export interface ImageTaken {
  readonly imageId: string;
}
