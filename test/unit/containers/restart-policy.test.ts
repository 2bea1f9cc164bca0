import { describe, expect, test } from 'vitest';
import type { RestartRule } from '../../../worker/containers/definition.ts';
import {
  type EndOfRun,
  restartDelayMs,
  startsWithDaemon,
} from '../../../worker/containers/restart-policy.ts';

const rule = (name: RestartRule['name'], maximumRetryCount = 0): RestartRule => ({
  name,
  maximumRetryCount,
});

function delayAfter(end: Partial<EndOfRun>): number | null {
  return restartDelayMs({
    rule: rule('always'),
    exitCode: 1,
    restartCount: 0,
    isStopped: false,
    ranMs: 50,
    lastDelayMs: 0,
    ...end,
  });
}

describe('restart rule', () => {
  test.each<[string, Partial<EndOfRun>, boolean]>([
    ['no: never', { rule: rule('no') }, false],
    ['always: after a failure', { exitCode: 1 }, true],
    ['always: after a success', { exitCode: 0 }, true],
    ['unless-stopped: after a success', { rule: rule('unless-stopped'), exitCode: 0 }, true],
    ['on-failure: after a failure', { rule: rule('on-failure') }, true],
    ['on-failure: not after a success', { rule: rule('on-failure'), exitCode: 0 }, false],
    ['on-failure:2: a second time', { rule: rule('on-failure', 2), restartCount: 1 }, true],
    ['on-failure:2: not a third time', { rule: rule('on-failure', 2), restartCount: 2 }, false],
    ['on-failure without a number: for ever', { rule: rule('on-failure'), restartCount: 99 }, true],
    ['always: not after a stop by hand', { isStopped: true }, false],
    ['unless-stopped: nor', { rule: rule('unless-stopped'), isStopped: true }, false],
  ])('%s', (_words, end, isWanted) => {
    expect(delayAfter(end) !== null).toBe(isWanted);
  });

  test('waits 100 ms, then twice as long each time, a minute at most', () => {
    const delays: number[] = [];
    for (let last = 0; delays.length < 12; last = delays.at(-1)!) {
      delays.push(delayAfter({ lastDelayMs: last })!);
    }
    expect(delays.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(delays.slice(-2)).toEqual([60_000, 60_000]);
  });

  test('begins anew after a run of 10 s', () => {
    expect(delayAfter({ lastDelayMs: 6_400, ranMs: 9_999 })).toBe(12_800);
    expect(delayAfter({ lastDelayMs: 6_400, ranMs: 10_000 })).toBe(100);
  });

  test.each<[RestartRule['name'], boolean, boolean]>([
    ['no', false, false],
    ['on-failure', false, false],
    ['always', false, true],
    ['always', true, true],
    ['unless-stopped', false, true],
    ['unless-stopped', true, false],
  ])('%s, stopped by hand: %s; starts with the daemon: %s', (name, isStopped, starts) => {
    expect(startsWithDaemon(rule(name), isStopped)).toBe(starts);
  });
});
