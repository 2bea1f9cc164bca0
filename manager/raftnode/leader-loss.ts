/**
 * A follower whose leader's stream broke off does not wait for an election timeout: it asks the leader's
 * host whether the process is gone, and if so forgets the leader, so that it may vote, and campaigns soon,
 * by a pre-vote. Knows when, not what an election is.
 *
 * A broken stream alone proves nothing: streams break on bad links, and a leader that lives would be
 * deposed each time. Connections that are refused prove that its process ended, as far as this node can
 * know; and if one is refused by mistake, who still hears the leader ignores the pre-vote, no term is raised,
 * and its next heartbeat makes this node a follower again. A leader that vanished with its host, or hangs,
 * refuses nothing: then the election timeout tells.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { TaskSet } from '../../common/base/lifecycle.ts';
import type { RawNode } from '../raft/raw-node.ts';
import { NO_NODE } from '../raft/types.ts';
import type { Leadership } from './leadership.ts';
import type { MemberView } from './member-view.ts';
import type { NodeLife } from './node-life.ts';
import type { PeerTransport } from './peer-transport.ts';

/** Until the first one campaigns: by then the others know of the loss too. */
const FIRST_MS = 30;
/**
 * From one to the next, in the order of ids: two that campaign at once may split the votes, and then only
 * the election timeout helps. Two rounds of messages and two flushes fit in.
 */
const STEP_MS = 150;

export interface LeaderLossOptions {
  readonly raftId: number;
  readonly raw: RawNode;
  readonly life: NodeLife;
  readonly view: MemberView;
  readonly leadership: Leadership;
  readonly transport: Pick<PeerTransport, 'isGone'>;
  readonly clock: Clock;
  readonly tasks: TaskSet;
  /** The core has something to do. */
  readonly wake: () => void;
}

/** INVARIANT: a leader is given up early only when its process is gone; a host is asked once at a time. */
export class LeaderLoss {
  readonly #options: LeaderLossOptions;
  readonly #asked = new Set<number>();
  #timer: Timer | null = null;

  constructor(options: LeaderLossOptions) {
    this.#options = options;
  }

  /** The stream of messages from `raftId` broke off. */
  told(raftId: number): void {
    if (!this.#follows(raftId) || this.#asked.has(raftId)) return;
    const { tasks, transport, life } = this.#options;
    this.#asked.add(raftId);
    tasks.run(async (signal) => {
      const isGone = await transport.isGone(raftId, signal);
      this.#asked.delete(raftId);
      if (isGone) life.guarded(() => this.#giveUp(raftId));
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #follows(raftId: number): boolean {
    const { soft, isLeader } = this.#options.leadership;
    return soft.leader === raftId && !isLeader;
  }

  #giveUp(leader: number): void {
    if (!this.#follows(leader)) return; // another one took over meanwhile
    const { raftId, raw, view, clock, wake } = this.#options;
    raw.forgetLeader();
    wake();
    const others = view.confState.voters.filter((id) => id !== leader);
    const rank = others.sort((a, b) => a - b).indexOf(raftId);
    if (rank < 0) return; // a learner
    this.#timer?.cancel();
    this.#timer = clock.setTimer(FIRST_MS + rank * STEP_MS, () => this.#campaign());
  }

  #campaign(): void {
    const { raw, life, leadership, wake } = this.#options;
    life.guarded(() => {
      if (leadership.soft.leader !== NO_NODE) return; // it is back, or another leads
      raw.campaign();
      wake();
    });
  }
}
