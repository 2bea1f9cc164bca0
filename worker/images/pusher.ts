/**
 * Brings an image into a registry: what the registry lacks of its blobs - mounted from another
 * repository there, sent whole, or in parts that are gone on with after a break -, then its manifest.
 * Sends everything as it is stored, so that the image keeps its digest.
 */
import { createReadStream } from 'node:fs';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { familiarRepository, type ImageReference } from '../../common/model/image-reference.ts';
import type { ExchangeToken } from '../../common/model/registry-token.ts';
import type { ContentStore } from './content-store.ts';
import { type Descriptor, type ManifestDocument, parseManifest } from './image-config.ts';
import type { LayerSource } from './layer-store.ts';
import { visitPlatforms } from './platform-set.ts';
import type { ProgressListener } from './progress.ts';
import type { RegistryAuth } from './registry-authorizer.ts';
import { RegistryClient, type Upload } from './registry-client.ts';
import type { RequestBody } from './registry-endpoint.ts';
import { RegistryError } from './registry-errors.ts';
import type { RegistryHosts } from './registry-hosts.ts';
import { RegistryWork } from './registry-work.ts';
import { retrying } from './retrying.ts';
import { Slots } from './slots.ts';

/** Blobs under way at once, over all pushes (Docker: 5 for each). */
const UPLOADS_MAX = 4;
/** A larger blob is sent in parts of this size: so much is sent again after a break. */
const PART_BYTES = 64 * 1024 * 1024;
/** How often a blob that goes in parts is begun anew. */
const LOSSES_MAX = 4;
const PROGRESS_PERIOD_MS = 100;
const SHORT_ID_LENGTH = 12;

export interface PusherOptions {
  readonly content: ContentStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly hosts: RegistryHosts;
  readonly exchange: ExchangeToken;
  /** bytes; default PART_BYTES */
  readonly partBytes?: number;
}

export interface PushRequest {
  /** with a tag */
  readonly reference: ImageReference;
  /** of a manifest, or of an index whose images are all here */
  readonly manifestDigest: string;
  /** bottom first */
  readonly layers: readonly LayerSource[];
  /** another repository of the same registry that had this blob once; null = none is known */
  readonly knownAt: (blob: string) => string | null;
}

export interface PushContext {
  readonly onProgress: ProgressListener;
  readonly signal?: AbortSignal;
}

interface Sending {
  readonly client: RegistryClient;
  readonly request: PushRequest;
  readonly signal: AbortSignal;
  readonly onProgress: ProgressListener;
}

export class Pusher {
  readonly #options: PusherOptions;
  readonly #partBytes: number;
  readonly #slots = new Slots(UPLOADS_MAX);
  readonly #work = new RegistryWork();

  constructor(options: PusherOptions) {
    this.#options = options;
    this.#partBytes = options.partBytes ?? PART_BYTES;
  }

  /** Aborts what runs. */
  stop(): Promise<void> {
    return this.#work.stop();
  }

  /** The manifest's digest. Rejects with `push <name> to <registry>: <the registry's words>`. */
  async push(
    request: PushRequest,
    auth: RegistryAuth | null,
    { onProgress, signal }: PushContext,
  ): Promise<string> {
    const { hosts, exchange, clock } = this.#options;
    const { domain, path: repository } = request.reference;
    const endpoint = hosts.origin(domain);
    const client = new RegistryClient({ endpoint, repository, auth, domain, exchange, clock });
    const what = { verb: 'push', preposition: 'to' } as const;
    return this.#work.run(what, request.reference, signal, (own) =>
      this.#push({ client, request, signal: own, onProgress }),
    );
  }

  async #push(sending: Sending): Promise<string> {
    const { client, request, signal, onProgress } = sending;
    const { content } = this.#options;
    const { reference, manifestDigest } = request;
    onProgress({
      status: `The push refers to repository [${familiarRepository(reference)}]`,
    });
    const bytes = await content.read(manifestDigest);
    const manifest = parseManifest(bytes);
    if (manifest.kind === 'index') await this.#pushPlatforms(sending, manifest);
    else await this.#pushBlobs(sending, manifest);
    const tag = reference.tag!;
    await retrying(this.#options, signal, () => client.putManifest(tag, bytes, signal));
    onProgress({ status: `${tag}: digest: ${manifestDigest} size: ${bytes.length}` });
    const aux = { Tag: tag, Digest: manifestDigest, Size: bytes.length };
    onProgress({ progressDetail: {}, aux });
    return manifestDigest;
  }

  async #pushBlobs(
    sending: Sending,
    manifest: Extract<ManifestDocument, { kind: 'manifest' }>,
  ): Promise<void> {
    const { request, onProgress } = sending;
    const layers = new Map(manifest.layers.map((layer) => [layer.digest, layer]));
    for (const { digest } of layers.values()) {
      onProgress({ id: shownId(request, digest), status: 'Preparing', progressDetail: {} });
    }
    await Promise.all([...layers.values()].map((layer) => this.#ensureBlob(sending, layer)));
    await this.#ensureBlob({ ...sending, onProgress: () => {} }, manifest.config);
  }

  /** Each image under its digest: a registry wants them before the index that names them. */
  async #pushPlatforms(
    sending: Sending,
    index: Extract<ManifestDocument, { kind: 'index' }>,
  ): Promise<void> {
    const { client, signal } = sending;
    const { content } = this.#options;
    await visitPlatforms(index, {
      manifest: ({ digest }) => content.read(digest),
      blob: (descriptor) => this.#ensureBlob(sending, descriptor),
      complete: ({ digest }, bytes) =>
        retrying(this.#options, signal, () => client.putManifest(digest, bytes, signal)),
    });
  }

  async #ensureBlob(sending: Sending, blob: Descriptor): Promise<void> {
    const { client, request, signal, onProgress } = sending;
    const id = shownId(request, blob.digest);
    const tell = (status: string): void => onProgress({ id, status, progressDetail: {} });
    await this.#slots.run(signal, async () => {
      const isThere = (): Promise<boolean> => client.hasBlob(blob.digest, signal);
      if (await retrying(this.#options, signal, isThere)) {
        tell('Layer already exists');
        return;
      }
      const from = request.knownAt(blob.digest);
      const mount = from === null ? null : { digest: blob.digest, from };
      const begin = (): Promise<Upload | null> => client.beginUpload(mount, signal);
      const upload = await retrying(this.#options, signal, begin);
      if (upload === null) {
        tell(`Mounted from ${from}`);
        return;
      }
      if (blob.sizeBytes <= this.#partBytes) await this.#sendWhole(sending, blob, upload);
      else await this.#sendParts(sending, blob, upload);
      tell('Pushed');
    });
  }

  async #sendWhole(sending: Sending, blob: Descriptor, first: Upload): Promise<void> {
    const { client, signal } = sending;
    let upload: Upload | null = first;
    await retrying(this.#options, signal, async () => {
      // After a break the upload may be half there, or over with its answer lost: begin anew.
      upload ??= (await client.hasBlob(blob.digest, signal))
        ? null
        : await client.beginUpload(null, signal);
      if (upload === null) return;
      const { url } = upload;
      upload = null;
      const body = this.#body(sending, blob, 0, blob.sizeBytes);
      await client.finishUpload(url, blob.digest, body, signal);
    });
  }

  async #sendParts(sending: Sending, blob: Descriptor, first: Upload): Promise<void> {
    const { client, signal } = sending;
    let upload: Upload | null = first;
    for (let losses = 0; upload !== null; losses++) {
      try {
        await this.#sendPartsOf(sending, blob, upload);
        return;
      } catch (err) {
        // Docker's own registry (2.8) goes on with no upload that broke off inside a part.
        if (!(err instanceof UploadLostError) || losses === LOSSES_MAX) throw err;
        upload = await retrying(this.#options, signal, () => client.beginUpload(null, signal));
      }
    }
  }

  async #sendPartsOf(sending: Sending, blob: Descriptor, upload: Upload): Promise<void> {
    const { client, signal } = sending;
    const partBytes = Math.max(this.#partBytes, upload.partBytesMin);
    let { url } = upload;
    let sentBytes = 0;
    while (sentBytes < blob.sizeBytes) {
      let isKnown = true;
      await retrying(this.#options, signal, async () => {
        if (!isKnown) ({ url, bytes: sentBytes } = await resumed(client, url, signal));
        isKnown = false;
        const endBytes = Math.min(sentBytes + partBytes, blob.sizeBytes);
        if (sentBytes < endBytes) {
          const body = this.#body(sending, blob, sentBytes, endBytes);
          url = await client.sendPart(url, sentBytes, body, signal);
        }
        sentBytes = endBytes;
      });
    }
    let isFirst = true;
    await retrying(this.#options, signal, async () => {
      if (!isFirst && (await client.hasBlob(blob.digest, signal))) return;
      isFirst = false;
      await client.finishUpload(url, blob.digest, null, signal);
    });
  }

  /** The bytes `[begin, end)` of a blob, told as they are read. */
  #body(sending: Sending, blob: Descriptor, begin: number, end: number): RequestBody {
    const { content, clock } = this.#options;
    const id = shownId(sending.request, blob.digest);
    return {
      sizeBytes: end - begin,
      open: () => {
        const source = createReadStream(content.path(blob.digest), { start: begin, end: end - 1 });
        let current = begin;
        let shownMs = clock.monotonicMs();
        source.on('data', (chunk) => {
          current += chunk.length;
          if (clock.monotonicMs() - shownMs < PROGRESS_PERIOD_MS) return;
          shownMs = clock.monotonicMs();
          const progressDetail = { current, total: blob.sizeBytes };
          sending.onProgress({ id, status: 'Pushing', progressDetail });
        });
        return source;
      },
    };
  }
}

/** The registry does not know an upload (any more): it begins at its first byte again. */
class UploadLostError extends SkepError {
  constructor(cause: unknown) {
    super('unavailable', 'go on with an upload', { cause });
  }
}

async function resumed(
  client: RegistryClient,
  url: string,
  signal: AbortSignal,
): Promise<{ url: string; bytes: number }> {
  try {
    return await client.uploadedBytes(url, signal);
  } catch (err) {
    if (err instanceof RegistryError && err.status >= 400 && err.status < 429) {
      throw new UploadLostError(err);
    }
    throw err;
  }
}

/** Docker shows layers by what they hold, not by how that is compressed. */
function shownId({ layers }: PushRequest, blob: string): string {
  const digest = layers.find((layer) => layer.blob === blob)?.diffId ?? blob;
  return digest.slice('sha256:'.length).slice(0, SHORT_ID_LENGTH);
}
