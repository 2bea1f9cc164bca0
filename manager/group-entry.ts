/**
 * How this manager gets into the Raft group and out of it again: what it asks of the others. Knows
 * no log and no store.
 */
import { Backoff } from '../common/base/backoff.ts';
import type { Clock } from '../common/base/clock.ts';
import { withDeadline } from '../common/base/deadline.ts';
import { describeError, hasCode, SkepError } from '../common/base/errors.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import { LeaderCaller, type LeaderCallOptions, type LeaderLocator } from '../common/rpc/leader.ts';
import { addMember, type ClusterMember, removeMember } from '../common/rpc/membership-methods.ts';
import type { Peer } from '../common/rpc/peer.ts';

/** What an entry needs of the Raft node. */
export interface EnteringNode {
  members(): readonly { readonly raftId: number; readonly address: string; leader: boolean }[];
  readBarrier(signal: AbortSignal): Promise<unknown>;
}

export interface GroupEntryOptions {
  readonly member: ClusterMember;
  readonly raft: EnteringNode;
  /** managers known from elsewhere than the log, `IP:port` */
  readonly managerAddresses: readonly string[];
  readonly pool: LeaderCallOptions['pool'];
  readonly self: () => Peer;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export const ENTRY_TIMEOUT_MS = 20_000;
/** Leaving must not wait long for a group that may have no quorum. */
export const WITHDRAWAL_TIMEOUT_MS = 3_000;
const RETRY_MS = 200;
const RESUME = { baseMs: 500, maxMs: 10_000 };

export class GroupEntry {
  readonly #options: GroupEntryOptions;
  /** Addresses that were asked since all of them had been. */
  readonly #asked = new Set<string>();

  constructor(options: GroupEntryOptions) {
    this.#options = options;
  }

  /**
   * Asks to be added and waits until this node has caught up. Once added it is a member, whose state
   * must not be thrown away: slowness after that is logged, not thrown. Rejects with
   * `signal.reason` on abort, which takes nothing back.
   */
  async enter(signal?: AbortSignal): Promise<void> {
    try {
      await this.#add(signal);
    } catch (err) {
      signal?.throwIfAborted();
      await this.#takeBack(err);
      throw err;
    }
    await this.#catchUp(signal);
  }

  /**
   * Goes on with an entry that an end of the process cut short; until it is done. Resolves with false
   * when this member was removed meanwhile: its id is not used again.
   */
  async resume(signal: AbortSignal): Promise<boolean> {
    const { raft, member, clock, random, log } = this.#options;
    const backoff = new Backoff(RESUME, random);
    while (!raft.members().some(({ raftId }) => raftId === member.raftId)) {
      try {
        await this.#add(signal);
        return true;
      } catch (err) {
        signal.throwIfAborted();
        if (hasCode(err, 'failed-precondition')) return false;
        log.warn({ reason: describeError(err) }, 'joining the managers failed, will be retried');
      }
      await clock.sleep(backoff.nextDelayMs(), signal);
    }
    return true;
  }

  async #add(signal?: AbortSignal): Promise<void> {
    const { member } = this.#options;
    await this.#caller().run({
      method: addMember,
      request: member,
      local: () => Promise.reject(new SkepError('internal', 'a joining manager leads nothing')),
      caller: null,
      timeoutMs: ENTRY_TIMEOUT_MS,
      signal,
    });
  }

  /** Nobody knows whether an unanswered request was carried out: a member that never was is undone. */
  async #takeBack(cause: unknown): Promise<void> {
    if (!hasCode(cause, 'unavailable', 'deadline-exceeded', 'cancelled', 'internal')) return;
    const { member, clock, log } = this.#options;
    try {
      await withDeadline(
        { clock, limitMs: WITHDRAWAL_TIMEOUT_MS, action: 'withdraw from the managers' },
        (signal) =>
          this.#caller().run({
            method: removeMember,
            request: { raftId: member.raftId },
            local: () => Promise.reject(new SkepError('internal', 'not a leader')),
            caller: null,
            signal,
          }),
      );
    } catch (err) {
      log.debug({ reason: describeError(err) }, 'a failed entry could not be taken back');
    }
  }

  /** The first state comes as a snapshot; an election meanwhile lets a single wait fail. */
  async #catchUp(signal?: AbortSignal): Promise<void> {
    const { raft, clock, log } = this.#options;
    const action = 'catch up with the managers';
    try {
      await withDeadline({ clock, limitMs: ENTRY_TIMEOUT_MS, action, signal }, async (limit) => {
        for (;;) {
          try {
            await raft.readBarrier(limit);
            return;
          } catch (err) {
            if (!hasCode(err, 'no-leader', 'not-leader', 'unavailable')) throw err;
            await clock.sleep(RETRY_MS, limit);
          }
        }
      });
    } catch (err) {
      signal?.throwIfAborted();
      log.warn({ reason: describeError(err) }, 'this manager has not caught up yet');
    }
  }

  #caller(): LeaderCaller {
    const { pool, clock, self } = this.#options;
    const asking: LeaderCallOptions['pool'] = {
      client: (address) => {
        if (this.#others().every((other) => this.#asked.has(other))) this.#asked.clear();
        this.#asked.add(address);
        return pool.client(address);
      },
    };
    return new LeaderCaller({ locator: this.#locator(), pool: asking, clock, self });
  }

  /** The known managers in turn: any of them names the leader. */
  #locator(): LeaderLocator {
    return {
      isLeader: () => false,
      leaderAddress: () => {
        const others = this.#others();
        return others.find((address) => !this.#asked.has(address)) ?? others[0] ?? null;
      },
      onChange: () => () => {}, // this node knows no better than whom it asks
    };
  }

  /** Addresses of the other managers, the leader's first. */
  #others(): string[] {
    const { raft, member, managerAddresses } = this.#options;
    const known = [...raft.members()].sort((a, b) => Number(b.leader) - Number(a.leader));
    const addresses = [...known.map(({ address }) => address), ...managerAddresses];
    return addresses.filter((address) => address !== member.address);
  }
}
