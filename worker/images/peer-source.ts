/** An image as another node of the cluster gives it: everything by digest, over the cluster's mutual TLS. */
import { SkepError } from '../../common/base/errors.ts';
import type { BlobOrigin, BlobPart, ReadBlobRequest } from '../../common/model/blob.ts';
import { readBlob } from '../../common/rpc/image-methods.ts';
import type { RpcCalls } from '../../common/rpc/pool.ts';
import type { ReceiveStream } from '../../common/rpc/stream.ts';
import { DOCUMENT_BYTES_MAX } from './content-store.ts';
import type { BlobBody, BlobName, ImageSource } from './image-source.ts';
import type { Transient } from './registry-errors.ts';

/** The node went away in the middle of a blob: another attempt, maybe elsewhere, goes on with it. */
export class PeerLostError extends SkepError implements Transient {
  readonly isTransient = true;

  constructor(cause: unknown) {
    super('unavailable', 'read blob from another node', { cause });
  }
}

export class PeerSource implements ImageSource {
  readonly #calls: Pick<RpcCalls, 'serverStream'>;
  readonly #origin: Omit<BlobOrigin, 'sizeBytes' | 'isManifest'> | null;

  /** @param origin where the node gets what it has not; null = it is asked for what it has alone */
  constructor(
    calls: Pick<RpcCalls, 'serverStream'>,
    origin: Omit<BlobOrigin, 'sizeBytes' | 'isManifest'> | null,
  ) {
    this.#calls = calls;
    this.#origin = origin;
  }

  /** @param reference a digest: nodes know no tags of one another */
  async manifest(reference: string, signal?: AbortSignal): Promise<Buffer> {
    const origin = this.#origin && { ...this.#origin, sizeBytes: 0, isManifest: true };
    const body = await this.#open({ digest: reference, offset: 0, origin }, signal);
    try {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      for await (const chunk of body) {
        sizeBytes += chunk.length;
        if (sizeBytes > DOCUMENT_BYTES_MAX) {
          throw new SkepError('invalid-argument', `manifest ${reference} is too large`);
        }
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    } finally {
      body.destroy(); // else the call stays open, and holds its place at the other node
    }
  }

  async blob(
    { digest, sizeBytes }: BlobName,
    offset: number,
    signal?: AbortSignal,
  ): Promise<{ body: BlobBody; offset: number }> {
    const origin = this.#origin && { ...this.#origin, sizeBytes, isManifest: false };
    return { body: await this.#open({ digest, offset, origin }, signal), offset };
  }

  /** Resolves with the first bytes at hand: that a node has not the blob is told at once. */
  async #open(request: ReadBlobRequest, signal?: AbortSignal): Promise<BlobBody> {
    const stream = await this.#calls.serverStream(readBlob, request, signal ? { signal } : {});
    return new PeerBody(stream, await stream.next(signal), signal);
  }
}

class PeerBody implements BlobBody {
  readonly #stream: ReceiveStream<BlobPart>;
  readonly #first: BlobPart | null;
  readonly #signal: AbortSignal | undefined;

  constructor(
    stream: ReceiveStream<BlobPart>,
    first: BlobPart | null,
    signal: AbortSignal | undefined,
  ) {
    this.#stream = stream;
    this.#first = first;
    this.#signal = signal;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      for (let part = this.#first; part; part = await this.#stream.next(this.#signal)) {
        const { buffer, byteOffset, byteLength } = part.data;
        yield Buffer.from(buffer, byteOffset, byteLength);
      }
    } catch (err) {
      this.#signal?.throwIfAborted();
      throw new PeerLostError(err);
    }
  }

  destroy(): void {
    this.#stream.cancel();
  }
}
