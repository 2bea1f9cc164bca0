/**
 * When a node that is removed may stop. Pure: counts who said so and when.
 *
 * A change of members is in force on a node from when the node has applied it. The votes of the one
 * that goes may be needed until a majority of those that stay have applied its removal: of {A, B},
 * A removed, B cannot lead and find out that it is alone unless A votes for it. So the one that goes
 * stays at work until a majority of the others told it that it is removed. If they are too few to
 * tell (they left as well, or it knows only the members of long ago), one is enough after a while.
 */

export interface DepartureOptions {
  /** From the first word of a peer until it is enough alone. */
  readonly patienceTicks: () => number;
}

export class Departure {
  readonly #options: DepartureOptions;
  readonly #tellers = new Set<number>();
  #toldAtTick: number | null = null;

  constructor(options: DepartureOptions) {
    this.#options = options;
  }

  /** Somebody said that this node is no member. */
  get isTold(): boolean {
    return this.#toldAtTick !== null;
  }

  /** The peer `by` has applied the removal of this node, durably. */
  tell(by: number, tick: number): void {
    this.#tellers.add(by);
    this.#toldAtTick ??= tick;
  }

  /** @param others voters beside this node, as far as it knows */
  isOver(others: readonly number[], tick: number): boolean {
    if (this.#toldAtTick === null) return false;
    const told = others.filter((id) => this.#tellers.has(id)).length;
    const isMajority = others.length > 0 && told > others.length / 2;
    return isMajority || tick - this.#toldAtTick >= this.#options.patienceTicks();
  }
}
