import { describe, expect, test } from 'vitest';
import type { HealthConfig } from '../../../common/model/service.ts';
import {
  type HealthCheck,
  type HealthReport,
  healthCheckOf,
  monitorHealth,
  nextReport,
  type Probe,
  type ProbeResult,
} from '../../../worker/executor/health.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

const SECOND_NANOS = 1e9;

function words(overrides: Partial<HealthConfig> = {}): HealthConfig {
  return {
    test: [],
    intervalNanos: 0,
    timeoutNanos: 0,
    startPeriodNanos: 0,
    startIntervalNanos: 0,
    retries: 0,
    ...overrides,
  };
}

describe('health check of a task', () => {
  const image = words({
    test: ['CMD', 'image-probe'],
    intervalNanos: 7 * SECOND_NANOS,
    retries: 9,
  });

  test.each<[string, HealthConfig | null, HealthConfig | null, readonly string[] | null]>([
    ['neither names one', null, null, null],
    ['the service disables it', words({ test: ['NONE'] }), image, null],
    ['the image disables it', null, words({ test: ['NONE'] }), null],
    ['only the image names one', null, image, ['image-probe']],
    ['the service only tunes it', words({ retries: 2 }), image, ['image-probe']],
    ['the service names its own', words({ test: ['CMD', 'a', 'b'] }), image, ['a', 'b']],
    [
      'it is a shell line',
      words({ test: ['CMD-SHELL', 'a | b'] }),
      null,
      ['/bin/sh', '-c', 'a | b'],
    ],
    ['its command is empty', words({ test: ['CMD'] }), null, null],
    ['its form is unknown', words({ test: ['WHAT', 'x'] }), null, null],
  ])('when %s', (_what, service, ofImage, command) => {
    expect(healthCheckOf(service, ofImage)?.command ?? null).toEqual(command);
  });

  test('has the defaults of Docker', () => {
    expect(healthCheckOf(words({ test: ['CMD', 'x'] }), null)).toEqual({
      command: ['x'],
      intervalMs: 30_000,
      timeoutMs: 30_000,
      startPeriodMs: 0,
      startIntervalMs: 5_000,
      retries: 3,
    });
  });

  test("takes each field that the service leaves out from the image, also under the service's own test", () => {
    const service = words({ test: ['CMD', 'x'], retries: 2, timeoutNanos: SECOND_NANOS });
    expect(healthCheckOf(service, image)).toMatchObject({
      command: ['x'],
      intervalMs: 7_000,
      timeoutMs: 1_000,
      retries: 2,
    });
  });
});

function result(exitCode: number): ProbeResult {
  return { startedAtMs: 0, endedAtMs: 1, exitCode, output: '' };
}

describe('health report', () => {
  test.each<[HealthReport['status'], number, number, boolean, HealthReport['status'], number]>([
    // before, streak, exit code, graced, after, streak
    ['starting', 0, 0, false, 'healthy', 0],
    ['starting', 0, 1, false, 'starting', 1],
    ['starting', 2, 1, false, 'unhealthy', 3],
    ['starting', 2, -1, false, 'unhealthy', 3],
    ['starting', 0, 1, true, 'starting', 0],
    ['starting', 2, 1, true, 'starting', 2],
    ['starting', 2, 0, true, 'healthy', 0],
    ['healthy', 0, 1, false, 'healthy', 1],
    ['healthy', 2, 1, false, 'unhealthy', 3],
    ['healthy', 2, 0, false, 'healthy', 0],
  ])(
    '%s with %i failures, then exit %i (graced: %s): %s with %i',
    (status, failingStreak, exitCode, graced, after, streak) => {
      const next = nextReport({ status, failingStreak, log: [] }, result(exitCode), graced, 3);
      expect(next).toMatchObject({ status: after, failingStreak: streak });
    },
  );

  test('keeps the last five results, oldest first', () => {
    let report: HealthReport = { status: 'starting', failingStreak: 0, log: [] };
    for (let code = 1; code <= 7; code++) report = nextReport(report, result(code), true, 3);
    expect(report.log.map(({ exitCode }) => exitCode)).toEqual([3, 4, 5, 6, 7]);
  });
});

describe('health monitor', () => {
  const CHECK: HealthCheck = {
    command: ['probe'],
    intervalMs: 10_000,
    timeoutMs: 3_000,
    startPeriodMs: 0,
    startIntervalMs: 1_000,
    retries: 3,
  };

  /** Probes end with the codes in turn, the last one goes on; each takes `takesMs`. */
  function watched(check: Partial<HealthCheck>, codes: (number | 'paused')[], takesMs = 0) {
    const clock = new FakeClock();
    const atMs: number[] = [];
    const reports: HealthReport[] = [];
    const abort = new AbortController();
    const probe: Probe = async (command, timeoutMs, signal) => {
      expect([command, timeoutMs]).toEqual([['probe'], 3_000]);
      atMs.push(clock.monotonicMs());
      if (takesMs > 0) await clock.sleep(takesMs, signal);
      const code = codes.length > 1 ? codes.shift()! : codes[0]!;
      return code === 'paused' ? null : result(code);
    };
    const over = monitorHealth(
      { ...CHECK, ...check },
      probe,
      clock,
      (report) => reports.push(report),
      abort.signal,
    );
    over.catch(() => {});
    return { clock, atMs, reports, abort, over, status: () => reports.at(-1)?.status };
  }

  test('is starting at once and probes first after one interval', async () => {
    const it = watched({}, [0]);
    expect(it.status()).toBe('starting');
    await it.clock.advance(9_999);
    expect(it.atMs).toEqual([]);
    await it.clock.advance(1);
    expect(it.status()).toBe('healthy');
  });

  test('counts the interval from the end of a probe', async () => {
    const it = watched({}, [0], 2_000);
    await it.clock.advance(40_000);
    expect(it.atMs).toEqual([10_000, 22_000, 34_000]);
  });

  test('probes at the start interval until the first success or the end of the start period', async () => {
    const it = watched({ startPeriodMs: 4_000 }, [1, 1, 0]);
    await it.clock.advance(25_000);
    expect(it.atMs).toEqual([1_000, 2_000, 3_000, 13_000, 23_000]);
    const other = watched({ startPeriodMs: 2_500 }, [1]);
    await other.clock.advance(25_000);
    expect(other.atMs).toEqual([1_000, 2_000, 3_000, 13_000, 23_000]);
  });

  test('failures inside the start period do not count', async () => {
    const it = watched({ startPeriodMs: 5_000 }, [1]);
    await it.clock.advance(4_999);
    expect(it.atMs).toHaveLength(4);
    expect(it.reports.at(-1)).toMatchObject({ status: 'starting', failingStreak: 0 });
    await it.clock.advance(1);
    expect(it.reports.at(-1)?.failingStreak).toBe(1);
  });

  test('failures inside the start period count once it was healthy', async () => {
    const it = watched({ startPeriodMs: 60_000 }, [0, 1]);
    await it.clock.advance(1_000 + 30_000);
    expect(it.status()).toBe('unhealthy');
  });

  test('ends when it is unhealthy', async () => {
    const it = watched({}, [1]);
    await it.clock.advance(30_000);
    await it.over;
    expect(it.status()).toBe('unhealthy');
    expect(it.clock.pending).toBe(0);
  });

  test('a pause changes nothing, and the failures before it count on after it', async () => {
    const it = watched({}, [0, 1, 1, 'paused', 'paused', 'paused', 1]);
    await it.clock.advance(60_000);
    expect(it.atMs).toHaveLength(6);
    expect(it.reports.at(-1)).toMatchObject({ status: 'healthy', failingStreak: 2 });
    await it.clock.advance(10_000);
    expect(it.status()).toBe('unhealthy');
  });

  test('ends when it is aborted, also within a probe', async () => {
    const it = watched({}, [0], 2_000);
    await it.clock.advance(11_000);
    it.abort.abort(new Error('container ended'));
    await expect(it.over).rejects.toThrow('container ended');
    await settle();
    expect(it.clock.pending).toBe(0);
  });
});
