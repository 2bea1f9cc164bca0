/**
 * Checks histories of many registers for linearizability: every operation seems to take effect at one
 * moment between its call and its return. Keys are independent, so each is checked alone. A violation
 * comes with its smallest failing prefix, and in words.
 */
import {
  assertSound,
  describeOperation,
  type Operation,
  partitionByKey,
  prefixUntil,
  type Value,
} from './history.ts';
import { toSteps } from './register-steps.ts';
import { type SearchResult, search } from './search.ts';

export interface CheckOptions {
  /** What every register holds at first; default null. */
  readonly initial?: Value;
  /**
   * States tried per key before it counts as undecided; default 2,000,000, which is some seconds and
   * some hundred MB. A key with 2,000 operations by 10 clients takes about as many as it has operations.
   */
  readonly statesMax?: number;
}

export interface Violation {
  readonly key: string;
  /** The operation whose return no order explains. */
  readonly culprit: Operation;
  /** The history until that return. Without it there is an order. */
  readonly prefix: readonly Operation[];
  /** For people: the culprit, what happened around it, and an order of all before. */
  readonly text: string;
}

export interface CheckResult {
  readonly operations: number;
  readonly keys: number;
  readonly statesTried: number;
  readonly violations: readonly Violation[];
  /** Keys that took too many states. Neither good nor bad. */
  readonly undecided: readonly string[];
}

const STATES_MAX = 2_000_000;
/** Lines shown before the culprit, and steps shown of the order. */
const LINES_SHOWN = 16;

/** Throws for an operation that no client can have seen. */
export function checkLinearizability(
  operations: readonly Operation[],
  { initial = null, statesMax = STATES_MAX }: CheckOptions = {},
): CheckResult {
  for (const operation of operations) assertSound(operation);
  const keys = partitionByKey(operations);
  const violations: Violation[] = [];
  const undecided: string[] = [];
  let statesTried = 0;
  for (const [key, history] of keys) {
    const attempt = (part: readonly Operation[]) => {
      const result = search(toSteps(part), initial, statesMax);
      statesTried += result.statesTried;
      return result;
    };
    const { verdict } = attempt(history);
    if (verdict === 'undecided') undecided.push(key);
    if (verdict === 'violation') violations.push(explain(key, history, attempt));
  }
  return { operations: operations.length, keys: keys.size, statesTried, violations, undecided };
}

/** What is true of a history is true of its prefixes, so the smallest failing one is bisected for. */
function explain(
  key: string,
  history: readonly Operation[],
  attempt: (part: readonly Operation[]) => SearchResult,
): Violation {
  const returns = history
    .flatMap((operation) => {
      const { outcome } = operation;
      return outcome.kind === 'unknown' ? [] : [{ operation, atMs: outcome.atMs }];
    })
    .sort((a, b) => a.atMs - b.atMs);
  let low = 0;
  let high = returns.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    const { verdict } = attempt(prefixUntil(history, returns[middle]!.atMs));
    if (verdict === 'violation') high = middle;
    else low = middle + 1;
  }
  const { operation: culprit, atMs } = returns[high]!;
  const prefix = prefixUntil(history, atMs);
  const without = prefix.map(
    (operation): Operation =>
      sameCall(operation, culprit) ? { ...operation, outcome: { kind: 'unknown' } } : operation,
  );
  return { key, culprit, prefix, text: describe(key, culprit, prefix, attempt(without)) };
}

function sameCall(a: Operation, b: Operation): boolean {
  return a.call === b.call && a.client === b.client && a.invokedMs === b.invokedMs;
}

function describe(
  key: string,
  culprit: Operation,
  prefix: readonly Operation[],
  before: SearchResult,
): string {
  const { outcome } = culprit;
  const touched = new Set(valuesOf(culprit));
  const telling = prefix.filter((operation) => tellsSomething(operation));
  const late = telling.slice(-LINES_SHOWN);
  const shown = telling.filter(
    (operation) =>
      late.includes(operation) ||
      sameCall(operation, culprit) ||
      valuesOf(operation).some((value) => touched.has(value)),
  );
  const lines = shown
    .slice(-2 * LINES_SHOWN)
    .map(
      (operation) => `${sameCall(operation, culprit) ? '>' : ' '} ${describeOperation(operation)}`,
    );
  const tail = before.order
    .slice(-LINES_SHOWN)
    .map(({ operation }) => describeOperation(operation));
  return [
    `key ${key}: no order explains what ${culprit.client} learned ('${outcome.kind}', marked '>')`,
    `operations called before it returned: ${prefix.length}; the last ones, and those with its values:`,
    ...lines,
    `an order of what came before it${before.order.length > tail.length ? ' ends with' : ''}:`,
    ...tail.map((line) => `  ${line}`),
  ].join('\n');
}

/** A failure says nothing, and a read under way neither. */
function tellsSomething({ call, outcome }: Operation): boolean {
  return outcome.kind !== 'failed' && (outcome.kind !== 'unknown' || call.kind !== 'read');
}

function valuesOf({ call, outcome }: Operation): Value[] {
  const called = call.kind === 'read' ? [] : [call.value];
  const expected = call.kind === 'cas' ? [call.expected] : [];
  return [...called, ...expected, ...(outcome.kind === 'saw' ? [outcome.value] : [])];
}
