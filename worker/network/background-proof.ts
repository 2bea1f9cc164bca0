/**
 * The self-proof again and again, in short turns between what is ordered of the same namespaces: comparing those of
 * hundreds of tasks that were just started takes longer than the start of one. Knows when, not what.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { Logger } from '../../common/base/log.ts';
import { type Proof, type ProofTurn, together } from './self-proof.ts';

export interface BackgroundProofOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /**
   * One turn, when its time has come; `begin` is to be called then. null = there is nothing to prove any more
   */
  readonly prove: (begin: () => ProofTurn) => Promise<Proof | null>;
  /** A proof is through. */
  readonly tell: (proof: Proof) => void;
}

/** Drift is to be mended within 10 s: looked for often enough that two misses do no harm. */
const PERIOD_MS = 3_000;
/** Of a start, whose network takes as long. */
const TURN_MS = 5;
/** After this long of turns between orders that do not end the rest is compared at once. */
const PATIENCE_MS = 4_000;

export class BackgroundProof {
  readonly #options: BackgroundProofOptions;
  #timer: Timer | null = null;
  #isUnderWay = false;

  constructor(options: BackgroundProofOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.clock.setPeriodic(PERIOD_MS, () => this.#proveSoon());
  }

  /** A turn under way goes on; none follows it that finds something to prove. */
  stop(): void {
    this.#timer?.cancel();
  }

  /** At most one is under way: those that take longer than the period must not pile up. */
  #proveSoon(): void {
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    this.#proveInTurns()
      .catch((err: unknown) => this.#options.log.warn({ err }, 'network proof failed'))
      .finally(() => {
        this.#isUnderWay = false;
      });
  }

  async #proveInTurns(): Promise<void> {
    const { clock, prove, tell } = this.#options;
    const patientUntilMs = clock.monotonicMs() + PATIENCE_MS;
    const seen = new Set<string>();
    const begin = (): ProofTurn => {
      const beganMs = clock.monotonicMs();
      const untilMs = beganMs < patientUntilMs ? beganMs + TURN_MS : Number.POSITIVE_INFINITY;
      return { seen, isOver: () => clock.monotonicMs() >= untilMs };
    };
    const turns: Proof[] = [];
    for (let isWhole = false; !isWhole; ) {
      const turn = await prove(begin);
      if (turn === null) break;
      turns.push(turn);
      isWhole = turn.isWhole;
    }
    tell(together(turns));
  }
}
