/**
 * Who leads, as this node knows it, and who wants to be told. Knows how leadership is announced, not
 * how it is won.
 */
import { NO_NODE, type SoftState } from '../raft/types.ts';

export type LeadershipListener = (isLeader: boolean, term: number) => void;

const NOBODY: SoftState = { leader: NO_NODE, role: 'follower' };

/** INVARIANT: listeners hear true and false in turn, true first. */
export class Leadership {
  #soft: SoftState = NOBODY;
  /** The term in which this node leads, 0 when it does not. */
  #term = 0;
  #settled = false;
  readonly #listeners = new Set<LeadershipListener>();
  readonly #waiting = new Set<() => void>();

  get soft(): SoftState {
    return this.#soft;
  }

  get isLeader(): boolean {
    return this.#soft.role === 'leader';
  }

  /** This node leads and has applied everything of earlier terms. */
  get isSettled(): boolean {
    return this.#settled;
  }

  /** The term in which this node leads, 0 when it does not. */
  get leadingTerm(): number {
    return this.#term;
  }

  onChange(listener: LeadershipListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves at the next change or tick; the caller looks again. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  /** Lets whoever waits in `changed` look. */
  wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }

  /** What the core says now. Returns what is new; `lost` also when it leads again in a later term. */
  note(soft: SoftState, term: number): { lost: boolean; leader: boolean; role: boolean } {
    const before = this.#soft;
    this.#soft = soft;
    const lost = this.#term !== 0 && (soft.role !== 'leader' || this.#term !== term);
    if (lost) this.#lose();
    if (soft.role === 'leader') this.#term = term;
    const leader = soft.leader !== before.leader;
    const role = soft.role !== before.role;
    if (leader || role) this.wake();
    return { lost, leader, role };
  }

  /** An entry of `term` was applied: the first one of its own term ends a leader's backlog. */
  applied(term: number): void {
    if (this.#settled || this.#term === 0 || term !== this.#term) return;
    this.#settled = true;
    for (const listener of [...this.#listeners]) listener(true, term);
  }

  /** This node takes no part any more. */
  end(): void {
    this.#soft = NOBODY;
    this.#lose();
    this.wake();
  }

  #lose(): void {
    const term = this.#term;
    const wasSettled = this.#settled;
    this.#term = 0;
    this.#settled = false;
    if (wasSettled) for (const listener of [...this.#listeners]) listener(false, term);
  }
}
