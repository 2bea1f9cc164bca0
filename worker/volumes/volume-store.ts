/**
 * Named and anonymous volumes of this node: `<dir>/<name>/_data`, beside it `volume.json` and, in
 * `users/`, one file per container that uses it. The runtime binds the paths that this store hands out; what
 * a volume's options name is mounted at its path while somebody uses it.
 */
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { containerIdOf } from '../../common/model/container-id.ts';
import type { TellEvent } from '../../common/model/engine-event.ts';
import { asId, type TaskId } from '../../common/model/ids.ts';
import type { StringMap } from '../../common/model/objects.ts';
import { parseVolumeOptions } from '../../common/model/volume-options.ts';
import { LowerTree } from './lower-tree.ts';
import { treeSizeBytes } from './tree-size.ts';
import { KERNEL_MOUNTS, type VolumeMounts } from './volume-mounts.ts';

export interface VolumeStoreOptions {
  /** this store's own folder; made when missing */
  readonly dir: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tell: TellEvent;
  /** default: the kernel's */
  readonly mounts?: VolumeMounts;
}

export interface VolumeRecord {
  readonly name: string;
  readonly driver: 'local';
  /** the directory to bind, absolute */
  readonly mountpoint: string;
  readonly createdAtMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  /** made for one container; removed with it, if its owner wants that */
  readonly anonymous: boolean;
  /** containers that use it */
  readonly usedBy: readonly string[];
}

/** Where a volume's first content comes from: an image's layers and a path in them. */
export interface PopulateSource {
  /** topmost first */
  readonly lowerDirs: readonly string[];
  /** absolute path inside the image */
  readonly path: string;
}

export interface CreateVolumeOptions {
  /** `''` = an own name of 64 hex digits */
  readonly name: string;
  /** `''` = local */
  readonly driver: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
}

export interface AcquireVolumeOptions extends Omit<CreateVolumeOptions, 'name'> {
  /** null = never copy (`volume-nocopy`) */
  readonly populateFrom: PopulateSource | null;
}

interface WantedVolume {
  readonly labels: StringMap;
  /** of the driver */
  readonly options: StringMap;
  /** null = a named volume */
  readonly madeFor: string | null;
}

interface StoredVolume {
  readonly name: string;
  readonly createdAtMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly anonymous: boolean;
  /** the container of an anonymous one: others may use it by its name, and do not take it along */
  readonly madeFor?: string;
  /** of the driver; absent = none */
  readonly options?: StringMap;
}

interface Volume {
  readonly stored: StoredVolume;
  readonly users: Set<string>;
  /** that look at its files, or change them, from outside of containers */
  visitors: number;
}

const isInUse = ({ users, visitors }: Volume): boolean => users.size > 0 || visitors > 0;

/** Docker's rule (`RestrictedNamePattern`), with a bound. */
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/;
const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
const ANONYMOUS_NAME_BYTES = 32;
const RECORD = 'volume.json';
/** Not a possible volume name. */
const TRASH_PREFIX = '.trash-';

/** Throws `not-found` for another driver. */
function requireLocalDriver(driver: string): void {
  if (driver === '' || driver === 'local') return;
  throw new SkepError('not-found', `create volume: plugin ${JSON.stringify(driver)} not found`);
}

export class VolumeStore {
  readonly #options: VolumeStoreOptions;
  readonly #log: Logger;
  readonly #mounts: VolumeMounts;
  readonly #volumes = new Map<string, Volume>();
  /** names of volumes that are there and could not be read: nothing of theirs is touched */
  readonly #damaged = new Set<string>();
  /** Per volume: creating, filling and removing follow one another. */
  readonly #locks = new Map<string, Promise<unknown>>();

  constructor(options: VolumeStoreOptions) {
    this.#options = options;
    this.#mounts = options.mounts ?? KERNEL_MOUNTS;
    this.#log = options.log.child({ component: 'volumes' });
  }

  /** Reads what is there; a volume whose making was interrupted is removed, one whose record is damaged is left as it is. */
  async start(): Promise<void> {
    await mkdir(this.#options.dir, { recursive: true, mode: 0o711 });
    for (const name of await readdir(this.#options.dir)) {
      if (name.startsWith(TRASH_PREFIX)) {
        await rm(this.#path(name), { recursive: true, force: true });
        continue;
      }
      let volume: Volume | null;
      try {
        volume = await this.#readVolume(name);
      } catch (err) {
        this.#damaged.add(name);
        this.#log.error(
          { volumeName: name, err },
          'volume cannot be read: the node goes on without it',
        );
        continue;
      }
      if (volume === null) {
        await this.#dropUnfinished(name);
        continue;
      }
      this.#volumes.set(name, volume);
      await rm(join(this.#path(name), 'filling'), { recursive: true, force: true });
    }
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.#locks.values());
  }

  /** By name. */
  list(): VolumeRecord[] {
    return [...this.#volumes.keys()].sort().map((name) => this.#record(name));
  }

  /** Of the files in it, counted now; 0 for one that is gone. */
  sizeBytes(name: string): Promise<number> {
    return this.#volumes.has(name) ? treeSizeBytes(this.#dataPath(name)) : Promise.resolve(0);
  }

  get(name: string): VolumeRecord | undefined {
    return this.#volumes.has(name) ? this.#record(name) : undefined;
  }

  /**
   * Makes a volume; an existing one of that name is given back as it is. Throws
   * `invalid-argument` (name), `not-found` (driver), `unimplemented` (driver option).
   */
  async create(options: CreateVolumeOptions): Promise<VolumeRecord> {
    requireLocalDriver(options.driver);
    parseVolumeOptions(options.options); // one that can never be mounted is told now
    const name = options.name === '' ? this.#randomName() : options.name;
    await this.#locked(name, () => this.#ensure(name, { ...options, madeFor: null }));
    return this.#record(name);
  }

  /**
   * Throws `not-found` (not with `force`), `conflict` while a container uses it (also with `force`,
   * as Docker).
   */
  async remove(name: string, options: { force: boolean }): Promise<void> {
    await this.#locked(name, async () => {
      const volume = this.#volumes.get(name);
      this.#requireSound(name);
      if (!volume) {
        if (options.force) return;
        throw new SkepError('not-found', `get ${name}: no such volume`);
      }
      if (isInUse(volume)) {
        const users = [...volume.users].join(', ') || 'an archive';
        throw new SkepError('conflict', `remove ${name}: volume is in use - [${users}]`);
      }
      await this.#destroy(name);
    });
  }

  /**
   * The directory of the volume for a container, made when there is none. An empty volume first
   * gets the image's content at `populateFrom.path`, with owners. Until `release` the volume cannot
   * be removed. Survives restarts; repeating it is harmless.
   */
  async acquire(
    containerId: string,
    name: string,
    options: AcquireVolumeOptions,
    signal?: AbortSignal,
  ): Promise<{ path: string }> {
    requireLocalDriver(options.driver);
    parseVolumeOptions(options.options);
    return this.#use(containerId, name, { ...options, madeFor: null }, signal);
  }

  /**
   * Before a container that has its volumes already is made again: what their options name is mounted,
   * also after a restart of the machine. Rejects with `failed-precondition` and what the kernel says.
   */
  async mountAgain(containerId: string): Promise<void> {
    for (const [name, volume] of [...this.#volumes]) {
      if (volume.users.has(containerId)) await this.#locked(name, () => this.#mount(name, volume));
    }
  }

  /**
   * Its directory, with what its options name mounted, while `work` runs, which keeps it from removal. Containers may
   * use it meanwhile. Rejects with `not-found`, or as `mountAgain`.
   */
  async withFiles<T>(name: string, work: (path: string) => Promise<T>): Promise<T> {
    const volume = await this.#locked(name, async () => {
      const found = this.#volumes.get(name);
      this.#requireSound(name);
      if (!found) throw new SkepError('not-found', `get ${name}: no such volume`);
      await this.#mount(name, found);
      found.visitors += 1;
      return found;
    });
    try {
      return await work(this.#dataPath(name));
    } finally {
      await this.#locked(name, async () => {
        volume.visitors -= 1;
        if (!isInUse(volume) && volume.stored.options) await this.#unmount(name);
      });
    }
  }

  /** A volume of 64 hex digits for this container; `release` removes it. */
  async createAnonymous(
    containerId: string,
    populateFrom: PopulateSource | null,
    signal?: AbortSignal,
  ): Promise<{ name: string; path: string }> {
    const name = this.#randomName();
    const labels = { 'com.docker.volume.anonymous': '' };
    const wanted = { labels, options: {}, populateFrom, madeFor: containerId };
    const { path } = await this.#use(containerId, name, wanted, signal);
    return { name, path };
  }

  /**
   * The container is gone: its volumes are free. Anonymous ones that were made for it and that nobody
   * else uses are removed, unless `keepsAnonymous`. Idempotent.
   */
  async release(containerId: string, { keepsAnonymous = false } = {}): Promise<void> {
    requireContainerId(containerId);
    for (const [name, volume] of [...this.#volumes]) {
      if (!volume.users.has(containerId)) continue;
      await this.#locked(name, async () => {
        volume.users.delete(containerId);
        await rm(join(this.#path(name), 'users', containerId), { force: true });
        this.#tell('unmount', name, { container: containerIdOf(asId<TaskId>(containerId)) });
        if (!isInUse(volume) && volume.stored.options) await this.#unmount(name);
        const { anonymous, madeFor = containerId } = volume.stored;
        const isItsOwn = anonymous && madeFor === containerId;
        if (isItsOwn && !keepsAnonymous && !isInUse(volume)) await this.#destroy(name);
      });
    }
  }

  /** Containers that hold a volume, for the owner's sweep of those it no longer knows. */
  usingContainers(): string[] {
    return [...new Set([...this.#volumes.values()].flatMap((volume) => [...volume.users]))];
  }

  async #use(
    containerId: string,
    name: string,
    wanted: WantedVolume & { readonly populateFrom: PopulateSource | null },
    signal?: AbortSignal,
  ): Promise<{ path: string }> {
    requireContainerId(containerId);
    return this.#locked(name, async () => {
      const volume = await this.#ensure(name, wanted);
      const path = this.#dataPath(name);
      const isMounted = await this.#mount(name, volume);
      if (volume.users.has(containerId)) return { path };
      try {
        const isShared = isMounted || isInUse(volume);
        if (wanted.populateFrom !== null && (await readdir(path)).length === 0) {
          await this.#fill(name, wanted.populateFrom, isShared, signal);
        }
        await writeFile(join(this.#path(name), 'users', containerId), '');
      } catch (err) {
        if (isMounted && !isInUse(volume)) await this.#unmount(name);
        throw err;
      }
      volume.users.add(containerId);
      this.#tell('mount', name, { container: containerIdOf(asId<TaskId>(containerId)) });
      return { path };
    });
  }

  /**
   * Nobody may see half a copy, so it is made aside and put in place as a whole; only a directory
   * that others have mounted already has to be filled where it is.
   */
  async #fill(
    name: string,
    { lowerDirs, path }: PopulateSource,
    isShared: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const tree = new LowerTree(lowerDirs);
    if (isShared) {
      await tree.copyDirectory(path, this.#dataPath(name), signal);
      return;
    }
    const filling = join(this.#path(name), 'filling');
    try {
      await mkdir(filling, { mode: 0o755 });
      const isFound = await tree.copyDirectory(path, filling, signal);
      if (isFound) await rename(filling, this.#dataPath(name)); // over the empty directory
    } finally {
      await rm(filling, { recursive: true, force: true });
    }
  }

  /** False: there is nothing to mount. */
  async #mount(name: string, { stored }: Volume): Promise<boolean> {
    const what = parseVolumeOptions(stored.options ?? {});
    if (what) await this.#mounts.mount(this.#dataPath(name), what);
    return what !== null;
  }

  /** What cannot be unmounted stays for the next who uses it, or the removal. */
  async #unmount(name: string): Promise<void> {
    try {
      await this.#mounts.unmount(this.#dataPath(name));
    } catch (err) {
      this.#log.warn({ volumeName: name, err }, 'volume that nobody uses stays mounted');
    }
  }

  async #ensure(name: string, { labels, madeFor, options }: WantedVolume): Promise<Volume> {
    const known = this.#volumes.get(name);
    if (known) return known;
    this.#requireSound(name);
    if (name.length < 2) {
      throw new SkepError(
        'invalid-argument',
        'volume name is too short, names should be at least two alphanumeric characters',
      );
    }
    if (!VOLUME_NAME.test(name)) {
      throw new SkepError(
        'invalid-argument',
        `create ${name}: ${JSON.stringify(name)} includes invalid characters for a local volume name,` +
          ' only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
      );
    }
    const stored: StoredVolume = {
      name,
      createdAtMs: this.#options.clock.wallMs(),
      labels,
      anonymous: madeFor !== null,
      ...(madeFor !== null && { madeFor }),
      ...(Object.keys(options).length > 0 && { options }),
    };
    await mkdir(join(this.#path(name), 'users'), { recursive: true, mode: 0o700 });
    await mkdir(this.#dataPath(name), { recursive: true, mode: 0o755 });
    await this.#writeStored(stored);
    const volume: Volume = { stored, users: new Set(), visitors: 0 };
    this.#volumes.set(name, volume);
    this.#tell('create', name);
    this.#log.debug({ volumeName: name }, 'volume created');
    return volume;
  }

  #requireSound(name: string): void {
    if (!this.#damaged.has(name)) return;
    const words = `volume ${name}: its ${RECORD} on this node cannot be read: mend it and start skepd anew`;
    throw new SkepError('data-loss', words);
  }

  /** Renamed first: half a volume is never seen, and the next start ends what was begun. */
  async #destroy(name: string): Promise<void> {
    const isMountable = this.#volumes.get(name)?.stored.options !== undefined;
    if (isMountable) await this.#mounts.unmount(this.#dataPath(name)); // or that would be removed
    const trash = this.#path(`${TRASH_PREFIX}${this.#randomName().slice(0, 16)}`);
    await rename(this.#path(name), trash);
    this.#volumes.delete(name);
    await rm(trash, { recursive: true, force: true });
    this.#tell('destroy', name);
    this.#log.debug({ volumeName: name }, 'volume removed');
  }

  #tell(action: string, name: string, more: StringMap = {}): void {
    const attributes = { driver: 'local', ...more };
    this.#options.tell({ type: 'volume', action, id: name, attributes });
  }

  /** A folder without a record: the remains of `#ensure`, unless somebody's data are in it. */
  async #dropUnfinished(name: string): Promise<void> {
    const contents = await readdir(this.#dataPath(name)).catch(() => []);
    if (contents.length === 0) await rm(this.#path(name), { recursive: true, force: true });
    else this.#log.warn({ volumeName: name }, 'volume without a record is left alone');
  }

  #record(name: string): VolumeRecord {
    const { stored, users } = this.#volumes.get(name)!;
    return {
      name: stored.name,
      createdAtMs: stored.createdAtMs,
      labels: stored.labels,
      anonymous: stored.anonymous,
      driver: 'local',
      mountpoint: this.#dataPath(name),
      options: stored.options ?? {},
      usedBy: [...users],
    };
  }

  #path(name: string): string {
    return join(this.#options.dir, name);
  }

  #dataPath(name: string): string {
    return join(this.#path(name), '_data');
  }

  #randomName(): string {
    return Buffer.from(this.#options.random.bytes(ANONYMOUS_NAME_BYTES)).toString('hex');
  }

  /** Durable: a named volume holds what people must not lose. */
  async #writeStored(stored: StoredVolume): Promise<void> {
    const path = join(this.#path(stored.name), RECORD);
    const handle = await open(`${path}.new`, 'w', 0o600);
    try {
      await handle.writeFile(JSON.stringify(stored));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${path}.new`, path);
    for (const directory of [this.#path(stored.name), this.#options.dir]) {
      const entry = await open(directory, 'r');
      try {
        await entry.sync();
      } finally {
        await entry.close();
      }
    }
  }

  async #readVolume(name: string): Promise<Volume | null> {
    let text: string;
    try {
      text = await readFile(join(this.#path(name), RECORD), 'utf8');
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw err;
    }
    const users = await readdir(join(this.#path(name), 'users'));
    const stored = JSON.parse(text) as StoredVolume | null;
    if (stored?.name !== name) throw new SkepError('data-loss', `volume ${name}: not its record`);
    return { stored, users: new Set(users), visitors: 0 };
  }

  async #locked<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#locks.get(name) ?? Promise.resolve();
    const result = before.then(work, work);
    const settled = result.then(
      () => {},
      () => {}, // reported to the caller
    );
    this.#locks.set(name, settled);
    try {
      return await result;
    } finally {
      if (this.#locks.get(name) === settled) this.#locks.delete(name);
    }
  }
}

function requireContainerId(containerId: string): void {
  if (!CONTAINER_ID.test(containerId)) {
    throw new SkepError('invalid-argument', `use volume: container id ${containerId} is malformed`);
  }
}
