/**
 * How the kernel follows the cluster's tables: whole at first, then step by step. The tables go on
 * whatever becomes of a step, and what it touched is told once: after a failure only the whole brings
 * the kernel back in line. Knows when, not how.
 */
import type { NetworkId } from '../../common/model/ids.ts';
import type { Touched } from './cluster-tables.ts';

/** Addresses that ended, by network. */
export type Gone = ReadonlyMap<NetworkId, ReadonlySet<string>>;

export interface Programming {
  /** Compares everything with the tables; what is not named there goes. */
  whole(gone: Gone): Promise<void>;
  /** Looks at what was touched only. */
  step(touched: Touched): Promise<void>;
}

export class TableFollower {
  readonly #programming: Programming;
  /** ended in steps that were not programmed to their end */
  readonly #gone = new Map<NetworkId, Set<string>>();
  #isTold = false;
  #inStep = false;

  constructor(programming: Programming) {
    this.#programming = programming;
  }

  /** The tables are the cluster's: before that nothing of an earlier life may be taken for wrong. */
  get isTold(): boolean {
    return this.#isTold;
  }

  /** False when the kernel may lack something that the tables say. */
  get inStep(): boolean {
    return this.#inStep;
  }

  /** The tables made a step. Rejects when the kernel could not follow; it is `retry` or the next step that mends it. */
  async follow(touched: Touched): Promise<void> {
    this.#isTold = true;
    this.#remember(touched.gone);
    if (!this.#inStep) return this.#followWhole();
    this.#inStep = false;
    await this.#programming.step(touched);
    this.#nowInStep();
  }

  /** Makes good what failed, if anything did. */
  async retry(): Promise<void> {
    if (this.#isTold && !this.#inStep) await this.#followWhole();
  }

  async #followWhole(): Promise<void> {
    await this.#programming.whole(this.#gone);
    this.#nowInStep();
  }

  #nowInStep(): void {
    this.#inStep = true;
    this.#gone.clear();
  }

  #remember(gone: Gone): void {
    for (const [id, addresses] of gone) {
      this.#gone.set(id, new Set([...(this.#gone.get(id) ?? []), ...addresses]));
    }
  }
}
