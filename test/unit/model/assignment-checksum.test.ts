import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AssignmentChange, AssignmentKind } from '../../../common/model/assignment.ts';
import { AssignmentChecksum, AssignmentLedger } from '../../../common/model/assignment-checksum.ts';
import { checksumOf, set } from '../../support/assignments.ts';
import { aTask } from '../../support/builders.ts';

type Item = readonly [AssignmentKind, string, number];
const items = fc.uniqueArray(
  fc.tuple(
    fc.constantFrom<AssignmentKind>('task', 'secret', 'endpoint', 'port', 'peer'),
    fc.constantFrom('a', 'b', 'ab', 'ba', 'net/a', 'net/b'),
    fc.constantFrom(0, 1, 2, 2 ** 31, 2 ** 32, 2 ** 40 + 1),
  ),
  { selector: ([kind, key]) => `${kind} ${key}`, maxLength: 12 },
);

function sumOf(some: readonly Item[]): AssignmentChecksum {
  const sum = new AssignmentChecksum();
  for (const item of some) sum.add(...item);
  return sum;
}

describe('the checksum of a set', () => {
  test('is one number, whatever the order and the way there', () => {
    fc.assert(
      fc.property(items, items, (some, others) => {
        const sum = sumOf(some);
        for (const item of others) sum.add(...item);
        for (const item of [...others].reverse()) sum.subtract(...item);
        expect(sum.value).toBe(sumOf([...some].reverse()).value);
        const whole = sumOf([]);
        whole.include(sumOf(some));
        expect(whole.value).toBe(sum.value);
      }),
    );
  });

  test('is another for each other set', () => {
    fc.assert(
      fc.property(items, items, (some, others) => {
        const text = (of: readonly Item[]): string => of.map(String).sort().join(' ');
        expect(sumOf(some).value === sumOf(others).value).toBe(text(some) === text(others));
      }),
      { numRuns: 1_000 },
    );
  });

  test('of nothing is 0, and of something known: managers and agents of other releases count so', () => {
    expect(sumOf([]).value).toBe('0000000000000000');
    expect(sumOf([['task', 'abc', 7]]).value).toBe('87a880acb056c76d');
    expect(sumOf([['peer', 'net/nod', 2 ** 40 + 1]]).value).toBe('828537bef31f5c42');
  });
});

describe('the ledger of a node', () => {
  const port = (version: number): AssignmentChange =>
    ({ action: 'set', kind: 'port', key: 'tcp/80', item: {}, version }) as AssignmentChange;
  const gone: AssignmentChange = { action: 'remove', kind: 'port', key: 'tcp/80' };

  test('counts what is there now: each once, in its newest version', () => {
    expect(checksumOf([port(1), port(2)])).toBe(checksumOf([port(2)]));
    expect(checksumOf([port(1), gone, gone])).toBe(checksumOf([]));
    expect(checksumOf([port(1)])).not.toBe(checksumOf([port(2)]));
  });

  test('takes the version of a task from itself', () => {
    const task = aTask();
    const newer = { ...task, meta: { ...task.meta, version: task.meta.version + 1 } };
    expect(checksumOf([set(task)])).not.toBe(checksumOf([set(newer)]));
    expect(checksumOf([set(task), set(newer)])).toBe(checksumOf([set(newer)]));
  });

  test('begins again with a whole set', () => {
    const ledger = new AssignmentLedger();
    ledger.apply(port(1));
    ledger.clear();
    ledger.apply(port(3));
    expect(ledger.checksum).toBe(checksumOf([port(3)]));
  });
});
