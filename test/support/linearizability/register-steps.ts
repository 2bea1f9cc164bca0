/**
 * What an operation demands of a register and does to it, in a form that the search can try quickly.
 * Leaves out what cannot matter to the verdict.
 */
import type { Operation, Value } from './history.ts';

/** An operation as the search sees it. Absent demands and effects are undefined; null is a value. */
export interface RegisterStep {
  readonly operation: Operation;
  readonly invokedMs: number;
  /** null = outcome unknown: it may come at any later time, or never */
  readonly returnedMs: number | null;
  /** the register must hold this */
  readonly requires: Value | undefined;
  /** the register must hold something else */
  readonly excludes: Value | undefined;
  /** what the register holds afterwards; undefined = as before */
  readonly sets: Value | undefined;
}

/**
 * A change of unknown outcome to a value that no step asks about. Of such, those that demand the same
 * are interchangeable once they were called.
 */
export function findAnonymous(steps: readonly RegisterStep[]): Set<RegisterStep> {
  const asked = new Set(steps.flatMap(({ requires, excludes }) => [requires, excludes]));
  return new Set(steps.filter(({ returnedMs, sets }) => returnedMs === null && !asked.has(sets)));
}

/**
 * The steps of one key, in order of their call. Reads and refusals of unknown outcome say nothing,
 * and neither do failures.
 */
export function toSteps(operations: readonly Operation[]): RegisterStep[] {
  const steps = operations.flatMap((operation) => toStep(operation) ?? []);
  return withoutIdle(steps.sort((a, b) => a.invokedMs - b.invokedMs));
}

/**
 * Leaves out anonymous changes that no order needs. One that no refusal notices can go: what follows it
 * is the next change. So an order needs at most one for each refusal, and of interchangeable ones those
 * called first serve as well as any.
 */
function withoutIdle(steps: readonly RegisterStep[]): RegisterStep[] {
  const refusals = steps.filter(({ excludes }) => excludes !== undefined).length;
  let kept = [...steps];
  for (let before = -1; before !== kept.length; ) {
    before = kept.length;
    const anonymous = findAnonymous(kept);
    const counts = new Map<Value | undefined, number>();
    kept = kept.filter((step) => {
      if (!anonymous.has(step)) return true;
      const count = counts.get(step.requires) ?? 0;
      counts.set(step.requires, count + 1);
      return count < refusals;
    });
  }
  return kept;
}

function toStep(operation: Operation): RegisterStep | null {
  const { call, invokedMs, outcome } = operation;
  const demands = { requires: undefined, excludes: undefined, sets: undefined };
  const base = { operation, invokedMs, ...demands };
  switch (outcome.kind) {
    case 'failed':
      return null;
    case 'saw':
      return { ...base, returnedMs: outcome.atMs, requires: outcome.value };
    case 'refused':
      if (call.kind !== 'cas') return null;
      return { ...base, returnedMs: outcome.atMs, excludes: call.expected };
    case 'done':
    case 'unknown': {
      if (call.kind === 'read') return null;
      const returnedMs = outcome.kind === 'done' ? outcome.atMs : null;
      const requires = call.kind === 'cas' ? call.expected : undefined;
      return { ...base, returnedMs, requires, sets: call.value };
    }
  }
}

/** Whether the step may come when the register holds `value`. */
export function fits(step: RegisterStep, value: Value): boolean {
  if (step.requires !== undefined && step.requires !== value) return false;
  return step.excludes === undefined || step.excludes !== value;
}

/** Whether the step is one that could tell that the register holds `value`. */
export function notices(step: RegisterStep, value: Value): boolean {
  if (step.requires !== undefined) return step.requires === value;
  return step.excludes !== undefined && step.excludes !== value;
}

/** Who among some steps would notice which value, counted once instead of asked for each value. */
export class Notices {
  readonly #seekers = new Map<Value, number>();
  readonly #excluders = new Map<Value, number>();
  #excludersAll = 0;

  constructor(steps: readonly RegisterStep[]) {
    for (const { requires, excludes } of steps) {
      if (requires !== undefined) addOne(this.#seekers, requires);
      else if (excludes !== undefined) {
        addOne(this.#excluders, excludes);
        this.#excludersAll++;
      }
    }
  }

  /** Whether any of the steps but `step`, which is one of them, notices `value`. */
  hasOther(step: RegisterStep, value: Value): boolean {
    const seekers = this.#seekers.get(value) ?? 0;
    const excluders = this.#excludersAll - (this.#excluders.get(value) ?? 0);
    return seekers + excluders > (notices(step, value) ? 1 : 0);
  }
}

function addOne(counts: Map<Value, number>, value: Value): void {
  counts.set(value, (counts.get(value) ?? 0) + 1);
}
