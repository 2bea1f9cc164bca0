/**
 * The keys of a manager while it runs: the file is written whenever one of them changes, one change at
 * a time. Knows neither when keys change nor what they encrypt.
 */
import type { Random } from '../common/base/random.ts';
import { type ManagerKeys, type ManagerLock, saveManagerFile } from './manager-files.ts';
import type { Disk } from './raftnode/disk.ts';
import type { RaftKeys } from './raftnode/key-rotation.ts';

export interface ManagerKeysOptions {
  readonly disk: Disk;
  readonly path: string;
  readonly random: Random;
  readonly keys: ManagerKeys;
  readonly lock: ManagerLock;
}

export class KeptManagerKeys {
  readonly #options: ManagerKeysOptions;
  #keys: ManagerKeys;
  #lock: ManagerLock;
  /** What the next write seals under; see `adopt`. */
  #nextLock: ManagerLock;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(options: ManagerKeysOptions) {
    this.#options = options;
    this.#keys = options.keys;
    this.#lock = options.lock;
    this.#nextLock = options.lock;
  }

  get keys(): ManagerKeys {
    return this.#keys;
  }

  /** Under what the file is sealed. */
  get lock(): ManagerLock {
    return this.#lock;
  }

  /** For a first start, before there is a log. */
  save(): Promise<void> {
    return this.#exclusively(() => this.#change(this.#keys));
  }

  /** From now on a missing log is damage. */
  saveHasLog(): Promise<void> {
    return this.#exclusively(() => this.#change({ ...this.#keys, hasLog: true }));
  }

  /** Durable when it resolves. A rejection leaves the old or the new file. */
  saveDeks(deks: RaftKeys): Promise<void> {
    return this.#exclusively(() => this.#change({ ...this.#keys, ...deks }));
  }

  /** The next write seals the keys under `lock`: the change of key that must follow is that write. */
  adopt(lock: ManagerLock): void {
    this.#nextLock = lock;
  }

  async #change(keys: ManagerKeys): Promise<void> {
    const { disk, path, random } = this.#options;
    const lock = this.#nextLock;
    await saveManagerFile(disk, path, keys, lock, random);
    this.#keys = keys;
    this.#lock = lock;
  }

  #exclusively(work: () => Promise<void>): Promise<void> {
    const result = this.#writing.then(work);
    this.#writing = result.catch(() => {}); // told to whoever asked for that change
    return result;
  }
}
