/** The checker against histories whose verdict is known, against brute force, and against a register. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Call, Operation, Outcome, Value } from '../../support/linearizability/history.ts';
import { checkLinearizability } from '../../support/linearizability/linearizability.ts';
import { toSteps } from '../../support/linearizability/register-steps.ts';

const KEY = 'k';

/** `at` is [called] or [called, returned]; a missing return is an unknown outcome. */
function op(
  client: string,
  at: readonly number[],
  call: Call,
  learned?: Partial<Outcome>,
): Operation {
  const [invokedMs, atMs] = at as [number, number?];
  const common = { client, key: KEY, call, invokedMs };
  if (atMs === undefined) return { ...common, outcome: { kind: 'unknown' } };
  const kind = call.kind === 'read' ? 'saw' : 'done';
  return { ...common, outcome: { kind, atMs, ...learned } as Outcome };
}

const saw = (client: string, at: readonly number[], value: Value): Operation =>
  op(client, at, { kind: 'read' }, { kind: 'saw', value });
const wrote = (client: string, at: readonly number[], value: Value): Operation =>
  op(client, at, { kind: 'write', value });
const swapped = (client: string, at: readonly number[], expected: Value, value: Value): Operation =>
  op(client, at, { kind: 'cas', expected, value });
const refused = (client: string, at: readonly number[], expected: Value, value: Value): Operation =>
  op(client, at, { kind: 'cas', expected, value }, { kind: 'refused' });
const failed = (client: string, at: readonly number[], value: Value): Operation =>
  op(client, at, { kind: 'write', value }, { kind: 'failed' });

const GOOD: [string, Operation[]][] = [
  ['nothing at all', []],
  ['a read of what was never written and is not there', [saw('a', [0, 1], null)]],
  ['one after the other', [wrote('a', [0, 1], 'x'), saw('b', [2, 3], 'x')]],
  [
    'a read beside a write may see the old value',
    [wrote('a', [0, 9], 'x'), saw('b', [1, 2], null)],
  ],
  ['a read beside a write may see the new value', [wrote('a', [0, 9], 'x'), saw('b', [1, 2], 'x')]],
  [
    'two writes at once, the last called read last',
    [wrote('a', [0, 9], 'x'), wrote('b', [0, 9], 'y'), saw('c', [10, 11], 'x')],
  ],
  ['calls and returns at the same time overlap', [wrote('a', [0, 1], 'x'), saw('b', [1, 2], null)]],
  [
    'a write of unknown outcome that came much later',
    [wrote('a', [0], 'x'), wrote('b', [1, 2], 'y'), saw('b', [3, 4], 'y'), saw('b', [5, 6], 'x')],
  ],
  [
    'a write of unknown outcome that never came',
    [wrote('a', [0, 1], 'w'), wrote('a', [2], 'x'), saw('b', [3, 4], 'w'), saw('b', [5, 6], 'w')],
  ],
  [
    'unknown swaps that lead to what was read',
    [swapped('a', [0], null, 'x'), swapped('b', [1], 'x', 'y'), saw('c', [2, 3], 'y')],
  ],
  [
    'a refusal because of a write of unknown outcome',
    [wrote('a', [0], 'x'), refused('b', [1, 2], null, 'y'), saw('b', [3, 4], 'x')],
  ],
  [
    'a refusal between two values, one of them never seen again',
    [wrote('a', [0], 'x'), refused('b', [1, 2], null, 'y'), wrote('b', [3, 4], 'z')],
  ],
  [
    'of two swaps from the same value one is refused',
    [
      wrote('a', [0, 1], 'x'),
      swapped('a', [2, 5], 'x', 'y'),
      refused('b', [3, 6], 'x', 'z'),
      saw('c', [7, 8], 'y'),
    ],
  ],
  ['a failed write that nobody sees', [failed('a', [0, 1], 'x'), saw('b', [2, 3], null)]],
  [
    'values may come again',
    [
      wrote('a', [0, 1], 'x'),
      wrote('a', [2, 3], 'y'),
      wrote('a', [4, 5], 'x'),
      saw('a', [6, 7], 'x'),
    ],
  ],
];

/** With the operation that must be blamed, by its place. */
const BAD: [string, Operation[], number][] = [
  ['a stale read', [wrote('a', [0, 1], 'x'), wrote('a', [2, 3], 'y'), saw('b', [4, 5], 'x')], 2],
  ['a lost write', [wrote('a', [0, 1], 'x'), saw('b', [2, 3], null)], 1],
  [
    'a write that was seen and is gone',
    [wrote('a', [0], 'x'), saw('b', [1, 2], 'x'), saw('b', [3, 4], null)],
    2,
  ],
  ['a value that nobody wrote', [wrote('a', [0, 1], 'x'), saw('b', [0, 2], 'z')], 1],
  ['a value read before it was written', [saw('b', [0, 1], 'x'), wrote('a', [2, 3], 'x')], 0],
  ['a failed write that was seen', [failed('a', [0, 1], 'x'), saw('b', [2, 3], 'x')], 1],
  [
    'split brain: both sides swap the same value',
    [wrote('a', [0, 1], 'x'), swapped('a', [2, 5], 'x', 'y'), swapped('b', [2, 6], 'x', 'z')],
    2,
  ],
  [
    'one swap applied twice',
    [
      swapped('a', [0, 1], null, 'x'),
      wrote('b', [2, 3], 'y'),
      saw('c', [4, 5], 'y'),
      saw('c', [6, 7], 'x'),
    ],
    3,
  ],
  ['a swap from a value that was not there', [swapped('a', [0, 1], 'x', 'y')], 0],
  [
    'a refusal without a reason',
    [wrote('a', [0, 1], 'x'), refused('a', [2, 3], 'x', 'y'), saw('a', [4, 5], 'x')],
    1,
  ],
  [
    'readers that disagree on the order of two writes',
    [
      wrote('a', [0, 20], 'x'),
      wrote('b', [0, 20], 'y'),
      saw('c', [1, 2], 'x'),
      saw('c', [3, 4], 'y'),
      saw('d', [5, 6], 'x'),
    ],
    4,
  ],
  [
    'an unknown write that comes twice',
    [wrote('a', [0], 'x'), saw('b', [1, 2], 'x'), wrote('b', [3, 4], 'y'), saw('b', [5, 6], 'x')],
    3,
  ],
];

describe('linearizability of a register', () => {
  test.each(GOOD)('accepts %s', (_, operations) => {
    expect(checkLinearizability(operations)).toMatchObject({ violations: [], undecided: [] });
  });

  test.each(BAD)('rejects %s', (_, operations, blamed) => {
    const { violations } = checkLinearizability(operations);
    expect(violations).toHaveLength(1);
    expect(violations[0]!.culprit).toBe(operations[blamed]);
    // And it is the smallest failing prefix.
    const { outcome } = operations[blamed]!;
    const atMs = outcome.kind === 'unknown' ? Number.NaN : outcome.atMs;
    expect(violations[0]!.prefix.every(({ invokedMs }) => invokedMs <= atMs)).toBe(true);
  });

  test('keys are independent, and the violated one is named', () => {
    const good = [wrote('a', [0, 1], 'x'), saw('b', [2, 3], 'x')];
    const bad = [wrote('a', [0, 1], 'x'), saw('b', [2, 3], null)];
    const result = checkLinearizability([
      ...good,
      ...bad.map((operation) => ({ ...operation, key: 'other' })),
    ]);
    expect(result.keys).toBe(2);
    expect(result.violations.map(({ key }) => key)).toEqual(['other']);
  });

  test('a first value can be given', () => {
    expect(checkLinearizability([saw('a', [0, 1], 'x')], { initial: 'x' }).violations).toEqual([]);
  });

  test('a violation names the operation, what was written before, and an order of it', () => {
    const [violation] = checkLinearizability([
      wrote('client-1', [0, 1], 'x'),
      wrote('client-1', [2, 3.5], 'y'),
      saw('client-2', [4, 5], 'x'),
    ]).violations;
    expect(violation!.text.split('\n')).toEqual([
      "key k: no order explains what client-2 learned ('saw', marked '>')",
      'operations called before it returned: 3; the last ones, and those with its values:',
      '         0.000 ..        1.000  client-1  write x: done',
      '         2.000 ..        3.500  client-1  write y: done',
      '>        4.000 ..        5.000  client-2  read: saw x',
      'an order of what came before it:',
      '         0.000 ..        1.000  client-1  write x: done',
      '         2.000 ..        3.500  client-1  write y: done',
    ]);
  });

  test('an operation that no client can have seen is a fault of the recorder', () => {
    expect(() => checkLinearizability([saw('a', [2, 1], 'x')])).toThrow('no such operation');
    expect(() =>
      checkLinearizability([op('a', [0, 1], { kind: 'write', value: 'x' }, { kind: 'saw' })]),
    ).toThrow('no such operation');
  });

  test('of changes that nobody asks about as many are tried as something was refused', () => {
    const unseen = ['x', 'y', 'z'].map((value, i) => wrote('a', [i], value));
    const swaps = ['u', 'v', 'w'].map((value, i) => swapped('b', [3 + i], 'first', value));
    const history = [wrote('c', [6, 7], 'first'), ...unseen, ...swaps];
    const refusals = [8, 9].map((atMs) => refused('c', [atMs, atMs], 'first', 'last'));
    const kept = (operations: Operation[]): number[] =>
      toSteps(operations).map(({ invokedMs }) => invokedMs);
    expect(kept(history)).toEqual([6]);
    expect(kept([...history, refusals[0]!])).toEqual([0, 3, 6, 8]);
    expect(kept([...history, ...refusals])).toEqual([0, 1, 3, 4, 6, 8, 9]);
  });

  test('gives up, and says so, when too many states would have to be tried', () => {
    // Of twelve writes at once any may have come before the reads, which do not agree.
    const writes = Array.from({ length: 12 }, (_, i) => wrote(`w${i}`, [0, 100], `v${i}`));
    const reads = ['v0', 'v1', 'v0'].map((value, i) => saw('r', [2 * i, 2 * i + 1], value));
    const result = checkLinearizability([...writes, ...reads], { statesMax: 500 });
    expect(result).toMatchObject({ violations: [], undecided: [KEY] });
  });
});

const values = fc.constantFrom<Value>(null, 'x', 'y', 'z');
const anyOperation = fc
  .record({
    client: fc.constantFrom('a', 'b', 'c'),
    call: fc.oneof(
      fc.record({ kind: fc.constant('read' as const) }),
      fc.record({ kind: fc.constant('write' as const), value: values }),
      fc.record({ kind: fc.constant('cas' as const), expected: values, value: values }),
    ),
    invokedMs: fc.nat(12),
    tookMs: fc.nat(6),
    end: fc.constantFrom('done', 'done', 'done', 'refused', 'unknown'),
    seen: values,
  })
  .map(({ client, call, invokedMs, tookMs, end, seen }) => {
    if (end === 'unknown') return op(client, [invokedMs], call);
    const at = [invokedMs, invokedMs + tookMs];
    if (call.kind === 'read') return saw(client, at, seen);
    if (call.kind === 'cas' && end === 'refused')
      return refused(client, at, call.expected, call.value);
    return op(client, at, call);
  });

/** Tries every order, with every set of the unknown ones left out. */
function bruteForce(left: readonly Operation[], value: Value): boolean {
  if (left.every(({ outcome }) => outcome.kind === 'unknown')) return true;
  const returnOf = ({ outcome }: Operation): number =>
    outcome.kind === 'unknown' ? Number.POSITIVE_INFINITY : outcome.atMs;
  const firstReturn = Math.min(...left.map(returnOf));
  return left.some((operation) => {
    if (operation.invokedMs > firstReturn) return false;
    const { call, outcome } = operation;
    const rest = left.filter((other) => other !== operation);
    if (outcome.kind === 'saw') return outcome.value === value && bruteForce(rest, value);
    if (call.kind === 'read') return bruteForce(rest, value);
    if (call.kind === 'write') return bruteForce(rest, call.value);
    const isExpected = call.expected === value;
    if (outcome.kind === 'refused') return !isExpected && bruteForce(rest, value);
    return isExpected && bruteForce(rest, call.value);
  });
}

describe('linearizability against brute force', () => {
  test('short histories of any kind get the verdict that trying every order gives', () => {
    let bad = 0;
    fc.assert(
      fc.property(fc.array(anyOperation, { maxLength: 7 }), (operations) => {
        const { violations } = checkLinearizability(operations);
        bad += violations.length;
        expect(violations.length === 0).toBe(bruteForce(operations, null));
      }),
      { numRuns: 3000 },
    );
    expect(bad).toBeGreaterThan(300);
    expect(bad).toBeLessThan(2700);
  });
});

interface Recipe {
  readonly clients: number;
  readonly operations: number;
  readonly seed: number;
  /** Share of the changes whose outcome is not told. */
  readonly unknownShare: number;
}

/**
 * A history of a real register: each client calls one operation after the other, which takes effect at
 * a moment of its own between call and return. Written values are unique, as in the runs with daemons.
 */
function fromRegister({ clients, operations, seed, unknownShare }: Recipe): Operation[] {
  let state = seed >>> 0;
  const unit = (): number => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const plans = Array.from({ length: operations }, () => ({ client: 0, from: 0, at: 0, to: 0 }));
  const freeAt = Array.from({ length: clients }, () => unit());
  for (const plan of plans) {
    plan.client = Math.floor(unit() * clients);
    plan.from = freeAt[plan.client]! + unit();
    plan.at = plan.from + unit() * 3;
    plan.to = plan.at + unit() * 3;
    freeAt[plan.client] = plan.to;
  }
  let register: Value = null;
  let seen: Value = null;
  return [...plans]
    .sort((a, b) => a.at - b.at)
    .map(({ client, from, at, to }, index): Operation => {
      const name = `c${client}`;
      const choice = unit();
      if (choice < 0.4) {
        seen = register;
        return saw(name, [from, to], register);
      }
      const isUnknown = unit() < unknownShare;
      const times = isUnknown ? [from] : [from, to];
      const isApplied = !isUnknown || unit() < 0.5;
      const value = `v${index}-${at.toFixed(1)}`;
      if (choice < 0.7) {
        if (isApplied) register = value;
        return wrote(name, times, value);
      }
      const expected = unit() < 0.7 ? register : seen;
      if (isUnknown) {
        if (isApplied && expected === register) register = value;
        return swapped(name, times, expected, value);
      }
      if (expected !== register) return refused(name, times, expected, value);
      register = value;
      return swapped(name, times, expected, value);
    })
    .sort((a, b) => a.invokedMs - b.invokedMs);
}

const recipes = fc.record({
  clients: fc.integer({ min: 1, max: 8 }),
  operations: fc.integer({ min: 20, max: 300 }),
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  unknownShare: fc.constantFrom(0, 0.1, 0.5),
});

describe('linearizability of histories from a register', () => {
  test('every history of a real register is accepted', () => {
    fc.assert(
      fc.property(recipes, (recipe) => {
        const result = checkLinearizability(fromRegister(recipe));
        expect(result).toMatchObject({ violations: [], undecided: [] });
      }),
      { numRuns: 100 },
    );
  });

  /** Each makes one operation of a good history a lie; null where the history has none to spoil. */
  const LIES: [string, (operations: Operation[], pick: number) => Operation[] | null][] = [
    [
      'a read of a value that was overwritten before it was called',
      (operations, pick) => {
        const reads = operations.filter(({ outcome }) => outcome.kind === 'saw');
        const victim = reads[pick % Math.max(1, reads.length)];
        if (!victim) return null;
        // A confirmed write that ended before another one began, which ended before the read.
        const before = operations.filter(
          ({ call, outcome }) =>
            call.kind === 'write' && outcome.kind === 'done' && outcome.atMs < victim.invokedMs,
        );
        const later = before.at(-1);
        const stale = before.find(
          ({ outcome }) => outcome.kind === 'done' && later && outcome.atMs < later.invokedMs,
        );
        if (stale?.call.kind !== 'write') return null;
        const value = stale.call.value;
        return replace(operations, victim, { ...victim.outcome, value } as Outcome);
      },
    ],
    [
      'a read of a value that nobody wrote',
      (operations, pick) => {
        const reads = operations.filter(({ outcome }) => outcome.kind === 'saw');
        const victim = reads[pick % Math.max(1, reads.length)];
        if (!victim) return null;
        return replace(operations, victim, { ...victim.outcome, value: 'never' } as Outcome);
      },
    ],
    [
      'a write that was seen but is said to have failed',
      (operations, pick) => {
        const seen = new Set(
          operations.map(({ outcome }) => (outcome.kind === 'saw' ? outcome.value : undefined)),
        );
        const writes = operations.filter(
          ({ call, outcome }) =>
            outcome.kind === 'done' && call.kind === 'write' && seen.has(call.value),
        );
        const victim = writes[pick % Math.max(1, writes.length)];
        if (victim?.outcome.kind !== 'done') return null;
        return replace(operations, victim, { kind: 'failed', atMs: victim.outcome.atMs });
      },
    ],
    [
      'a swap from a value that another swap took',
      (operations, pick) => {
        const swaps = operations.filter(
          ({ call, outcome }) =>
            call.kind === 'cas' && outcome.kind === 'done' && call.expected !== null,
        );
        const victim = swaps[pick % Math.max(1, swaps.length)];
        if (!victim) return null;
        const call = { ...victim.call, value: 'second' } as Call;
        return [...operations, { ...victim, client: 'twin', call }];
      },
    ],
  ];

  test.each(LIES)('rejects %s', (_, spoil) => {
    // A history that has nothing to spoil does not count as a run.
    fc.assert(
      fc.property(recipes, fc.nat(), (recipe, pick) => {
        const history = spoil(fromRegister(recipe), pick);
        fc.pre(history !== null);
        expect(checkLinearizability(history).violations).toHaveLength(1);
      }),
      { numRuns: 40 },
    );
  });

  test('a window of 2,000 operations takes about as many states, good or bad', () => {
    const recipe = { clients: 10, operations: 2000, seed: 7, unknownShare: 0.2 };
    const good = fromRegister(recipe);
    const accepted = checkLinearizability(good);
    expect(accepted).toMatchObject({ violations: [], undecided: [] });
    expect(accepted.statesTried).toBeLessThan(3_000);
    const bad = LIES[0]![1](good, 700)!;
    const rejected = checkLinearizability(bad);
    expect(rejected.violations).toHaveLength(1);
    // The bisection runs the search some twelve times more, on shorter and shorter prefixes.
    expect(rejected.statesTried).toBeLessThan(24_000);
  });
});

function replace(operations: Operation[], victim: Operation, outcome: Outcome): Operation[] {
  return operations.map((operation) =>
    operation === victim ? { ...operation, outcome } : operation,
  );
}
