/**
 * Seals this manager's keys as the cluster says, on every manager: under its unlock key, under a newer
 * one, or not at all. Writes no objects.
 */
import { parseUnlockKey } from '../common/pki/unlock-key.ts';
import type { ManagerLock } from './manager-files.ts';
import type { KeptManagerKeys } from './manager-keys.ts';
import { Follower, type FollowerOptions } from './store/follower.ts';

const RETRY_MS = 5_000;

export interface LockFollowerOptions extends FollowerOptions {
  readonly keys: KeptManagerKeys;
  /** A new data key, saved under what was adopted: who knew the old unlock key learns nothing more. */
  readonly rotateKey: () => Promise<void>;
  /** The keys on the disk are sealed otherwise than before. */
  readonly changed: () => void;
}

export class LockFollower {
  readonly #options: LockFollowerOptions;
  readonly #follower: Follower;

  constructor(options: LockFollowerOptions) {
    this.#options = options;
    this.#follower = new Follower(options, {
      resync: (signal) => this.#follow(signal),
      react: (_, signal) => this.#follow(signal),
    });
  }

  async start(): Promise<void> {
    this.#follower.start();
  }

  /** Idempotent. */
  stop(): Promise<void> {
    return this.#follower.stop();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { keys, rotateKey, changed, clock, log } = this.#options;
    for (;;) {
      const wanted = this.#wanted();
      if (wanted === null || wanted.version <= keys.lock.version) return;
      keys.adopt(wanted);
      try {
        await rotateKey();
        log.info({ locked: wanted.key !== null }, 'manager keys follow the unlock key');
        changed();
      } catch (err) {
        signal.throwIfAborted();
        log.warn({ err }, 'manager keys do not follow the unlock key yet, will be retried');
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }

  /** null before this manager knows its cluster. */
  #wanted(): ManagerLock | null {
    const cluster = this.#options.store.view((view) => view.list('cluster')[0]);
    if (!cluster) return null;
    const { unlockKey, unlockKeyVersion: version } = cluster;
    return { key: unlockKey === '' ? null : parseUnlockKey(unlockKey), version };
  }
}
