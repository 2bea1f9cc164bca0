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
 * and neither do failures. A change of unknown outcome that nobody saw is left out too: a valid order
 * that has it stays valid without it, as what follows it is the next change. (Unless something was
 * refused: that may have been because of it.)
 */
export function toSteps(operations: readonly Operation[]): RegisterStep[] {
  let steps = operations.flatMap((operation) => toStep(operation) ?? []);
  if (!steps.some(({ excludes }) => excludes !== undefined)) {
    for (let before = -1; before !== steps.length; ) {
      before = steps.length;
      const seen = new Set(steps.map(({ requires }) => requires));
      steps = steps.filter(({ returnedMs, sets }) => returnedMs !== null || seen.has(sets));
    }
  }
  return steps.sort((a, b) => a.invokedMs - b.invokedMs);
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
