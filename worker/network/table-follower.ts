/**
 * How the kernel follows the cluster's tables: whole at first, then step by step. The tables go on
 * whatever becomes of a step, and what it touched is told once: after a failure only the whole brings
 * the kernel back in line. Knows when, not how.
 */
import type { NetworkId } from '../../common/model/ids.ts';
import type { Touched } from './cluster-tables.ts';

type Addresses = ReadonlyMap<NetworkId, ReadonlySet<string>>;

/** Whose connections must be forgotten, by network: of `gone` all, of `unserved` those of UDP. As in `Touched`. */
export interface Ended {
  readonly gone: Addresses;
  readonly unserved: Addresses;
}

export interface Programming {
  /** Compares everything with the tables; what is not named there goes. */
  whole(ended: Ended): Promise<void>;
  /** Looks at what was touched only. */
  step(touched: Touched): Promise<void>;
}

export class TableFollower {
  readonly #programming: Programming;
  /** ended in steps that were not programmed to their end */
  readonly #ended = {
    gone: new Map<NetworkId, Set<string>>(),
    unserved: new Map<NetworkId, Set<string>>(),
  };
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
    this.#remember(touched);
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
    await this.#programming.whole(this.#ended);
    this.#nowInStep();
  }

  #nowInStep(): void {
    this.#inStep = true;
    this.#ended.gone.clear();
    this.#ended.unserved.clear();
  }

  #remember(ended: Ended): void {
    for (const kind of ['gone', 'unserved'] as const) {
      const known = this.#ended[kind];
      for (const [id, addresses] of ended[kind]) {
        known.set(id, new Set([...(known.get(id) ?? []), ...addresses]));
      }
    }
  }
}
