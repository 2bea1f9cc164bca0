/**
 * Makes this node what the managers want it to be, manager or worker: first the certificate, then the
 * rooms. The last wish wins. A node that was removed from the swarm ends as no manager, whatever was
 * wished. Knows neither certificates nor rooms.
 */
import { Backoff } from '../common/base/backoff.ts';
import type { Clock } from '../common/base/clock.ts';
import { describeError, hasCode } from '../common/base/errors.ts';
import type { TaskSet } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import type { NodeRole } from '../common/model/node.ts';

export interface RoleFollowerOptions {
  /** What this node is now; a manager that was removed from the group is none. */
  readonly plays: () => NodeRole;
  /**
   * Fetches a new certificate; resolves with the role that it grants. Rejects with `permission-denied`
   * when this node was removed from the swarm, which it can be only when it is no member of the group.
   */
  readonly renew: (signal: AbortSignal) => Promise<NodeRole>;
  /** May be repeated after a failure. */
  readonly become: (role: NodeRole, signal: AbortSignal) => Promise<void>;
  /** of the membership: a role is followed no longer than that lasts */
  readonly tasks: TaskSet;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Until the managers grant the role: a second or two, as a rule. */
const ASK_AGAIN_MS = 1_000;
const FAILED = { baseMs: 1_000, maxMs: 30_000 };

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
    const { clock, random, log } = this.#options;
    const backoff = new Backoff(FAILED, random);
    for (let role = this.#wanted; role !== null; role = this.#wanted) {
      let waitMs = 0;
      try {
        if (!(await this.#attempt(role, signal))) waitMs = ASK_AGAIN_MS;
        else if (this.#wanted === role) this.#wanted = null;
      } catch (err) {
        signal.throwIfAborted();
        log.warn({ role, reason: describeError(err) }, 'role change failed, will be retried');
        waitMs = backoff.nextDelayMs();
      }
      if (waitMs > 0) await clock.sleep(waitMs, signal);
    }
  }

  /** False when the managers do not grant the role yet. */
  async #attempt(role: NodeRole, signal: AbortSignal): Promise<boolean> {
    const { become, log } = this.#options;
    const granted = await this.#granted(signal);
    if (granted === null) {
      await become('worker', signal);
      log.warn({}, 'this node was removed from the swarm and is no manager any more');
      return true;
    }
    if (granted !== role) return false;
    await become(role, signal);
    log.info({ role }, 'role changed');
    return true;
  }

  /** Null: none any more. */
  async #granted(signal: AbortSignal): Promise<NodeRole | null> {
    try {
      return await this.#options.renew(signal);
    } catch (err) {
      if (hasCode(err, 'permission-denied')) return null;
      throw err;
    }
  }
}
