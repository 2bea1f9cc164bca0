/** The self-proof of this node's own networks, again and again: drift is mended and logged. */
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { Logger } from '../../common/base/log.ts';
import { DriftCounter, type DriftCounts, mendedOf, prove, type Subject } from './self-proof.ts';

/** As the cluster's networks: drift is mended within 10 s. */
const PROOF_PERIOD_MS = 3_000;
const DRIFTS_LOGGED_MAX = 10;

export interface LocalProverOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** what there is to compare now */
  readonly subjects: () => readonly Subject[];
}

export class LocalProver {
  readonly #options: LocalProverOptions;
  readonly #drifts = new DriftCounter();
  #timer: Timer | null = null;
  /** under way */
  #proof: Promise<void> | null = null;

  constructor(options: LocalProverOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.clock.setPeriodic(PROOF_PERIOD_MS, () => this.#proveSoon());
  }

  /** What was found since the start. */
  get drifts(): DriftCounts {
    return this.#drifts.counts;
  }

  /** After the proof under way. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    await this.#proof;
  }

  #proveSoon(): void {
    const subjects = this.#options.subjects();
    if (this.#proof || subjects.length === 0) return;
    this.#proof = this.#prove(subjects)
      .catch((err: unknown) => this.#options.log.warn({ err }, 'local networks not compared'))
      .finally(() => {
        this.#proof = null;
      });
  }

  async #prove(subjects: readonly Subject[]): Promise<void> {
    const proof = await prove([...subjects], { repair: true, all: true });
    const { drifts, failures } = proof;
    this.#drifts.note(proof);
    if (drifts.length > 0) {
      const some = drifts.slice(0, DRIFTS_LOGGED_MAX);
      const repaired = mendedOf(proof).length;
      this.#options.log.warn({ count: drifts.length, repaired, some }, 'local network drift');
    }
    if (failures.length > 0) {
      this.#options.log.warn({ failures }, 'local networks could not be compared');
    }
  }
}
