/**
 * Histories of registers: what clients called, when, and what they learned. Plain data; who makes it
 * and on which clock is not known here.
 */

/** null = the register holds nothing. */
export type Value = string | null;

export type Call =
  | { readonly kind: 'read' }
  | { readonly kind: 'write'; readonly value: Value }
  /** compare-and-swap: `value` where `expected` was */
  | { readonly kind: 'cas'; readonly expected: Value; readonly value: Value };

/**
 * - `saw`: a read and its value.
 * - `done`: a write or a compare-and-swap took effect.
 * - `refused`: a compare-and-swap found another value than the expected one, and changed nothing.
 * - `failed`: certainly no effect, and nothing learned.
 * - `unknown`: it may have taken effect, may still, or never will.
 */
export type Outcome =
  | { readonly kind: 'saw'; readonly atMs: number; readonly value: Value }
  | { readonly kind: 'done'; readonly atMs: number }
  | { readonly kind: 'refused'; readonly atMs: number }
  | { readonly kind: 'failed'; readonly atMs: number }
  | { readonly kind: 'unknown' };

export interface Operation {
  /** Of the client, for people. */
  readonly client: string;
  readonly key: string;
  readonly call: Call;
  /** All times of a history are on one monotonic clock; the unit does not matter to the checker. */
  readonly invokedMs: number;
  readonly outcome: Outcome;
}

/** Throws for an operation that no client can have seen: the recorder is wrong then. */
export function assertSound(operation: Operation): void {
  const { call, outcome, invokedMs } = operation;
  const fits = {
    saw: call.kind === 'read',
    done: call.kind !== 'read',
    refused: call.kind === 'cas',
    failed: true,
    unknown: true,
  }[outcome.kind];
  const inOrder = outcome.kind === 'unknown' || outcome.atMs >= invokedMs;
  if (!fits || !inOrder) throw new Error(`no such operation: ${describeOperation(operation)}`);
}

export function partitionByKey(operations: readonly Operation[]): Map<string, Operation[]> {
  const keys = new Map<string, Operation[]>();
  for (const operation of operations) {
    const same = keys.get(operation.key);
    if (same) same.push(operation);
    else keys.set(operation.key, [operation]);
  }
  return keys;
}

/**
 * The history as it was known at `atMs`: what had not returned by then is under way, and what was
 * not called by then is not there.
 */
export function prefixUntil(operations: readonly Operation[], atMs: number): Operation[] {
  return operations
    .filter(({ invokedMs }) => invokedMs <= atMs)
    .map((operation) => {
      const { outcome } = operation;
      const returned = outcome.kind !== 'unknown' && outcome.atMs <= atMs;
      return returned ? operation : { ...operation, outcome: { kind: 'unknown' } };
    });
}

/** `  12.000 ..   15.250  client-1  cas a -> b: done` */
export function describeOperation({ client, call, invokedMs, outcome }: Operation): string {
  const from = invokedMs.toFixed(3).padStart(12);
  const to = outcome.kind === 'unknown' ? '' : outcome.atMs.toFixed(3);
  const result = outcome.kind === 'saw' ? `saw ${show(outcome.value)}` : outcome.kind;
  return `${from} .. ${to.padStart(12)}  ${client}  ${describeCall(call)}: ${result}`;
}

function describeCall(call: Call): string {
  switch (call.kind) {
    case 'read':
      return 'read';
    case 'write':
      return `write ${show(call.value)}`;
    case 'cas':
      return `cas ${show(call.expected)} -> ${show(call.value)}`;
  }
}

function show(value: Value): string {
  return value ?? '(nothing)';
}
