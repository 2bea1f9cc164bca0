/**
 * Brings an image from its registry into the content store: manifest, platform choice, parallel
 * verified blobs, another attempt after passing trouble. Records and unpacks nothing.
 */
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { ImageReference } from '../../common/model/image-reference.ts';
import { type HoldBlob, pairLayers, type StoredImage } from './archive-reader.ts';
import { type ContentStore, type Ingest, sha256Digest } from './content-store.ts';
import {
  choosePlatform,
  type Descriptor,
  type ManifestDocument,
  type Platform,
  parseImageDocument,
  parseManifest,
} from './image-config.ts';
import type { ProgressListener } from './progress.ts';
import type { RegistryAuth } from './registry-authorizer.ts';
import { RegistryClient } from './registry-client.ts';
import type { RegistryEndpoint } from './registry-endpoint.ts';
import type { RegistryHosts } from './registry-hosts.ts';
import { RegistryWork } from './registry-work.ts';
import { retrying } from './retrying.ts';
import { SilentRegistries } from './silent-registries.ts';
import { Slots } from './slots.ts';

/** Blobs under way at once, over all pulls (Docker: 3 for each). */
const DOWNLOADS_MAX = 4;
const PROGRESS_PERIOD_MS = 100;
const SHORT_ID_LENGTH = 12;
const PULL = { verb: 'pull', preposition: 'from' } as const;
const RESOLVE = { verb: 'resolve', preposition: 'from' } as const;

export interface PullerOptions {
  readonly content: ContentStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** GOARCH of this machine */
  readonly architecture: string;
  readonly hosts: RegistryHosts;
}

export interface PullContext {
  /** told of each blob before it is looked for */
  readonly hold: HoldBlob;
  readonly onProgress: ProgressListener;
  readonly signal?: AbortSignal;
}

export interface PulledImage extends StoredImage {
  /** what the name stood for in the registry: the digest of the manifest or of the index */
  readonly digests: readonly string[];
}

interface Download extends PullContext {
  readonly client: RegistryClient;
  readonly descriptor: Descriptor;
  readonly signal: AbortSignal;
}

export class Puller {
  readonly #options: PullerOptions;
  readonly #silent: SilentRegistries;
  readonly #downloads = new Map<string, Promise<void>>();
  readonly #work = new RegistryWork();
  readonly #slots = new Slots(DOWNLOADS_MAX);

  constructor(options: PullerOptions) {
    this.#options = options;
    this.#silent = new SilentRegistries(options.clock);
  }

  /** Aborts what runs. */
  stop(): Promise<void> {
    return this.#work.stop();
  }

  /** Rejects with `pull <name> from <registry>: <the registry's words>`. */
  pull(
    reference: ImageReference,
    auth: RegistryAuth | null,
    context: PullContext,
  ): Promise<PulledImage> {
    return this.#work.run(PULL, reference, context.signal, (signal) =>
      this.#fromFirst(reference, auth, signal, (client) =>
        this.#pull(reference, client, { ...context, signal }),
      ),
    );
  }

  /**
   * The digest that the name stands for now, and for which platforms. Stores nothing. Rejects with
   * `deadline-exceeded` after the time of SilentRegistries.
   */
  resolve(
    reference: ImageReference,
    auth: RegistryAuth | null,
    signal?: AbortSignal,
  ): Promise<{ digest: string; platforms: Platform[] }> {
    return this.#work.run(RESOLVE, reference, signal, (own) =>
      this.#bounded(reference.domain, own, (bounded) =>
        this.#fromFirst(reference, auth, bounded, (client) =>
          this.#resolve(reference, client, bounded),
        ),
      ),
    );
  }

  async #resolve(
    reference: ImageReference,
    client: RegistryClient,
    signal: AbortSignal,
  ): Promise<{ digest: string; platforms: Platform[] }> {
    const { bytes, digest } = await this.#manifest(client, manifestName(reference), signal);
    const manifest = parseManifest(bytes);
    if (manifest.kind === 'index') return { digest, platforms: platformsOf(manifest) };
    const name = manifest.config.digest;
    const config = await retrying(this.#options, signal, () => client.document(name, signal));
    const { architecture, os } = parseImageDocument(config);
    return { digest, platforms: [{ architecture, os }] };
  }

  async #bounded<T>(
    domain: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const limit = abortWith(signal);
    const limitMs = this.#silent.limitMs(domain);
    let isLate = false;
    const timer = this.#options.clock.setTimer(limitMs, () => {
      isLate = true;
      this.#silent.silent(domain);
      limit.abort(new SkepError('deadline-exceeded', `no answer in ${limitMs} ms`));
    });
    try {
      return await work(limit.signal);
    } catch (err) {
      throw isLate ? limit.signal.reason : err;
    } finally {
      timer.cancel();
      limit.release();
      if (!isLate && !signal.aborted) this.#silent.answered(domain);
    }
  }

  /** Tries the mirrors in their order, then the registry, whose failure is the one that is told. */
  async #fromFirst<T>(
    { domain, path: repository }: ImageReference,
    auth: RegistryAuth | null,
    signal: AbortSignal,
    work: (client: RegistryClient) => Promise<T>,
  ): Promise<T> {
    const { hosts, clock, log } = this.#options;
    const client = (endpoint: RegistryEndpoint, own: RegistryAuth | null): RegistryClient =>
      new RegistryClient({ endpoint, repository, auth: own, clock });
    for (const mirror of hosts.mirrors(domain)) {
      try {
        return await work(client(mirror, null));
      } catch (err) {
        signal.throwIfAborted();
        log.warn({ err, mirror: mirror.host, domain }, 'mirror failed, the next one is asked');
      }
    }
    return work(client(hosts.origin(domain), auth));
  }

  async #pull(
    reference: ImageReference,
    client: RegistryClient,
    context: PullContext & { signal: AbortSignal },
  ): Promise<PulledImage> {
    const { content, architecture } = this.#options;
    const { onProgress, hold, signal } = context;
    const tag = reference.tag ?? reference.digest!;
    onProgress({ id: tag, status: `Pulling from ${reference.path}` });
    const top = await this.#manifest(client, manifestName(reference), signal);
    let { bytes, digest: manifestDigest } = top;
    let manifest = parseManifest(bytes);
    if (manifest.kind === 'index') {
      const chosen = choosePlatform(manifest.manifests, architecture);
      ({ bytes, digest: manifestDigest } = await this.#manifest(client, chosen.digest, signal));
      manifest = parseManifest(bytes);
    }
    if (manifest.kind === 'index') {
      throw new SkepError('unimplemented', 'read image manifest: an index inside an index');
    }
    refuseUnsupported(manifest.layers);
    await content.put(bytes, hold);
    // The index too: it is what the image's digest stands for.
    if (top.digest !== manifestDigest) await content.put(top.bytes, hold);
    const id = manifest.config.digest;
    const silent: ProgressListener = () => {};
    await this.#ensureBlob({
      ...context,
      client,
      descriptor: manifest.config,
      onProgress: silent,
    });
    const document = parseImageDocument(await content.read(id));
    const digests = manifest.layers.map((layer) => layer.digest);
    const layers = pairLayers(document, digests);
    const unique = new Map(manifest.layers.map((layer) => [layer.digest, layer]));
    await Promise.all(
      [...unique.values()].map((descriptor) =>
        this.#ensureBlob({ ...context, client, descriptor }),
      ),
    );
    return { id, manifestDigest, document, layers, digests: [top.digest] };
  }

  async #manifest(
    client: RegistryClient,
    name: string,
    signal: AbortSignal,
  ): Promise<{ bytes: Buffer; digest: string }> {
    const bytes = await retrying(this.#options, signal, () => client.manifest(name, signal));
    const digest = sha256Digest(bytes);
    if (name.startsWith('sha256:') && digest !== name) {
      throw new SkepError('data-loss', `verify manifest ${name}: its content hashes to ${digest}`);
    }
    return { bytes, digest };
  }

  /** Once for all who want the blob; whoever waited for a download that failed tries it itself. */
  async #ensureBlob(download: Download): Promise<void> {
    const { descriptor, onProgress } = download;
    const id = descriptor.digest.slice('sha256:'.length).slice(0, SHORT_ID_LENGTH);
    download.hold(descriptor.digest);
    for (;;) {
      if (this.#options.content.has(descriptor.digest)) {
        onProgress({ id, status: 'Already exists' });
        return;
      }
      const other = this.#downloads.get(descriptor.digest);
      if (!other) break;
      await other.catch(() => {});
      download.signal.throwIfAborted();
    }
    onProgress({ id, status: 'Pulling fs layer', progressDetail: { current: 0, total: 0 } });
    const own = this.#download(download, id).finally(() =>
      this.#downloads.delete(descriptor.digest),
    );
    this.#downloads.set(descriptor.digest, own);
    await own;
    onProgress({ id, status: 'Download complete' });
  }

  #download(download: Download, id: string): Promise<void> {
    return this.#slots.run(download.signal, async () => {
      const ingest = await this.#options.content.ingest();
      try {
        await retrying(this.#options, download.signal, () => this.#receive(download, ingest, id));
        await ingest.commit(download.descriptor.digest);
      } finally {
        await ingest.abort();
      }
    });
  }

  /** Goes on where an earlier attempt broke off. */
  async #receive(download: Download, ingest: Ingest, id: string): Promise<void> {
    const { client, descriptor, signal, onProgress } = download;
    const { body, offset } = await client.blob(descriptor.digest, ingest.sizeBytes, signal);
    try {
      if (offset !== ingest.sizeBytes) await ingest.restart();
      const { clock } = this.#options;
      let shownMs = clock.monotonicMs();
      for await (const chunk of body as AsyncIterable<Buffer>) {
        signal.throwIfAborted();
        if (ingest.sizeBytes + chunk.length > descriptor.sizeBytes) {
          throw new SkepError(
            'data-loss',
            `verify ${descriptor.digest}: longer than the ${descriptor.sizeBytes} bytes announced`,
          );
        }
        await ingest.write(chunk);
        if (clock.monotonicMs() - shownMs < PROGRESS_PERIOD_MS) continue;
        shownMs = clock.monotonicMs();
        const progressDetail = { current: ingest.sizeBytes, total: descriptor.sizeBytes };
        onProgress({ id, status: 'Downloading', progressDetail });
      }
    } finally {
      body.destroy();
    }
  }
}

function manifestName(reference: ImageReference): string {
  return reference.digest ?? reference.tag!;
}

function platformsOf(index: Extract<ManifestDocument, { kind: 'index' }>): Platform[] {
  return index.manifests
    .map((m) => ({
      architecture: m.platform?.architecture ?? '',
      os: m.platform?.os ?? '',
    }))
    .filter(({ os }) => os !== '' && os !== 'unknown'); // attestations are no platform
}

function refuseUnsupported(layers: readonly Descriptor[]): void {
  for (const { mediaType, digest } of layers) {
    if (!/foreign|nondistributable/.test(mediaType)) continue;
    throw new SkepError('unimplemented', `layer ${digest} is not distributed by the registry`);
  }
}
