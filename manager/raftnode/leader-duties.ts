/**
 * What a leader does beside leading: promotes learners, corrects addresses, and finds who takes over
 * when it goes. Knows members and progress, not how changes are proposed.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { RawNode } from '../raft/raw-node.ts';
import { NO_NODE } from '../raft/types.ts';
import type { Leadership } from './leadership.ts';
import type { MemberChanges } from './member-changes.ts';
import type { MemberView } from './member-view.ts';
import type { NodeLife } from './node-life.ts';

export interface LeaderDutiesOptions {
  readonly raftId: number;
  readonly electionTicks: () => number;
  readonly raw: RawNode;
  readonly life: NodeLife;
  readonly view: MemberView;
  readonly leadership: Leadership;
  readonly changes: MemberChanges;
  readonly tasks: TaskSet;
  readonly log: Logger;
  /** The core has something to do. */
  readonly wake: () => void;
  readonly notLeader: (action: string) => Error;
}

export class LeaderDuties {
  readonly #options: LeaderDutiesOptions;
  #ticks = 0;

  constructor(options: LeaderDutiesOptions) {
    this.#options = options;
  }

  tick(): void {
    this.#ticks++;
    if (!this.#options.leadership.isSettled) return;
    const { raw, view, changes, tasks, electionTicks } = this.#options;
    const { signal } = tasks;
    if (view.confState.learners.length > 0) {
      const promotion = changes.promote(() => raw.status(), signal);
      if (promotion !== null) this.#inBackground(promotion, 'promotion of a manager failed');
    }
    if (this.#ticks % electionTicks() !== 0) return;
    // A member that came back under another address is found by its id.
    for (const record of view.moved()) {
      const update = changes.update(record, signal);
      this.#inBackground(update, 'update of a manager address failed');
    }
  }

  /** Who is asked to take over: the voter that has most of the log; null when none is reachable. */
  successor(): number | null {
    const { raftId, raw, view } = this.#options;
    const { progress, confState } = raw.status();
    const others = confState.voters.filter((id) => id !== raftId && view.isReachable(id));
    const match = (id: number): number => progress.get(id)?.match ?? 0;
    return others.sort((a, b) => match(b) - match(a))[0] ?? null;
  }

  /** Asks a successor to take over, if there is one and this node leads. */
  yieldLeadership(): void {
    const { raw, leadership, wake } = this.#options;
    const to = leadership.isLeader ? this.successor() : null;
    if (to === null) return;
    raw.transferLeader(to);
    wake();
  }

  /** See `RaftNode.transferLeadership`. */
  async transfer(signal?: AbortSignal): Promise<void> {
    const { raftId, electionTicks, raw, life, leadership, wake, notLeader } = this.#options;
    const action = 'transfer raft leadership';
    if (!leadership.isLeader) throw notLeader(action);
    const to = this.successor();
    if (to === null) {
      throw new SkepError('failed-precondition', `${action}: no other voting manager is reachable`);
    }
    raw.transferLeader(to);
    wake();
    const deadline = this.#ticks + electionTicks() + 1;
    const isDone = (): boolean => ![NO_NODE, raftId].includes(leadership.soft.leader);
    while (!isDone() && life.isActive) {
      signal?.throwIfAborted();
      if (this.#ticks >= deadline) {
        throw new SkepError('unavailable', `${action} to ${to.toString(16)}: it did not take over`);
      }
      await leadership.changed();
    }
  }

  #inBackground(work: Promise<unknown>, failure: string): void {
    const { tasks, log } = this.#options;
    tasks.run(async () => {
      try {
        await work;
      } catch (err) {
        log.warn({ err }, failure); // tried again at a later tick
      }
    });
  }
}
