/**
 * Which values steps that are not yet in the order still have to find, and how many can still set them.
 */
import type { Value } from './history.ts';
import type { RegisterStep } from './register-steps.ts';

export class Demand {
  /** Steps that returned and require the value. */
  readonly #seekers = new Map<Value, number>();
  /** Steps, of any outcome, that set it. */
  readonly #setters = new Map<Value, number>();

  constructor(steps: readonly RegisterStep[]) {
    for (const step of steps) this.add(step);
  }

  add(step: RegisterStep): void {
    this.#count(step, 1);
  }

  remove(step: RegisterStep): void {
    this.#count(step, -1);
  }

  /** Whether a step that has to come seeks a value that can never be there. */
  isHopeless(initial: Value): boolean {
    return [...this.#seekers.keys()].some((value) => value !== initial && this.#isScarce(value));
  }

  /** Whether `step`, taken while the register holds `value`, takes it from one that still seeks it. */
  forbids(step: RegisterStep, value: Value): boolean {
    if (step.sets === undefined || step.sets === value) return false;
    const seeks = step.returnedMs !== null && step.requires === value;
    return this.#isScarce(value, seeks ? 1 : 0);
  }

  #isScarce(value: Value, served = 0): boolean {
    const seekers = this.#seekers.get(value) ?? 0;
    return seekers > served && (this.#setters.get(value) ?? 0) === 0;
  }

  #count({ requires, returnedMs, sets }: RegisterStep, by: 1 | -1): void {
    if (requires !== undefined && returnedMs !== null) {
      this.#seekers.set(requires, (this.#seekers.get(requires) ?? 0) + by);
    }
    if (sets !== undefined) this.#setters.set(sets, (this.#setters.get(sets) ?? 0) + by);
  }
}
