/**
 * How soon one that stands for election stands again. A split vote is often not even lost: with the old
 * leader gone two voters of five can be for each of two, and none hears more. A whole election timeout
 * would only be waited for. Knows nothing of messages.
 */
import type { Random } from '../../common/base/random.ts';
import { NO_NODE, type SoftState } from '../raft/types.ts';

/** Elections after which a node stands again at a time drawn by lot; then it keeps to its place. */
const DRAWN_MAX = 1;
/** From one place to the next: the second one asks when the first has the votes. */
const APART_TICKS = 1;

export interface ElectionPaceOptions {
  readonly electionTicks: () => number;
  readonly random: Random;
  /** The place of this node among the voters, from 0. */
  readonly rank: () => number;
  /** Replaces the timeout that the core has drawn, until it draws again: at each change of role. */
  readonly setTimeoutTicks: (ticks: number) => void;
}

/**
 * Two that draw one of five ticks draw alike at times, and votes are split once more. Who stood twice keeps
 * to its place among the voters, so that those who began together do not meet again: of 1,200 elections
 * among four of five members on links of 60 ms none takes longer than 2.9 s; by lot alone two did, up to 3.5 s.
 *
 * INVARIANT: who follows a leader has a usual timeout, of 1 to 2 election timeouts. An election, with the
 * writes of its votes, has half an election timeout before anybody disturbs it.
 */
export class ElectionPace {
  readonly #options: ElectionPaceOptions;
  #before: SoftState = { leader: NO_NODE, role: 'follower' };
  #beforeTerm = 0;
  #hurries = false;
  /** Elections in a row that this node stood for, without a leader since. */
  #candidacies = 0;

  constructor(options: ElectionPaceOptions) {
    this.#options = options;
  }

  /** What the core says now. */
  note(soft: SoftState, term: number): void {
    const { random, rank, setTimeoutTicks } = this.#options;
    const electionTicks = this.#options.electionTicks();
    const half = Math.ceil(electionTicks / 2);
    const { role, leader } = soft;
    const stands = role === 'candidate' || role === 'pre-candidate';
    // In a higher term another candidate is on its way.
    const lost = this.#before.role === 'candidate' && term === this.#beforeTerm;
    if (leader !== NO_NODE) this.#candidacies = 0;
    if (stands && (role !== this.#before.role || term !== this.#beforeTerm)) {
      if (role === 'candidate') this.#candidacies++;
      const isDrawn = this.#candidacies <= DRAWN_MAX;
      setTimeoutTicks(half + (isDrawn ? random.below(half) : APART_TICKS * rank()));
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
