/**
 * The node's images: loads, pulls, names, lists and removes them and lends their unpacked layers to
 * containers. Composes the rooms of this folder; knows nothing of tasks, mounts or the cluster.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { TellEvent } from '../../common/model/engine-event.ts';
import {
  canonicalReference,
  familiarReference,
  type ImageReference,
  parseImageReference,
  withDefaultTag,
} from '../../common/model/image-reference.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { ExchangeToken } from '../../common/model/registry-token.ts';
import { writeImageArchive } from './archive-writer.ts';
import { BlobSender } from './blob-sender.ts';
import type { ClusterPeers } from './cluster-source.ts';
import { ContentStore } from './content-store.ts';
import { IdentityTokens } from './identity-tokens.ts';
import { ImageArrivals } from './image-arrivals.ts';
import { type Collectable, ImageCollector, type Watermarks } from './image-collector.ts';
import { hostArchitecture, type Platform } from './image-config.ts';
import { type ImageEntry, ImageIndex, moveTag } from './image-index.ts';
import { type ImageRecord, recordOf } from './image-record.ts';
import { type ImageRemoval, planRemoval } from './image-removal.ts';
import { blobsOf, ImageSweep } from './image-sweep.ts';
import { diskFullness, type ImagesUsage, imageUsages, layerSizes } from './image-usage.ts';
import { type Verified, verifyImages } from './image-verify.ts';
import { chainIds, LayerStore } from './layer-store.ts';
import { noSuchImage } from './no-such-image.ts';
import { PinStore } from './pin-store.ts';
import type { ProgressListener } from './progress.ts';
import { Puller, type ResolvedImage } from './puller.ts';
import { type PushContext, Pusher } from './pusher.ts';
import type { RegistryAuth } from './registry-authorizer.ts';
import { RegistryHosts } from './registry-hosts.ts';
import { checkLogin } from './registry-login.ts';
import { NO_PROXIES, type RegistrySettings } from './registry-settings.ts';

export type { ClusterPeers } from './cluster-source.ts';
export { DEFAULT_WATERMARKS, type Watermarks } from './image-collector.ts';
export type { ImageConfig, ImageHealthcheck, Platform } from './image-config.ts';
export type { ImageRecord } from './image-record.ts';
export type { ImagesUsage } from './image-usage.ts';
export type { Verified } from './image-verify.ts';
export type { ProgressLine } from './progress.ts';
export type { RegistryAuth } from './registry-authorizer.ts';
export { NO_PROXIES, type RegistrySettings } from './registry-settings.ts';

export interface ImageStoreOptions {
  /** this store's own folder; made when missing. Not on overlayfs. Short: it is part of mount options */
  readonly dir: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tell: TellEvent;
  /** default: the system's authorities, TLS but for loopback, no mirrors, no proxy */
  readonly registries?: Partial<RegistrySettings>;
  /** null = no images are removed to make room */
  readonly watermarks?: Watermarks | null;
  /** larger blobs are pushed in parts of so many bytes; default 64 MiB */
  readonly pushPartBytes?: number;
}

const DEFAULT_REGISTRIES: RegistrySettings = {
  insecureRegistries: [],
  certificateDirs: [],
  mirrors: [],
  proxy: NO_PROXIES,
};

export class ImageStore {
  readonly load: ImageArrivals['load'];
  readonly import: ImageArrivals['import'];
  readonly importFrom: ImageArrivals['importFrom'];
  readonly commit: ImageArrivals['commit'];
  readonly pull: ImageArrivals['pull'];
  readonly pullAllPlatforms: ImageArrivals['pullAllPlatforms'];
  readonly take: ImageArrivals['take'];
  /** for the other nodes of the cluster */
  readonly blobs: BlobSender;
  readonly identities: IdentityTokens;
  readonly #options: ImageStoreOptions;
  readonly #log: Logger;
  readonly #content: ContentStore;
  readonly #layers: LayerStore;
  readonly #index: ImageIndex;
  readonly #pins: PinStore;
  readonly #hosts: RegistryHosts;
  readonly #puller: Puller;
  readonly #pusher: Pusher;
  readonly #collector: ImageCollector | null;
  /** of images that came or that containers used since the start, wall clock */
  readonly #usedAtMs = new Map<string, number>();
  readonly #sweep: ImageSweep;
  readonly #tasks: TaskSet;
  readonly #architecture = hostArchitecture(process.arch);

  /** Throws `invalid-argument` for malformed settings of registries. */
  constructor(options: ImageStoreOptions) {
    this.#options = options;
    this.#log = options.log.child({ component: 'images' });
    this.#content = new ContentStore(options.dir, options.random);
    this.#layers = new LayerStore(options.dir, this.#content, this.#log);
    this.#index = new ImageIndex(options.dir, this.#content, this.#log);
    this.#pins = new PinStore(join(options.dir, 'pins'));
    const { clock, random } = options;
    this.#sweep = new ImageSweep({
      content: this.#content,
      layers: this.#layers,
      index: this.#index,
      clock,
      log: this.#log,
    });
    this.#tasks = new TaskSet((err) => this.#log.error({ err }, 'unused blobs are not removed'));
    this.#hosts = new RegistryHosts({ ...DEFAULT_REGISTRIES, ...options.registries }, clock);
    const endpoint = this.#hosts.origin.bind(this.#hosts);
    this.identities = new IdentityTokens({ endpoint, log: this.#log });
    const exchange = this.identities.exchange.bind(this.identities);
    this.#puller = new Puller({
      exchange,
      content: this.#content,
      clock,
      random,
      log: this.#log,
      architecture: this.#architecture,
      hosts: this.#hosts,
    });
    const arrivals = new ImageArrivals({
      content: this.#content,
      layers: this.#layers,
      index: this.#index,
      sweep: this.#sweep,
      puller: this.#puller,
      architecture: this.#architecture,
      clock,
      hosts: this.#hosts,
      tell: (action, id, name) => this.#tell(action, id, name),
      arrived: (id) => this.#arrived(id),
      log: this.#log,
    });
    this.load = arrivals.load.bind(arrivals);
    this.import = arrivals.import.bind(arrivals);
    this.importFrom = arrivals.importFrom.bind(arrivals);
    this.commit = arrivals.commit.bind(arrivals);
    this.pull = arrivals.pull.bind(arrivals);
    this.pullAllPlatforms = arrivals.pullAllPlatforms.bind(arrivals);
    this.take = arrivals.take.bind(arrivals);
    this.blobs = new BlobSender(this.#content, this.#puller, this.#sweep, clock, () =>
      this.#collector?.arrived(),
    );
    const { watermarks = null } = options;
    this.#collector = watermarks === null ? null : this.#newCollector(watermarks);
    this.#pusher = new Pusher({
      exchange,
      content: this.#content,
      clock,
      random,
      log: this.#log,
      hosts: this.#hosts,
      ...(options.pushPartBytes !== undefined && { partBytes: options.pushPartBytes }),
    });
  }

  /** What images that are pulled here are for. */
  get platform(): Platform {
    return { os: 'linux', architecture: this.#architecture };
  }

  /** Usable afterwards; whatever a crash left half-made is gone. */
  async start(): Promise<void> {
    await mkdir(this.#emptyLayerDir, { recursive: true, mode: 0o755 });
    await this.#content.start();
    await this.#layers.start();
    await this.#index.start();
    await this.#pins.start();
    await this.#sweep.run([]);
    this.#tasks.run((signal) => this.#sweep.keepSwept(signal));
    this.#collector?.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#tasks.stop(), this.#collector?.stop()]);
    await Promise.all([this.#puller.stop(), this.#pusher.stop()]);
    await this.identities.stop();
    this.#hosts.close();
    await this.#layers.stop();
    await this.#index.settled();
  }

  /** Newest first. */
  list(): ImageRecord[] {
    const records = this.#index.list().map(recordOf);
    return records.sort((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? -1 : 1));
  }

  /** By id, name (`:latest` understood), `name@digest` or unique id prefix. */
  get(reference: string): ImageRecord | undefined {
    const found = this.#index.find(reference);
    return found && recordOf(found.entry);
  }

  /**
   * Sends an image to the registry that its name says, under this tag; without one under every tag
   * that it has in that repository; as a whole index when the images of all its platforms are here.
   * Rejects with the registry's own words.
   */
  async push(
    name: string,
    auth: RegistryAuth | null,
    onProgress: ProgressListener = () => {},
    signal?: AbortSignal,
  ): Promise<void> {
    const wanted = parseImageReference(name);
    const pushed = this.#index.taggedIn(wanted);
    if (wanted.digest !== null || pushed.length === 0) {
      const shown = familiarReference(wanted);
      throw new SkepError('not-found', `An image does not exist locally with the tag: ${shown}`);
    }
    for (const { reference, entry } of pushed) {
      await this.#push(reference, entry, auth, { onProgress, ...(signal && { signal }) });
    }
  }

  async #push(
    reference: ImageReference,
    { id, manifestDigest: own, layers, platforms }: ImageEntry,
    auth: RegistryAuth | null,
    context: PushContext,
  ): Promise<void> {
    const manifestDigest = platforms?.digest ?? own;
    await this.#sweep.holding(async (hold) => {
      for (const blob of blobsOf(this.#index.require(id))) hold.blobs.add(blob);
      const { domain, path } = reference;
      const knownAt = (blob: string): string | null => this.#index.repositoryOf(blob, domain, path);
      const request = { reference, manifestDigest, layers, knownAt };
      const digest = await this.#pusher.push(request, auth, context);
      const name = `${domain}/${path}@${digest}`;
      await this.#index.update((images) => {
        const entry = images.get(id);
        if (!entry || entry.repoDigests.includes(name)) return;
        images.set(id, { ...entry, repoDigests: [...entry.repoDigests, name] });
      });
    });
    this.#tell(
      'push',
      familiarReference(reference),
      familiarReference({ ...reference, tag: null }),
    );
  }

  /**
   * The identity token to log in with from now on; null = the registry gives none. Rejects with the registry's
   * words when it does not let this user in. @param domain as in names
   */
  login(domain: string, auth: RegistryAuth, signal?: AbortSignal): Promise<string | null> {
    const exchange: ExchangeToken = (...asked) => this.identities.exchange(...asked);
    const { clock } = this.#options;
    const registry = { endpoint: this.#hosts.origin(domain), domain, exchange, clock };
    return checkLogin(registry, auth, signal);
  }

  /** Asks the registry what a name means now, without fetching the image. Errors as `pull`. */
  async resolveDigest(
    reference: string,
    auth: RegistryAuth | null,
    signal?: AbortSignal,
  ): Promise<ResolvedImage> {
    return this.#puller.resolve(withDefaultTag(parseImageReference(reference)), auth, signal);
  }

  /** From now on content comes through the cluster's managers; null = from registries alone. */
  joined(peers: ClusterPeers | null): void {
    this.#puller.joined(peers);
    this.identities.joined(peers && ((...asked) => peers.exchangeToken(...asked)));
  }

  /** What another node needs to take an image. Throws `not-found`. */
  offer(reference: string): { id: string; manifestDigest: string; tags: readonly string[] } {
    const found = this.#index.find(reference);
    if (!found) throw noSuchImage(reference);
    const { id, manifestDigest, repoTags } = found.entry;
    const named = found.reference !== null && found.reference.digest === null;
    return { id, manifestDigest, tags: named ? [canonicalReference(found.reference)] : repoTags };
  }

  /** Gives an image one more name; takes the name from another image that has it. */
  async tag(source: string, target: string): Promise<void> {
    const { id } = this.#index.require(source);
    const reference = withDefaultTag(parseImageReference(target));
    if (reference.digest !== null) {
      throw new SkepError(
        'invalid-argument',
        `tag ${target}: refusing to create a tag with a digest`,
      );
    }
    await this.#index.update((images) => moveTag(images, id, canonicalReference(reference)));
    this.#tell('tag', id, familiarReference(reference));
  }

  /**
   * Removes a name, and with the last name the image. Rejects with `not-found`, or `conflict` while
   * a container uses it (`force` removes the name even so; the layers stay until it is gone).
   */
  async remove(reference: string, options: { force: boolean }): Promise<ImageRemoval> {
    const outcome = await this.#index.update((images) => {
      const found = this.#index.find(reference);
      if (!found) throw noSuchImage(reference);
      const plan = planRemoval(found, this.#pins.containersOf(found.entry.id), options.force);
      if (plan.remaining === null) images.delete(found.entry.id);
      else images.set(found.entry.id, plan.remaining);
      const gone = plan.remaining ? null : found.entry;
      const { id, document } = found.entry;
      return { id, labels: document.config.labels, untagged: plan.untagged, gone };
    });
    const { id, labels } = outcome;
    for (const name of outcome.untagged) this.#tell('untag', id, name, labels);
    if (outcome.gone === null) return { untagged: outcome.untagged, deleted: [] };
    this.#tell('delete', id, id, labels);
    const { layers } = await this.#sweep.run([outcome.gone]);
    return { untagged: outcome.untagged, deleted: [outcome.gone.id, ...layers] };
  }

  /**
   * Removes the images that no container uses and of which `isWanted` is false, with all their names.
   * What is unused beside them goes as well.
   */
  async prune(
    isWanted: (image: ImageRecord) => boolean,
  ): Promise<ImageRemoval & { bytes: number }> {
    const gone = await this.#index.update((images) => {
      const unused = [...images.values()].filter(
        (entry) => this.#pins.containersOf(entry.id).length === 0 && !isWanted(recordOf(entry)),
      );
      for (const { id } of unused) images.delete(id);
      return unused;
    });
    const records = gone.map(recordOf);
    const untagged = records.flatMap(imageNames);
    for (const record of records) {
      const { id, config } = record;
      for (const name of imageNames(record)) this.#tell('untag', id, name, config.labels);
      this.#tell('delete', id, id, config.labels);
    }
    const { layers, bytes } = await this.#sweep.run(gone);
    return { untagged, deleted: [...gone.map(({ id }) => id), ...layers], bytes };
  }

  /** Bytes of the layers of an image, bottom first. Throws `not-found`. */
  layerSizes(reference: string): number[] {
    return layerSizes(this.#index.require(reference), (chainId) => this.#layers.sizeBytes(chainId));
  }

  /** Unpacked layers of an image, topmost first; none while a power cut has undone one. Throws `not-found`. */
  layerDirs(reference: string): string[] {
    const { diffIds } = this.#index.require(reference).document;
    const isWhole = chainIds(diffIds).every((id) => this.#layers.sizeBytes(id) !== undefined);
    return isWhole ? this.#layers.lowerDirs(diffIds) : [];
  }

  async usage(): Promise<ImagesUsage> {
    const sizeOf = (chainId: string): number | undefined => this.#layers.sizeBytes(chainId);
    const blobs = await this.#content.list();
    const blobBytes = blobs.reduce((sum, digest) => sum + this.#content.sizeOrZero(digest), 0);
    const layerBytes = this.#layers.list().reduce((sum, id) => sum + (sizeOf(id) ?? 0), 0);
    const containersOf = (id: string): number => this.#pins.containersOf(id).length;
    const images = imageUsages(this.#index.list(), sizeOf, containersOf);
    return { bytes: blobBytes + layerBytes, images };
  }

  /** A docker-archive (and OCI layout at once) of these images, made while it is read; they may be removed meanwhile. */
  save(references: readonly string[]): Readable {
    const images = references.map((reference) => {
      const found = this.#index.find(reference);
      if (!found) throw noSuchImage(reference);
      const named = found.reference !== null && found.reference.digest === null;
      const tags = named ? [canonicalReference(found.reference)] : found.entry.repoTags;
      return { entry: found.entry, tags };
    });
    const archive = writeImageArchive(this.#content, images);
    for (const id of new Set(images.map(({ entry }) => entry.id))) this.#tell('save', id, id);
    void this.#sweep.holding(async (hold) => {
      for (const blob of images.flatMap(({ entry }) => blobsOf(entry))) hold.blobs.add(blob);
      await new Promise((resolve) => archive.once('close', resolve));
    });
    return archive;
  }

  /**
   * Lower directories of the image, topmost first, and a pin: until `releaseRootfs` neither the
   * image nor its layers can be removed. Survives restarts; a second call with the same arguments
   * is harmless. Rejects with `not-found`, `conflict` when the container has another image.
   */
  async acquireRootfs(
    containerId: string,
    imageId: string,
  ): Promise<{ lowerDirs: readonly string[] }> {
    const entry = this.#index.require(imageId);
    const isNew = this.#pins.add(containerId, entry.id);
    try {
      await this.#index.settled();
      this.#index.require(entry.id); // a removal may have been under way before the pin
      await this.#layers.ensure(entry.layers); // unpacked already, unless a power cut undid it
      const lowerDirs = this.#layers.lowerDirs(entry.document.diffIds);
      return { lowerDirs: lowerDirs.length > 0 ? lowerDirs : [this.#emptyLayerDir] };
    } catch (err) {
      if (isNew) await this.#pins.remove(containerId);
      throw err;
    }
  }

  /** The image of a container between `acquireRootfs` and `releaseRootfs`, also after its name went to another. */
  heldBy(containerId: string): ImageRecord | undefined {
    const imageId = this.#pins.imageOf(containerId);
    const entry = imageId === undefined ? undefined : this.#index.get(imageId);
    return entry && recordOf(entry);
  }

  /** Idempotent. */
  async releaseRootfs(containerId: string): Promise<void> {
    const imageId = this.#pins.imageOf(containerId);
    if (imageId !== undefined) this.#usedAtMs.set(imageId, this.#options.clock.wallMs());
    await this.#pins.remove(containerId);
  }

  /** Looks at everything that is stored. */
  verify(signal: AbortSignal): AsyncGenerator<Verified> {
    return verifyImages(this.#content, this.#layers, () => this.#index.list(), signal);
  }

  /** What may go when the disk fills: no container uses it, and a registry has it. */
  collectable(): Collectable[] {
    const unused = this.#index.list().filter(({ id, repoDigests }) => {
      return repoDigests.length > 0 && this.#pins.containersOf(id).length === 0;
    });
    return unused.map(({ id }) => {
      const arrivedMs = this.#content.modifiedMs(id);
      return { id, lastUsedMs: Math.max(arrivedMs, this.#usedAtMs.get(id) ?? 0) };
    });
  }

  /** Also one that was here before. */
  #arrived(id: string): void {
    this.#usedAtMs.set(id, this.#options.clock.wallMs());
    this.#collector?.arrived();
  }

  #newCollector(watermarks: Watermarks): ImageCollector {
    return new ImageCollector({
      watermarks,
      fullness: () => diskFullness(this.#options.dir),
      // What came just now may be on its way to other nodes: they would have it fetched again.
      sweep: async () => (await this.#sweep.run([], watermarks.minAgeMs)).bytes,
      collectable: () => this.collectable(),
      wanted: (signal) => this.#wanted(signal),
      remove: async (id) => (await this.prune((image) => image.id !== id)).bytes,
      clock: this.#options.clock,
      log: this.#log,
    });
  }

  async #wanted(signal: AbortSignal): Promise<ReadonlySet<string> | null> {
    const references = (await this.#puller.peers?.wantedImages(signal)) ?? null;
    if (references === null) return null;
    return new Set(references.flatMap((one) => this.#index.find(one)?.entry.id ?? []));
  }

  /** Containers that hold an image, for the owner's sweep of those it no longer knows. */
  pinnedContainers(): string[] {
    return this.#pins.containers();
  }

  /** @param id or a name by which it is found. @param labels of an image that is gone already */
  #tell(
    action: string,
    id: string,
    name: string,
    labels: StringMap = this.#index.find(id)?.entry.document.config.labels ?? {},
  ): void {
    this.#options.tell({ type: 'image', action, id, attributes: { ...labels, name } });
  }

  /** overlayfs wants at least one lower directory; an image may have no layer (`FROM scratch`). */
  get #emptyLayerDir(): string {
    return join(this.#options.dir, 'empty');
  }
}

function imageNames({ repoTags, repoDigests }: ImageRecord): string[] {
  return [...repoTags, ...repoDigests];
}
