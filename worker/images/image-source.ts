/** Where an image's documents and blobs come from: a registry, or another node of the cluster. */

/** A blob as its image's manifest announces it. */
export interface BlobName {
  readonly digest: string;
  readonly sizeBytes: number;
}

/** The reader destroys it in the end, read or not. */
export interface BlobBody extends AsyncIterable<Buffer> {
  destroy(): void;
}

export interface ImageSource {
  /** @param reference a tag or a digest */
  manifest(reference: string, signal?: AbortSignal): Promise<Buffer>;
  /** From byte `offset` on if the source can; the answer says where it begins. */
  blob(
    blob: BlobName,
    offset: number,
    signal?: AbortSignal,
  ): Promise<{ readonly body: BlobBody; readonly offset: number }>;
}
