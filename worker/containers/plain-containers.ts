/**
 * The containers outside of services of this node: which there are, what they are called, how one
 * comes to be. Holds nothing that a restarted daemon could not find again.
 */
import { endsWithin } from '../../common/base/deadline.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { Random } from '../../common/base/random.ts';
import { isContainerId } from '../../common/model/container-id.ts';
import { randomName } from '../../common/model/random-name.ts';
import { DEFAULT_ISOLATION } from '../../common/model/service.ts';
import { makeBundle } from '../executor/container-maker.ts';
import type { NetworkNamespace } from '../executor/oci-builder.ts';
import { runtimeName } from '../executor/oci-runtimes.ts';
import { ignoreGone } from '../executor/stop-container.ts';
import type { ImageRecord } from '../images/image-store.ts';
import type { NetworkedContainer } from '../network/container-networks.ts';
import type { ContainerPlace } from '../network/container-place.ts';
import type { ContainerParts } from './container-parts.ts';
import { type ContainerDefinition, endpointsOf } from './definition.ts';
import { containerName, nameTaken } from './lifecycle.ts';
import { mountedVolumes } from './mounted-volumes.ts';
import { hostnameOf, nameFiles } from './name-texts.ts';
import { joinedWords, type PeerOf } from './peers.ts';
import { PlainContainer } from './plain-container.ts';
import { bestEffort } from './record-keeper.ts';
import type { ContainerRecord, MountedVolume } from './record-store.ts';
import { releaseContainer } from './release.ts';

export interface PlainContainersOptions extends ContainerParts {
  readonly random: Random;
  /** any container of this node, those of tasks too */
  readonly peerOf: PeerOf;
  readonly onFailure: OnFailure;
}

const ID_BYTES = 32;
const NAME_ATTEMPTS = 20;
/** How long the start of a daemon waits for its containers', all together; then they go on in the background. */
const RESUME_WAIT_MS = 2000;

export class PlainContainers {
  readonly #options: PlainContainersOptions;
  readonly #containers = new Map<string, PlainContainer>();
  /** names of containers that are being made -> their ids */
  readonly #reserved = new Map<string, string>();
  /** to be taken up when this node's managers answer, or when it is known that it is in no cluster */
  #held: PlainContainer[] = [];
  readonly #background: TaskSet;
  /** those whose records cannot be read: they are left alone */
  #damaged: ReadonlySet<string> = new Set();

  constructor(options: PlainContainersOptions) {
    this.#options = options;
    this.#background = new TaskSet(options.onFailure);
  }

  /**
   * Takes up what an earlier daemon left; what belongs to no record goes. The runtime has adopted
   * already. Containers that are to run are started before it resolves, but for what takes long and for those of
   * networks of the cluster, which wait for `resumeHeld`.
   */
  async start(): Promise<void> {
    const { records, damaged } = await this.#options.records.load();
    for (const record of records) this.#add(record);
    this.#damaged = new Set(damaged);
    await this.sweep();
    await this.#thaw();
    await this.#startNetworks();
    const deadlineMs = this.#resumeDeadlineMs;
    for (const container of [...this.#containers.values()]) {
      if (needsCluster(container)) this.#held.push(container);
      else await this.#resume(container, deadlineMs);
    }
  }

  /** This node's managers answer, or it is in no cluster: who waited for that is started in the background. Idempotent. */
  resumeHeld(): void {
    const held = this.#held;
    this.#held = [];
    const deadlineMs = this.#resumeDeadlineMs;
    for (const container of held) this.#background.run(() => this.#resume(container, deadlineMs));
  }

  /**
   * This node leaves its cluster: its containers leave that one's networks, and no longer wait for its
   * managers. One that cannot is told, and keeps neither the others nor the node.
   */
  async leaveCluster(): Promise<void> {
    for (const container of this.list()) {
      for (const { network, isOfCluster } of endpointsOf(container.record.definition)) {
        if (!isOfCluster) continue;
        const words = "container could not be taken off a network of the node's cluster";
        const log = this.#options.log.child({ containerId: container.id });
        await bestEffort(log, words, container.disconnect(network));
      }
    }
    this.resumeHeld();
  }

  /** Leaves every container running. */
  async stop(): Promise<void> {
    await this.#background.stop();
    await Promise.all([...this.#containers.values()].map((container) => container.close()));
    this.#containers.clear();
  }

  list(): PlainContainer[] {
    return [...this.#containers.values()];
  }

  get(id: string): PlainContainer | undefined {
    return this.#containers.get(id);
  }

  /**
   * Made up to its blocked process. @param given null = a name is chosen
   * Rejects with `name-conflict`, `not-found` for the image, else as the runtime does; nothing is left
   * behind then.
   */
  async create(given: string | null, asked: ContainerDefinition): Promise<PlainContainer> {
    const { images, random, clock, records } = this.#options;
    const image = requireImage(images.get(asked.container.image), asked);
    const definition = this.#withRuntime(await this.#withNetworks(asked));
    const id = Buffer.from(random.bytes(ID_BYTES)).toString('hex');
    const name = this.#reserve(id, given);
    try {
      const record: ContainerRecord = {
        version: 1,
        id,
        name,
        createdAtMs: clock.wallMs(),
        imageId: image.id,
        definition,
        phase: 'created',
        isStopped: false,
        restartCount: 0,
        startedAtMs: null,
        exit: null,
        place: null,
      };
      const made = { ...record, volumes: await this.#make(record, image) };
      await records.put(made);
      const container = this.#add(made);
      container.created();
      return container;
    } catch (err) {
      await this.#releaseFailed(id);
      throw err;
    } finally {
      this.#reserved.delete(name);
    }
  }

  /** That of its making is its own for good. */
  #withRuntime(definition: ContainerDefinition): ContainerDefinition {
    const { container } = definition;
    const isolation = container.isolation ?? DEFAULT_ISOLATION;
    const runtime = runtimeName(isolation.runtime, this.#options.settings.runtimes);
    return { ...definition, container: { ...container, isolation: { ...isolation, runtime } } };
  }

  /** With the names of its networks, which are known. */
  async #withNetworks(definition: ContainerDefinition): Promise<ContainerDefinition> {
    if (definition.network.kind !== 'bridge') return definition;
    const wished = endpointsOf(definition);
    try {
      const endpoints = await this.#options.networks.resolve(wished);
      return { ...definition, network: { kind: 'bridge', endpoints } };
    } catch (err) {
      // A client that is told of something that was not found takes it for the image.
      if (!hasCode(err, 'not-found')) throw err;
      throw new SkepError('invalid-argument', err.message, { cause: err });
    }
  }

  /** Of a create: what stays behind goes with the next sweep, and must not hide why the create failed. */
  async #releaseFailed(id: string): Promise<void> {
    try {
      await releaseContainer(this.#options, id);
    } catch (err) {
      const { log } = this.#options;
      log.error({ containerId: id, err }, 'what a failed create made could not be removed');
    }
  }

  async rename(container: PlainContainer, given: string): Promise<void> {
    if (given === '') {
      throw new SkepError('invalid-argument', 'Neither old nor new names may be empty');
    }
    const name = containerName(given);
    if (name === container.record.name) {
      const words = 'Renaming a container with the same name as its current name';
      throw new SkepError('invalid-argument', words);
    }
    this.#reserve(container.id, name);
    try {
      await container.rename(name);
      this.#options.networks.renamed(container.id, name);
    } finally {
      this.#reserved.delete(name);
    }
  }

  /** Removes those at rest that are meant; their ids, and what they took. One that cannot go meanwhile is told and left. */
  async prune(
    isMeant: (container: PlainContainer) => boolean,
    sizeBytesOf: (container: PlainContainer) => Promise<number>,
  ): Promise<{ readonly ids: readonly string[]; readonly bytes: number }> {
    const ids: string[] = [];
    let bytes = 0;
    for (const container of this.list()) {
      const { id, condition } = container;
      if (!['created', 'exited', 'dead'].includes(condition) || !isMeant(container)) continue;
      try {
        const sizeBytes = await sizeBytesOf(container);
        await container.remove({ force: false, volumes: false });
        ids.push(id);
        bytes += sizeBytes;
      } catch (err) {
        this.#options.log.warn({ containerId: id, err }, 'container is not pruned');
      }
    }
    return { ids, bytes };
  }

  #add(record: ContainerRecord): PlainContainer {
    const container = new PlainContainer({
      record,
      parts: this.#options,
      peerOf: this.#options.peerOf,
      onStarted: () => {
        for (const other of this.list()) other.linkedStarted(record.id);
      },
      onRemoved: () => this.#containers.delete(record.id),
    });
    this.#containers.set(record.id, container);
    return container;
  }

  /**
   * What an earlier daemon held is let go, for nobody else would: it may have died during a commit. A person's pause lasts where a
   * record tells of it. None does for tasks (`TaskContainer`), where it looks the same as a commit's and ends with it.
   */
  async #thaw(): Promise<void> {
    const { runtime, log } = this.#options;
    for (const { id, paused } of runtime.list()) {
      if (!paused || this.#damaged.has(id) || this.#containers.get(id)?.record.isPaused) continue;
      try {
        await ignoreGone(runtime.thaw(id));
        log.warn({ containerId: id }, 'container that an earlier daemon paused is let go');
      } catch (err) {
        log.error(
          { containerId: id, err },
          'container that an earlier daemon paused could not be let go',
        );
      }
    }
  }

  /** A node whose networks cannot be taken up has other work: what needs them fails by itself. */
  async #startNetworks(): Promise<void> {
    const { networks, log } = this.#options;
    try {
      await networks.start(this.#places());
    } catch (err) {
      log.error({ err }, 'networks of this node could not be taken up');
    }
  }

  /** One that cannot be taken up, or that waits for a volume's server, must not keep the others from it. */
  async #resume(container: PlainContainer, deadlineMs: number): Promise<void> {
    const { clock, log } = this.#options;
    const resumed = container.resume().catch((err: unknown) => {
      log.error({ containerId: container.id, err }, 'container could not be taken up');
    });
    await endsWithin(clock, Math.max(0, deadlineMs - clock.monotonicMs()), resumed);
  }

  get #resumeDeadlineMs(): number {
    return this.#options.clock.monotonicMs() + RESUME_WAIT_MS;
  }

  /** Of those that run; the others' places are free. */
  #places(): { readonly container: NetworkedContainer; readonly place: ContainerPlace }[] {
    return this.list().flatMap(({ networked, record, state }) => {
      const isUp = state?.status === 'running' && networked !== null;
      return record.place && isUp ? [{ container: networked, place: record.place }] : [];
    });
  }

  async #make(record: ContainerRecord, image: ImageRecord): Promise<MountedVolume[]> {
    const { runtime, nameservers } = this.#options;
    const { id, definition } = record;
    const { container, network } = definition;
    const hostname = hostnameOf(definition, id, this.#options.hostname());
    const bundle = await makeBundle(
      {
        id,
        spec: definition,
        genericResources: [],
        image,
        hostname,
        name: record.name,
        logDriver: definition.logDriver ?? null,
        names: nameFiles({
          container,
          hostname,
          addresses: [],
          hasResolver: false,
          isOnHost: network.kind === 'host',
          nameservers: nameservers(),
          gateway: null,
        }),
        payloads: [],
        network: this.#namespaceOf(definition),
        joined: joinedWords(definition),
      },
      this.#options,
    );
    await runtime.create(id, bundle);
    return mountedVolumes(bundle.spec.mounts, this.#options.volumes.list());
  }

  /** Another container's is joined when this one starts; until then it has one of its own. */
  #namespaceOf({ network }: ContainerDefinition): NetworkNamespace {
    return network.kind === 'host' ? 'host' : 'new';
  }

  #isKnown(id: string): boolean {
    const isBeingMade = [...this.#reserved.values()].includes(id);
    return this.#containers.has(id) || isBeingMade || this.#damaged.has(id);
  }

  #reserve(id: string, given: string | null): string {
    const name = given === null ? this.#freeName() : containerName(given);
    const holder = this.#holderOf(name);
    if (holder !== null) throw nameTaken(name, holder);
    this.#reserved.set(name, id);
    return name;
  }

  #holderOf(name: string): string | null {
    const reserved = this.#reserved.get(name);
    if (reserved !== undefined) return reserved;
    return this.list().find(({ record }) => record.name === name)?.id ?? null;
  }

  #freeName(): string {
    const { random } = this.#options;
    for (let i = 0; i < NAME_ATTEMPTS; i++) {
      const name = randomName(random);
      if (this.#holderOf(name) === null) return name;
    }
    return `${randomName(random)}${random.below(1_000_000)}`;
  }

  /**
   * Removes what a create or a removal left that failed or was cut short. Of a container that is made
   * meanwhile nothing is touched: it has its id before anything else.
   */
  async sweep(): Promise<void> {
    const { runtime, images, volumes, files, log } = this.#options;
    const found = new Set([
      ...runtime.list().map(({ id }) => id),
      ...images.pinnedContainers(),
      ...volumes.usingContainers(),
      ...(await files.list()),
    ]);
    for (const id of found) {
      if (!isContainerId(id) || this.#isKnown(id)) continue;
      log.warn({ containerId: id }, 'what belongs to no container is removed');
      try {
        await releaseContainer(this.#options, id);
      } catch (err) {
        log.error({ containerId: id, err }, 'what belongs to no container could not be removed');
      }
    }
  }
}

/** It does not run, and could be started only as part of the cluster. */
function needsCluster({ record, state }: PlainContainer): boolean {
  const isThere = state?.status === 'running';
  return !isThere && endpointsOf(record.definition).some(({ isOfCluster }) => isOfCluster);
}

function requireImage(
  image: ImageRecord | undefined,
  { container }: ContainerDefinition,
): ImageRecord {
  if (image) return image;
  const reference = container.image;
  const isTagged = /[:@]/.test(reference.slice(reference.lastIndexOf('/') + 1));
  const name = isTagged ? reference : `${reference}:latest`;
  throw new SkepError('not-found', `No such image: ${name}`);
}
