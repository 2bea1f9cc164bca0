/**
 * How soon one that stands for election stands again. A split vote is often not even lost: with the old
 * leader gone two voters of five can be for each of two, and none hears more. A whole election timeout
 * would only be waited for. Knows nothing of messages.
 */
import type { Random } from '../../common/base/random.ts';
import { NO_NODE, type SoftState } from '../raft/types.ts';

export interface ElectionPaceOptions {
  readonly electionTicks: number;
  readonly random: Random;
  /** Replaces the timeout that the core has drawn, until it draws again: at each change of role. */
  readonly setTimeoutTicks: (ticks: number) => void;
}

/**
 * INVARIANT: who follows a leader has a usual timeout, of 1 to 2 election timeouts. An election, with the
 * writes of its votes, has half an election timeout before anybody disturbs it.
 */
export class ElectionPace {
  readonly #options: ElectionPaceOptions;
  #before: SoftState = { leader: NO_NODE, role: 'follower' };
  #beforeTerm = 0;
  #hurries = false;

  constructor(options: ElectionPaceOptions) {
    this.#options = options;
  }

  /** What the core says now. */
  note(soft: SoftState, term: number): void {
    const { electionTicks, random, setTimeoutTicks } = this.#options;
    const half = Math.ceil(electionTicks / 2);
    const { role, leader } = soft;
    const stands = role === 'candidate' || role === 'pre-candidate';
    // In a higher term another candidate is on its way.
    const lost = this.#before.role === 'candidate' && term === this.#beforeTerm;
    if (stands && (role !== this.#before.role || term !== this.#beforeTerm)) {
      setTimeoutTicks(half + random.below(half));
    } else if (lost && role === 'follower' && leader === NO_NODE) {
      this.#hurries = true;
      setTimeoutTicks(1 + random.below(half));
    } else if (this.#hurries && role === 'follower' && leader !== NO_NODE) {
      this.#hurries = false;
      setTimeoutTicks(electionTicks + random.below(electionTicks));
    }
    this.#before = soft;
    this.#beforeTerm = term;
  }
}
