/**
 * Makes this node what the managers want it to be, manager or worker: first the certificate, then the
 * rooms. The last wish wins. Knows neither certificates nor rooms.
 */
import type { Clock } from '../common/base/clock.ts';
import type { TaskSet } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { NodeRole } from '../common/model/node.ts';

export interface RoleFollowerOptions {
  /** What this node is now; a manager that was removed from the group is none. */
  readonly plays: () => NodeRole;
  /** Fetches a new certificate; resolves with the role that it grants. */
  readonly renew: (signal: AbortSignal) => Promise<NodeRole>;
  /** May be repeated after a failure. */
  readonly become: (role: NodeRole, signal: AbortSignal) => Promise<void>;
  /** of the membership: a role is followed no longer than that lasts */
  readonly tasks: TaskSet;
  readonly clock: Clock;
  readonly log: Logger;
}

const RETRY_MS = 1_000;

/** INVARIANT: one change at a time; `#wanted` is null when none is due. */
export class RoleFollower {
  readonly #options: RoleFollowerOptions;
  /** by the last session message */
  #told: NodeRole | null = null;
  #wanted: NodeRole | null = null;
  #changing = false;

  constructor(options: RoleFollowerOptions) {
    this.#options = options;
  }

  /** The dispatcher said what this node shall be. */
  follow(role: NodeRole): void {
    this.#told = role;
    if (role !== (this.#wanted ?? this.#options.plays())) this.#want(role);
  }

  /**
   * This node is no member of the group of managers any more: the rest of a demotion, or, when it is
   * to be a manager all the same, a reason to join again.
   */
  removed(): void {
    this.#want(this.#told ?? 'worker');
  }

  #want(role: NodeRole): void {
    this.#wanted = role;
    if (this.#changing) return;
    this.#changing = true;
    this.#options.tasks.run(async (signal) => {
      try {
        await this.#change(signal);
      } finally {
        this.#changing = false;
      }
    });
  }

  async #change(signal: AbortSignal): Promise<void> {
    for (let role = this.#wanted; role !== null; role = this.#wanted) {
      const done = await this.#attempt(role, signal);
      if (!done) await this.#options.clock.sleep(RETRY_MS, signal);
      else if (this.#wanted === role) this.#wanted = null;
    }
  }

  /** False when the managers do not grant the role yet, or something failed. */
  async #attempt(role: NodeRole, signal: AbortSignal): Promise<boolean> {
    const { renew, become, log } = this.#options;
    try {
      if ((await renew(signal)) !== role) return false;
      await become(role, signal);
      log.info({ role }, 'role changed');
      return true;
    } catch (err) {
      signal.throwIfAborted();
      log.warn({ role, err }, 'role change failed, will be retried');
      return false;
    }
  }
}
