/**
 * Brings an image from its registry into the content store: manifest, platform choice, parallel
 * verified blobs, another attempt after passing trouble. Records and unpacks nothing.
 */
import type { Clock } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { BlobOrigin } from '../../common/model/blob.ts';
import { type ImageReference, isSha256Digest } from '../../common/model/image-reference.ts';
import type { ExchangeToken } from '../../common/model/registry-token.ts';
import { type HoldBlob, pairLayers, type StoredImage } from './archive-reader.ts';
import {
  type ClusterPeers,
  ClusterSource,
  holderSources,
  ReachableManagers,
} from './cluster-source.ts';
import {
  type ContentStore,
  DOCUMENT_BYTES_MAX,
  type Ingest,
  sha256Digest,
} from './content-store.ts';
import {
  choosePlatform,
  type Descriptor,
  type ManifestDocument,
  manifestMediaType,
  type Platform,
  parseImageDocument,
  parseManifest,
} from './image-config.ts';
import type { BlobName, ImageSource } from './image-source.ts';
import { LimitedSource } from './limited-source.ts';
import { isForeign, type PlatformSet, visitPlatforms } from './platform-set.ts';
import type { ProgressListener } from './progress.ts';
import type { RegistryAuth } from './registry-authorizer.ts';
import { RegistryClient } from './registry-client.ts';
import type { RegistryEndpoint } from './registry-endpoint.ts';
import { isTransient, isUnreached, RegistryError, type Transient } from './registry-errors.ts';
import type { RegistryHosts } from './registry-hosts.ts';
import { RegistryWork } from './registry-work.ts';
import { readAll } from './response-body.ts';
import { retrying } from './retrying.ts';
import { SharedWork } from './shared-work.ts';
import { SilentRegistries } from './silent-registries.ts';
import { Slots } from './slots.ts';

/** Blobs that come from registries at once, over all pulls (Docker: 3 for each). */
const DOWNLOADS_MAX = 4;
const PROGRESS_PERIOD_MS = 100;
const SHORT_ID_LENGTH = 12;
const PULL = { verb: 'pull', preposition: 'from' } as const;
const TAKE = { verb: 'take', preposition: 'from' } as const;
const PROVIDE = { verb: 'provide', preposition: 'from' } as const;
const RESOLVE = { verb: 'resolve', preposition: 'from' } as const;

/** What a name stands for in its registry. */
export interface ResolvedImage {
  readonly digest: string;
  /** of the manifest or index that has the digest */
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly platforms: readonly Platform[];
}

export interface PullerOptions {
  readonly content: ContentStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** GOARCH of this machine */
  readonly architecture: string;
  readonly hosts: RegistryHosts;
  readonly exchange: ExchangeToken;
}

export interface PullContext {
  /** told of each blob before it is looked for */
  readonly hold: HoldBlob;
  /** also the images of an index that are not for this machine; default false */
  readonly allPlatforms?: boolean;
  readonly onProgress: ProgressListener;
  readonly signal?: AbortSignal;
}

export interface PulledImage extends StoredImage {
  /** what the name stood for in the registry: the digest of the manifest or of the index */
  readonly digests: readonly string[];
}

interface Download extends PullContext {
  readonly client: ImageSource;
  readonly descriptor: BlobName;
  readonly signal: AbortSignal;
}

/** A body that ended early, though cleanly: another attempt goes on with it. */
class ShortBodyError extends SkepError implements Transient {
  readonly isTransient = true;

  constructor({ digest, sizeBytes }: BlobName, arrivedBytes: number) {
    super('unavailable', `read ${digest}: ended after ${arrivedBytes} of ${sizeBytes} bytes`);
  }
}

const RANGE_NOT_SATISFIABLE = 416;

const isPassingAnswer = (err: unknown): boolean => isTransient(err) && !isUnreached(err);

interface NamedSource {
  /** for the log */
  readonly name: string;
  readonly source: ImageSource;
}

export class Puller {
  readonly #options: PullerOptions;
  readonly #silent: SilentRegistries;
  readonly #downloads = new SharedWork();
  readonly #work = new RegistryWork();
  readonly #slots = new Slots(DOWNLOADS_MAX);
  readonly #reachable: ReachableManagers;
  #peers: ClusterPeers | null = null;

  constructor(options: PullerOptions) {
    this.#options = options;
    this.#silent = new SilentRegistries(options.clock);
    this.#reachable = new ReachableManagers(options.clock);
  }

  /** Aborts what runs. */
  async stop(): Promise<void> {
    await this.#work.stop();
    await this.#downloads.ended();
  }

  /** null = part of no cluster now */
  get peers(): ClusterPeers | null {
    return this.#peers;
  }

  /** From now on content comes through these nodes; null = from registries alone. */
  joined(peers: ClusterPeers | null): void {
    this.#peers = peers;
  }

  /** Rejects with `pull <name> from <registry>: <the registry's words>`. */
  pull(
    reference: ImageReference,
    auth: RegistryAuth | null,
    context: PullContext,
  ): Promise<PulledImage> {
    return this.#work.run(PULL, reference, context.signal, (signal) =>
      this.#fromFirst(this.#registries(reference, auth), signal, async (registry) => {
        const own = { ...context, signal };
        const cluster = this.#throughCluster(reference, auth, registry);
        if (cluster === null) return this.#pull(reference, registry, own);
        try {
          return await this.#pull(reference, cluster, own);
        } catch (err) {
          if (!hasCode(err, 'data-loss')) throw err;
          this.#options.log.warn({ err }, 'another node gave damaged content');
          return this.#pull(reference, registry, own);
        }
      }),
    );
  }

  /** The image that another node has under this manifest. */
  take(manifestDigest: string, source: ImageSource, context: PullContext): Promise<PulledImage> {
    const reference = { domain: 'the cluster', path: 'image', tag: null, digest: manifestDigest };
    return this.#work.run(TAKE, reference, context.signal, (signal) =>
      this.#pull(reference, source, { ...context, signal }),
    );
  }

  /**
   * Makes sure that a blob is here, for another node: from one that has it, else from its registry. False = it was
   * here.
   */
  async provide(digest: string, origin: BlobOrigin, context: PullContext): Promise<boolean> {
    context.hold(digest);
    if (this.#options.content.has(digest)) return false;
    const reference = { domain: origin.domain, path: origin.path, tag: null, digest };
    const peers = this.#peers;
    const sources: NamedSource[] = [
      ...(peers === null ? [] : holderSources(peers, origin)),
      ...this.#registries(reference, origin.auth),
    ];
    await this.#work.run(PROVIDE, reference, context.signal, (signal) =>
      this.#fromFirst(sources, signal, async (client) => {
        const own = { ...context, client, signal };
        if (origin.isManifest) await this.#ensureManifest(own, digest);
        else
          await this.#ensureBlob({ ...own, descriptor: { digest, sizeBytes: origin.sizeBytes } });
      }),
    );
    return true;
  }

  /**
   * The digest that the name stands for now, and for which platforms. Stores nothing. Rejects with
   * `deadline-exceeded` after the times of SilentRegistries, and at once when nobody can be reached.
   */
  resolve(
    reference: ImageReference,
    auth: RegistryAuth | null,
    signal?: AbortSignal,
  ): Promise<ResolvedImage> {
    return this.#work.run(RESOLVE, reference, signal, (own) =>
      this.#silent.bounded(reference.domain, this.#endpoints(reference.domain), own, (bounded) =>
        this.#fromFirst(this.#registries(reference, auth), bounded, (client) =>
          this.#resolve(reference, client, bounded),
        ),
      ),
    );
  }

  async #resolve(
    reference: ImageReference,
    client: ImageSource,
    signal: AbortSignal,
  ): Promise<ResolvedImage> {
    const name = manifestName(reference);
    const { bytes, digest } = await this.#manifest(client, name, signal, isPassingAnswer);
    const manifest = parseManifest(bytes);
    const found = { digest, mediaType: manifestMediaType(bytes), sizeBytes: bytes.length };
    if (manifest.kind === 'index') return { ...found, platforms: platformsOf(manifest) };
    const config = await retrying(this.#options, signal, async () => {
      const { body } = await client.blob(manifest.config, 0, signal);
      try {
        return await readAll(body, DOCUMENT_BYTES_MAX);
      } finally {
        body.destroy();
      }
    });
    const { architecture, os } = parseImageDocument(config);
    return { ...found, platforms: [{ architecture, os }] };
  }

  /** The mirrors in their order, then the registry itself. */
  #endpoints(domain: string): RegistryEndpoint[] {
    const { hosts } = this.#options;
    return [...hosts.mirrors(domain), hosts.origin(domain)];
  }

  /** Of each endpoint; the registry itself alone is given the password. */
  #registries(
    { domain, path: repository }: ImageReference,
    auth: RegistryAuth | null,
  ): NamedSource[] {
    const { clock, exchange } = this.#options;
    const common = { repository, domain, exchange, clock };
    return this.#endpoints(domain).map((endpoint, i, all) => {
      const own = i === all.length - 1 ? auth : null;
      const client = new RegistryClient({ ...common, endpoint, auth: own });
      return { name: endpoint.host, source: new LimitedSource(client, this.#slots) };
    });
  }

  #throughCluster(
    { domain, path }: ImageReference,
    auth: RegistryAuth | null,
    registry: ImageSource,
  ): ImageSource | null {
    if (this.#peers === null) return null;
    const { log } = this.#options;
    const origin = { domain, path, auth };
    const reachable = this.#reachable;
    return new ClusterSource({ peers: this.#peers, reachable, registry, origin, log });
  }

  /** Tries the sources in their order; the failure of the last one is told. */
  async #fromFirst<T>(
    sources: readonly NamedSource[],
    signal: AbortSignal,
    work: (source: ImageSource) => Promise<T>,
  ): Promise<T> {
    for (const [i, { name, source }] of sources.entries()) {
      try {
        return await work(source);
      } catch (err) {
        signal.throwIfAborted();
        if (i === sources.length - 1) throw err;
        this.#options.log.warn(
          { err, source: name },
          'source of an image failed, the next is asked',
        );
      }
    }
    throw new SkepError('internal', 'no source of an image');
  }

  async #pull(
    reference: ImageReference,
    client: ImageSource,
    context: PullContext & { signal: AbortSignal },
  ): Promise<PulledImage> {
    const { content, architecture } = this.#options;
    const { onProgress } = context;
    const tag = reference.tag ?? reference.digest!;
    onProgress({ id: tag, status: `Pulling from ${reference.path}` });
    const download = { ...context, client };
    // An index is kept, too: it is what the image's digest stands for.
    const top = await this.#keptManifest(download, manifestName(reference));
    let manifestDigest = top.digest;
    let manifest = parseManifest(top.bytes);
    let platforms: PlatformSet | null = null;
    if (manifest.kind === 'index') {
      const chosen = choosePlatform(manifest.manifests, architecture);
      if (context.allPlatforms) {
        const blobs = await visitPlatforms(manifest, {
          manifest: async (one) => (await this.#keptManifest(download, one.digest)).bytes,
          blob: (descriptor) => this.#ensureBlob({ ...download, descriptor }),
        });
        platforms = { digest: top.digest, blobs };
      }
      const own = await this.#keptManifest(download, chosen.digest);
      manifestDigest = own.digest;
      manifest = parseManifest(own.bytes);
    }
    if (manifest.kind === 'index') {
      throw new SkepError('unimplemented', 'read image manifest: an index inside an index');
    }
    refuseUnsupported(manifest.layers);
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
    return { id, manifestDigest, document, layers, platforms, digests: [top.digest] };
  }

  /** As `#manifest`; it is in the store afterwards. */
  async #keptManifest(
    download: Pick<Download, 'client' | 'hold' | 'signal'>,
    name: string,
  ): Promise<{ bytes: Buffer; digest: string }> {
    const { content } = this.#options;
    if (!isSha256Digest(name)) {
      const tagged = await this.#manifest(download.client, name, download.signal);
      await content.put(tagged.bytes, download.hold);
      return tagged;
    }
    download.hold(name);
    await this.#ensureManifest(download, name);
    return { bytes: await content.read(name), digest: name };
  }

  /** Once for all who want it. */
  async #ensureManifest(
    { client, hold, signal }: Pick<Download, 'client' | 'hold' | 'signal'>,
    digest: string,
  ): Promise<void> {
    await this.#once(digest, signal, async (shared) => {
      const { bytes } = await this.#manifest(client, digest, shared);
      await this.#options.content.put(bytes, hold);
    });
  }

  async #manifest(
    client: ImageSource,
    name: string,
    signal: AbortSignal,
    isWorthIt = isTransient,
  ): Promise<{ bytes: Buffer; digest: string }> {
    const ask = (): Promise<Buffer> => client.manifest(name, signal);
    const bytes = await retrying(this.#options, signal, ask, isWorthIt);
    const digest = sha256Digest(bytes);
    if (isSha256Digest(name) && digest !== name) {
      throw new SkepError('data-loss', `verify manifest ${name}: its content hashes to ${digest}`);
    }
    return { bytes, digest };
  }

  async #ensureBlob(download: Download): Promise<void> {
    const { descriptor, signal } = download;
    const onProgress: ProgressListener = (line) => {
      if (!signal.aborted) download.onProgress(line); // it may go on for others
    };
    const id = descriptor.digest.slice('sha256:'.length).slice(0, SHORT_ID_LENGTH);
    download.hold(descriptor.digest);
    const isNew = await this.#once(descriptor.digest, signal, async (shared) => {
      onProgress({ id, status: 'Pulling fs layer', progressDetail: { current: 0, total: 0 } });
      await this.#download({ ...download, onProgress, signal: shared }, id);
    });
    onProgress({ id, status: isNew ? 'Download complete' : 'Already exists' });
  }

  /** `fetch` gets the signal of all who wait for this content. False = it was here. */
  #once(
    digest: string,
    signal: AbortSignal,
    fetch: (signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    const isHere = (): boolean => this.#options.content.has(digest);
    return this.#downloads.ensure(digest, isHere, signal, fetch);
  }

  /** Goes on where an earlier attempt broke off, also one of a daemon that was killed. */
  async #download(download: Download, id: string): Promise<void> {
    const { digest } = download.descriptor;
    const ingest = await this.#options.content.resume(digest);
    const isOld = ingest.sizeBytes > 0;
    try {
      await retrying(this.#options, download.signal, () => this.#receive(download, ingest, id));
      await ingest.commit(digest);
    } catch (err) {
      if (!hasCode(err, 'data-loss')) throw err;
      await ingest.abort();
      if (!isOld) throw err;
      this.#options.log.warn({ err }, 'what was left of a download is damaged, it begins anew');
      await this.#download(download, id);
    } finally {
      await ingest.suspend();
    }
  }

  async #receive(download: Download, ingest: Ingest, id: string): Promise<void> {
    const { client, descriptor, signal, onProgress } = download;
    if (ingest.sizeBytes > descriptor.sizeBytes) await ingest.restart();
    if (ingest.sizeBytes === descriptor.sizeBytes) return;
    const earlierBytes = ingest.sizeBytes;
    const { body, offset } = await client
      .blob(descriptor, earlierBytes, signal)
      .catch((err: unknown) => {
        if (!(err instanceof RegistryError && err.status === RANGE_NOT_SATISFIABLE)) throw err;
        throw tooShort(descriptor);
      });
    try {
      if (offset !== earlierBytes) await ingest.restart();
      const { clock } = this.#options;
      let shownMs = clock.monotonicMs();
      for await (const chunk of body) {
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
      if (ingest.sizeBytes < descriptor.sizeBytes) {
        // Who gives nothing more than before has no more.
        if (ingest.sizeBytes <= earlierBytes) throw tooShort(descriptor);
        throw new ShortBodyError(descriptor, ingest.sizeBytes);
      }
    } finally {
      body.destroy();
    }
  }
}

function tooShort({ digest, sizeBytes }: BlobName): SkepError {
  return new SkepError(
    'data-loss',
    `verify ${digest}: shorter than the ${sizeBytes} bytes announced`,
  );
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
  const foreign = layers.find(isForeign);
  if (foreign === undefined) return;
  throw new SkepError(
    'unimplemented',
    `layer ${foreign.digest} is not distributed by the registry`,
  );
}
