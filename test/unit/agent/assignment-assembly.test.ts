import { describe, expect, test } from 'vitest';
import { AssignmentAssembly, Resync } from '../../../worker/agent/assignment-assembly.ts';
import { assignments, checksumOf, set, step } from '../../support/assignments.ts';
import { aTask } from '../../support/builders.ts';
import { FakeClock } from '../../support/fake-clock.ts';

describe('assignment assembly', () => {
  const change = set(aTask());
  const other = set(aTask());

  test('hands a set over with its last part', () => {
    const assembly = new AssignmentAssembly();
    expect(assembly.add(assignments({ last: false, changes: [change] }))).toBeNull();
    expect(assembly.add(assignments({ changes: [other], resultsIn: 4 }))).toEqual({
      changes: [change, other],
      complete: true,
      revision: 4,
      difference: null,
    });
  });

  test('follows steps, each from where the one before led', () => {
    const assembly = new AssignmentAssembly();
    assembly.add(assignments({ resultsIn: 4 }));
    const first = step({ appliesTo: 4, resultsIn: 9, changes: [change] });
    expect(assembly.add(first)).toMatchObject({ changes: [change], complete: false, revision: 9 });
    expect(assembly.add({ ...first, appliesTo: 9, resultsIn: 10 })?.revision).toBe(10);
  });

  test('takes a complete set at any time', () => {
    const assembly = new AssignmentAssembly();
    assembly.add(assignments({ resultsIn: 4 }));
    expect(assembly.add(assignments({ resultsIn: 2 }))?.revision).toBe(2);
  });

  test.each<[string, number | null, number]>([
    ['a step before any set', null, 0],
    ['a step that skips one', 4, 5],
    ['a step that came before', 4, 3],
  ])('refuses %s', (_what, at, appliesTo) => {
    const assembly = new AssignmentAssembly();
    if (at !== null) assembly.add(assignments({ resultsIn: at }));
    expect(() => assembly.add(step({ appliesTo, resultsIn: 9 }))).toThrow(`this node is at ${at}`);
  });

  test('knows a set that is not what the manager counts, until one is', () => {
    const assembly = new AssignmentAssembly();
    const checksum = checksumOf([change, other]);
    const add = (message: ReturnType<typeof assignments>) => assembly.add(message)?.difference;
    expect(add(assignments({ changes: [change], checksum: checksumOf([change]) }))).toBeNull();
    expect(add(step({ appliesTo: 1, resultsIn: 2, checksum }))).toEqual({
      expected: checksum,
      actual: checksumOf([change]),
    });
    const late = step({ appliesTo: 2, resultsIn: 3, changes: [other], checksum });
    expect(add(late)).toBeNull();
    const parts = [
      { last: false, changes: [other] },
      { changes: [change], checksum },
    ] as const;
    expect(parts.map((part) => add(assignments(part)))).toEqual([undefined, null]);
    const gone = { action: 'remove', kind: 'task', key: other.key } as const;
    const removal = { changes: [gone], checksum: checksumOf([change]) };
    expect(add(step({ appliesTo: 1, resultsIn: 4, ...removal }))).toBeNull();
  });
});

describe('what follows from a difference', () => {
  const difference = { expected: 'a', actual: 'b' };
  const sets = {
    good: { complete: false, difference: null },
    whole: { complete: true, difference: null },
    bad: { complete: false, difference },
    badWhole: { complete: true, difference },
  };

  test.each<[(keyof typeof sets)[], boolean[], number]>([
    [['good', 'bad', 'bad', 'whole', 'bad'], [true, false, false, true, false], 2],
    [['badWhole', 'bad', 'whole'], [false, false, true], 1],
    [['bad', 'badWhole', 'bad', 'good', 'bad'], [false, true, true, true, false], 2],
    [['bad', 'good', 'bad', 'whole', 'good'], [false, false, false, true, true], 1],
    [['bad', 'good', 'badWhole', 'good'], [false, false, true, true], 1],
  ])('%j are used: %j, and the whole set is asked for %i times at once', (seen, used, asked) => {
    let count = 0;
    const resync = new Resync(new FakeClock(), () => void count++);
    expect(seen.map((name) => resync.isUsable(sets[name]))).toEqual(used);
    expect(count).toBe(asked);
  });

  test('whole sets that differ again and again are asked for ever more rarely', async () => {
    const clock = new FakeClock();
    const askedMs: number[] = [];
    const resync = new Resync(clock, () => void askedMs.push(clock.monotonicMs() - startMs));
    const startMs = clock.monotonicMs();
    resync.isUsable(sets.bad);
    resync.isUsable(sets.badWhole);
    await clock.advance(1_000);
    resync.isUsable(sets.badWhole);
    await clock.advance(2_000);
    expect(askedMs).toEqual([0, 1_000, 3_000]);
    resync.isUsable(sets.badWhole);
    resync.isUsable(sets.whole);
    await clock.advance(10_000);
    expect(askedMs).toHaveLength(3);
    expect(clock.pending).toBe(0);
  });
});
