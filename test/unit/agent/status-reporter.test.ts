import { describe, expect, test } from 'vitest';
import type { TaskId } from '../../../common/model/ids.ts';
import { StatusReporter } from '../../../worker/agent/status-reporter.ts';
import { aTaskStatus, idOf } from '../../support/builders.ts';

const A = idOf<TaskId>('a');
const B = idOf<TaskId>('b');
const PREPARING = aTaskStatus({ state: 'preparing' });
const READY = aTaskStatus({ state: 'ready' });

describe('status reporter', () => {
  test('hands out the newest status of each task', () => {
    const reporter = new StatusReporter();
    reporter.report(A, PREPARING);
    reporter.report(B, PREPARING);
    reporter.report(A, READY);
    expect(reporter.take()?.updates).toEqual([
      { taskId: A, status: READY },
      { taskId: B, status: PREPARING },
    ]);
  });

  test('has nothing more while all is in flight', () => {
    const reporter = new StatusReporter();
    expect(reporter.take()).toBeNull();
    reporter.report(A, READY);
    reporter.take();
    expect(reporter.take()).toBeNull();
  });

  test('numbers batches upwards', () => {
    const reporter = new StatusReporter();
    reporter.report(A, PREPARING);
    const first = reporter.take()!.sequence;
    reporter.report(A, READY);
    expect(reporter.take()!.sequence).toBe(first + 1);
  });

  test('cuts words that nobody reads to their end, and takes the status as stored all the same', () => {
    const reporter = new StatusReporter();
    reporter.report(A, aTaskStatus({ state: 'failed', err: 'x'.repeat(100_000) }));
    const { sequence, updates } = reporter.take()!;
    expect(updates[0]?.status.err).toHaveLength(16 * 1024);
    reporter.stored(sequence);
    reporter.reset();
    expect(reporter.take()).toBeNull();
  });

  test('makes no message of more than a stream takes', () => {
    const reporter = new StatusReporter();
    const long = aTaskStatus({
      state: 'failed',
      err: 'x'.repeat(16_000),
      message: 'y'.repeat(16_000),
    });
    for (let i = 0; i < 200; i++) reporter.report(idOf<TaskId>(`t${i}`), long);
    const sizes = reporter.takeAll().map(({ updates }) => JSON.stringify(updates).length);
    expect(Math.max(...sizes)).toBeLessThan(1024 * 1024);
    expect(sizes.length).toBeLessThan(20);
  });

  test('what was stored is not sent again, even in a new session', () => {
    const reporter = new StatusReporter();
    reporter.report(A, READY);
    reporter.stored(reporter.take()!.sequence);
    reporter.reset();
    expect(reporter.take()).toBeNull();
  });

  test('what was in flight goes again in a new session, as its newest status', () => {
    const reporter = new StatusReporter();
    reporter.report(A, PREPARING);
    reporter.report(B, PREPARING);
    reporter.take();
    reporter.report(B, READY);
    reporter.reset();
    expect(reporter.take()?.updates).toEqual([
      { taskId: A, status: PREPARING },
      { taskId: B, status: READY },
    ]);
  });

  test('an acknowledgement is one of the batches before, too, and of none after', () => {
    const reporter = new StatusReporter();
    reporter.report(A, PREPARING);
    reporter.take();
    reporter.report(B, PREPARING);
    const { sequence } = reporter.take()!;
    reporter.report(B, READY);
    reporter.take();
    reporter.stored(sequence);
    reporter.reset();
    expect(reporter.take()?.updates).toEqual([{ taskId: B, status: READY }]);
  });

  test('an acknowledgement of an older status leaves the newer one to be sent', () => {
    const reporter = new StatusReporter();
    reporter.report(A, PREPARING);
    const { sequence } = reporter.take()!;
    reporter.report(A, READY);
    reporter.stored(sequence);
    reporter.reset();
    expect(reporter.take()?.updates).toEqual([{ taskId: A, status: READY }]);
  });

  test('an acknowledgement from before the new session counts for nothing', () => {
    const reporter = new StatusReporter();
    reporter.report(A, READY);
    const { sequence } = reporter.take()!;
    reporter.reset();
    reporter.stored(sequence);
    expect(reporter.take()?.updates).toEqual([{ taskId: A, status: READY }]);
  });

  test('a batch has at most 200 statuses', () => {
    const reporter = new StatusReporter();
    for (let i = 0; i < 401; i++) reporter.report(idOf<TaskId>(`task${i}x`), READY);
    const sizes: number[] = [];
    const seen = new Set<string>();
    for (let batch = reporter.take(); batch; batch = reporter.take()) {
      sizes.push(batch.updates.length);
      for (const { taskId } of batch.updates) seen.add(taskId);
    }
    expect(sizes).toEqual([200, 200, 1]);
    expect(seen.size).toBe(401);
  });

  test('sends no more than 256 batches that nobody acknowledges, and goes on with the newest statuses', () => {
    const reporter = new StatusReporter();
    let wakes = 0;
    reporter.setListener(() => wakes++);
    let last = 0;
    for (let i = 0; i < 300; i++) {
      reporter.report(A, aTaskStatus({ state: 'preparing', timestampMs: i }));
      last = reporter.take()?.sequence ?? last;
    }
    expect(last).toBe(256);
    expect(reporter.queues()).toEqual([{ name: 'reports in flight', length: 256, limit: 256 }]);
    wakes = 0;
    reporter.stored(last);
    expect(wakes).toBe(1);
    expect(reporter.take()?.updates).toMatchObject([{ status: { timestampMs: 299 } }]);
  });

  test('a forgotten task is not reported', () => {
    const reporter = new StatusReporter();
    reporter.report(A, READY);
    reporter.forget(A);
    expect(reporter.take()).toBeNull();
  });

  test('its listener hears of each report, and at once of what waits', () => {
    const reporter = new StatusReporter();
    reporter.report(A, PREPARING);
    let heard = 0;
    reporter.setListener(() => heard++);
    expect(heard).toBe(1);
    reporter.report(A, READY);
    expect(heard).toBe(2);
    reporter.setListener(null);
    reporter.report(B, READY);
    expect(heard).toBe(2);
  });
});
