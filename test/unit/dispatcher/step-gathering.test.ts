import { describe, expect, test } from 'vitest';
import { taskWith } from '../../../common/model/task.ts';
import { gatherStep } from '../../../manager/dispatcher/step-gathering.ts';
import type { Commit } from '../../../manager/store/types.ts';
import { aTask, aTaskStatus } from '../../support/builders.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const pending = aTask({ status: aTaskStatus({ state: 'pending' }) });
const assigned = taskWith(pending, { status: aTaskStatus({ state: 'assigned' }) });
const running = taskWith(pending, { status: aTaskStatus({ state: 'running' }) });
const failed = taskWith(running, { status: aTaskStatus({ state: 'failed' }) });
const stopping = taskWith(running, { desiredState: 'shutdown' });
const assignment: Commit = {
  revision: 1,
  changes: [{ kind: 'task', action: 'update', object: assigned, previous: pending }],
};
const report: Commit = {
  revision: 2,
  changes: [{ kind: 'task', action: 'update', object: running, previous: assigned }],
};

describe('commits for a step', () => {
  /** How long they wait when the last step took so long and `commits` are found at each look, ms. */
  async function waited(
    tookMs: number,
    commits: (nowMs: number) => readonly Commit[],
    first: readonly Commit[] = [],
  ) {
    const clock = new FakeClock();
    const startMs = clock.monotonicMs();
    const elapsedMs = (): number => clock.monotonicMs() - startMs;
    let goneMs: number | null = null;
    const { signal } = new AbortController();
    const take = (): readonly Commit[] => commits(elapsedMs());
    const gathering = gatherStep({ first, take, tookMs, clock, signal }).then(() => {
      goneMs = elapsedMs();
    });
    for (let ms = 0; ms < 2_000 && goneMs === null; ms++) await clock.advance(1);
    await gathering;
    return goneMs;
  }

  test.each([
    [0, 10],
    [2, 10],
    [5, 20],
    [25, 100],
    [400, 100],
  ])('after a step that took %d ms they wait for %d ms', async (tookMs, delayMs) => {
    expect(await waited(tookMs, () => [report])).toBe(delayMs);
  });

  test.each([
    [0, 10],
    [2, 64],
    [20, 640],
    [100, 1_000],
  ])(
    'while tasks are given out, after a step that took %d ms, they wait for %d ms',
    async (tookMs, delayMs) => {
      expect(await waited(tookMs, () => [report, assignment])).toBe(delayMs);
    },
  );

  test('they go as soon as no more tasks are given out', async () => {
    const givenOut = (nowMs: number) => (nowMs < 150 ? [assignment] : [report]);
    expect(await waited(100, givenOut)).toBe(160);
  });

  test.each([
    ['ended', failed],
    ['is to end', stopping],
  ])('they go at once when a task that ran %s', async (_, object) => {
    const changes = [{ kind: 'task', action: 'update', object, previous: running } as const];
    const end: Commit = { revision: 3, changes };
    const givenOut = (nowMs: number) => (nowMs < 200 ? [assignment] : [assignment, end]);
    expect(await waited(100, givenOut)).toBe(200);
    expect(await waited(100, () => [assignment], [assignment, end])).toBe(100);
  });
});
