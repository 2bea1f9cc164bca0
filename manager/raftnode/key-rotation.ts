/**
 * Changes the data encryption key of a running node. Knows the order of the steps, not the files.
 *
 *   1. the keys are saved: a new one to write with, the ones before it to read;
 *   2. the log begins a segment under the new key, later snapshots are under it as well;
 *   3. a snapshot of everything that older segments hold replaces them;
 *   4. when nothing on the disk needs an older key, the new one is saved alone.
 *
 * INVARIANT: a key is saved before anything is written under it and until nothing is left under it.
 * So after an end at any point the saved keys open every file, and step 3 is taken up again.
 */
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { AppendLoop } from './append-loop.ts';
import { DEK_BYTES, Keyring } from './crypt.ts';
import type { DurableState } from './durable-state.ts';

export interface RaftKeys {
  /** Writes; 32 bytes. */
  readonly dek: Uint8Array;
  /** Only read: files under them are replaced. */
  readonly olderDeks: readonly Uint8Array[];
}

/** Durable when it resolves; after a rejection the old or the new keys are. */
export type SaveKeys = (keys: RaftKeys) => Promise<void>;

export interface KeyRotationOptions {
  readonly keys: RaftKeys;
  /** Undefined: the key cannot be changed. */
  readonly save: SaveKeys | undefined;
  readonly durable: DurableState;
  readonly appends: AppendLoop;
  readonly random: Random;
  readonly log: Logger;
  /** Ticks after a failed attempt to save. */
  readonly retryTicks: () => number;
  /** See `NodeSnapshots.replaceIfCovering`. */
  readonly replaceFiles: (index: number) => void;
  /** Work whose failure ends the node. */
  readonly run: (work: () => Promise<void>) => void;
}

export class KeyRotation {
  readonly #options: KeyRotationOptions;
  #keys: RaftKeys;
  #changing: Promise<void> = Promise.resolve();
  #busy = false;
  #ticks = 0;
  #notBeforeTick = 0;

  constructor(options: KeyRotationOptions) {
    this.#options = options;
    this.#keys = options.keys;
  }

  /** Files may still be under an older key. */
  get underWay(): boolean {
    return this.#keys.olderDeks.length > 0;
  }

  /**
   * Resolves when a new key is saved and writes everything from now on. Older files follow by
   * themselves: `underWay` tells. Rejects when the keys could not be saved; the key is the old one.
   */
  rotate(): Promise<void> {
    const result = this.#changing.then(() => this.#begin());
    this.#changing = result.catch(() => {}); // told to whoever asked for that change
    return result;
  }

  /** Goes on with what is under way, also with what an earlier process began. */
  tick(): void {
    this.#ticks++;
    if (!this.underWay || this.#busy || this.#ticks < this.#notBeforeTick) return;
    this.#busy = true;
    this.#options.run(async () => {
      try {
        await this.#advance();
      } finally {
        this.#busy = false;
      }
    });
  }

  async #begin(): Promise<void> {
    const { save, random, log } = this.#options;
    if (save === undefined) throw new Error('rotate raft key: nobody keeps the keys');
    const keys: RaftKeys = {
      dek: random.bytes(DEK_BYTES),
      olderDeks: [this.#keys.dek, ...this.#keys.olderDeks],
    };
    await save(keys);
    await this.#use(keys);
    // Only now: until the files are judged by the new key, none of them would count as old.
    this.#keys = keys;
    log.info({}, 'raft key changed, replacing what is under the old one');
  }

  async #advance(): Promise<void> {
    const { durable, replaceFiles } = this.#options;
    const keys = this.#keys;
    const staleUpTo = durable.wal.staleUpTo;
    const isDone = staleUpTo === null && !(await durable.snapshots.hasStale());
    if (keys !== this.#keys) return; // changed once more meanwhile
    if (isDone) await this.#finish(keys);
    else replaceFiles(staleUpTo ?? 0);
  }

  async #finish({ dek }: RaftKeys): Promise<void> {
    const { save, log, retryTicks } = this.#options;
    const keys: RaftKeys = { dek, olderDeks: [] };
    const finishing = this.#changing.then(async () => {
      if (this.#keys.dek !== dek) return;
      await save?.(keys);
      this.#keys = keys;
      await this.#use(keys);
      log.info({}, 'nothing is under an old raft key any more');
    });
    this.#changing = finishing.catch((err: unknown) => {
      log.warn({ err }, 'could not save the raft key alone, will be retried');
      this.#notBeforeTick = this.#ticks + retryTicks();
    });
    await this.#changing;
  }

  #use({ dek, olderDeks }: RaftKeys): Promise<void> {
    return this.#options.appends.rekey(new Keyring(dek, olderDeks));
  }
}
