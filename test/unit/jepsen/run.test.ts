/** What a run makes of its parts: flags, answers of managers, the history on disk, the verdict. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../cli/client/transport.ts';
import { SkepError } from '../../../common/base/errors.ts';
import { type Run, readRun, writeRun } from '../../jepsen/history-file.ts';
import { FAULTS } from '../../jepsen/nemesis.ts';
import { parseOptions, UsageError } from '../../jepsen/options.ts';
import { classifyWriteFailure } from '../../jepsen/registers.ts';
import { describeOutage, judge, summaryLine } from '../../jepsen/verdict.ts';
import type { Operation, Outcome } from '../../support/linearizability/history.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

describe('options of jepsen', () => {
  test('have defaults', () => {
    expect(parseOptions([], 7)).toMatchObject({ minutes: 1, seed: 7, managers: 5, limitMs: 3000 });
    expect([...parseOptions([], 7).faults]).toEqual([...FAULTS]);
  });

  test('take lists and numbers', () => {
    const options = parseOptions(['--minutes', '0.5', '--faults', 'kill,loss', '--seed', '3'], 7);
    expect(options).toMatchObject({ minutes: 0.5, seed: 3, faults: new Set(['kill', 'loss']) });
    expect(parseOptions(['--faults', 'none'], 7).faults.size).toBe(0);
  });

  test.each([
    [['--minutes', 'x'], /--minutes: a number/],
    [['--managers', '1'], /--managers: a number from 3 to 7/],
    [['--faults', 'fire'], /fire is none of/],
    [['--nonsense', '1'], /--nonsense: no such flag/],
    [['--minutes'], /no value/],
  ])('refuse %j', (argv, words) => {
    expect(() => parseOptions(argv, 7)).toThrow(UsageError);
    expect(() => parseOptions(argv, 7)).toThrow(words);
  });
});

describe('a failed write', () => {
  test.each<[string, unknown, string]>([
    ['that was overtaken', new ApiError(500, 'update out of sequence'), 'conflict'],
    [
      'whose name was taken',
      new ApiError(409, 'name conflicts with an existing object'),
      'conflict',
    ],
    ['of what is not there', new ApiError(404, 'config x not found'), 'conflict'],
    ['without a leader', new ApiError(503, 'the swarm does not have a leader: ...'), 'refused'],
    ['at a worker', new ApiError(503, 'This node is not a swarm manager. ...'), 'refused'],
    [
      'without a daemon',
      new SkepError('unavailable', 'Cannot connect to the skep daemon'),
      'refused',
    ],
    [
      'of a leader that lost its office may have come to pass',
      new ApiError(503, 'propose: the managers have no leader, it is not known what becomes of it'),
      'unknown',
    ],
    ['of which nothing is known may have too', new ApiError(500, 'something new'), 'unknown'],
    ['on a broken connection too', new SkepError('unavailable', 'talk to the daemon'), 'unknown'],
    ['without an answer in time too', new DOMException('late', 'TimeoutError'), 'unknown'],
  ])('%s', (_, err, failure) => {
    expect(classifyWriteFailure(err)).toBe(failure);
  });
});

const HOSTS = ['a', 'b', 'c'];

function operation(invokedMs: number, value: string, outcome: Outcome): Operation {
  const call =
    outcome.kind === 'saw' ? ({ kind: 'read' } as const) : ({ kind: 'write', value } as const);
  return { client: 'a.1', key: 'k', call, invokedMs, outcome };
}

function aRun(overrides: Partial<Run> = {}): Run {
  return {
    seed: 5,
    managers: 3,
    endMs: 10_000,
    operations: [
      operation(0, 'x', { kind: 'done', atMs: 2_000 }),
      operation(2_000, '', { kind: 'saw', atMs: 4_000, value: 'x' }),
      operation(4_000, 'y', { kind: 'unknown' }),
      operation(6_000, 'z', { kind: 'done', atMs: 7_500 }),
      operation(7_500, 'w', { kind: 'failed', atMs: 8_000 }),
      operation(9_000, '', { kind: 'saw', atMs: 9_500, value: 'z' }),
    ],
    changes: [{ atMs: 0, reach: { up: HOSTS, cut: [], voters: [HOSTS] } }],
    faults: [{ kind: 'kill', what: 'a', fromMs: 2_500, toMs: 6_000 }],
    stalls: [
      { fromMs: 3_000, toMs: 5_000 },
      { fromMs: 4_000, toMs: 5_500 },
    ],
    complaints: [],
    ...overrides,
  };
}

describe('a run', () => {
  const folder = temporaryFolders();

  test('comes back from disk as it was', async () => {
    const path = join(await folder(), 'run.jsonl');
    await writeRun(path, aRun());
    expect(readRun(path)).toEqual(aRun());
  });

  test('is good within the limit, without the time in which the machine stood still', () => {
    const { good, outages } = judge(aRun(), 5_500);
    expect(outages).toEqual([
      { of: 'writes', span: { fromMs: 2_000, toMs: 7_500 }, lastedMs: 3_000 },
      { of: 'reads', span: { fromMs: 4_000, toMs: 9_500 }, lastedMs: 4_000 },
    ]);
    expect(good).toBe(true);
    expect(judge(aRun(), 3_999).good).toBe(false);
  });

  test('is not good with a violation, nor when the managers do not agree', () => {
    const stale = operation(9_600, '', { kind: 'saw', atMs: 9_700, value: 'x' });
    const { operations } = aRun();
    expect(judge(aRun({ operations: [...operations, stale] }), 5_500).good).toBe(false);
    expect(judge(aRun({ complaints: ['they differ'] }), 5_500).good).toBe(false);
  });

  test('is told in one line', () => {
    expect(summaryLine(aRun(), judge(aRun(), 3_000))).toBe(
      'jepsen: 6 operations (4 ok, 1 failed, 1 unknown) on 1 keys; 1 faults (kill 1); 0 violations; ' +
        'longest unavailability with a majority connected: writes 3.00 s, reads 4.00 s; seed 5',
    );
  });

  test('names the faults around an outage', () => {
    const [writes] = judge(aRun(), 3_000).outages;
    expect(describeOutage(aRun(), writes!)).toBe(
      'no writes succeeded from 2000 to 7500 ms (3000 ms without stalls of the machine)\n' +
        '  2500 .. 6000 kill: a',
    );
  });
});
