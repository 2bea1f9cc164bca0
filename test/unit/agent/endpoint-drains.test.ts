import { beforeEach, describe, expect, test } from 'vitest';
import type { TaskId } from '../../../common/model/ids.ts';
import { EndpointDrains } from '../../../worker/agent/endpoint-drains.ts';
import { idOf } from '../../support/builders.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

const task = idOf<TaskId>('t');
const { signal } = new AbortController();

let clock: FakeClock;
let drains: EndpointDrains;
let over: boolean;

beforeEach(() => {
  clock = new FakeClock();
  drains = new EndpointDrains(clock);
  over = false;
});

function wait(): void {
  void drains.whenDrained(task, signal).then(() => {
    over = true;
  });
}

describe('a task that is to stop', () => {
  test('waits for the managers’ word, and no longer', async () => {
    drains.sessionBegan();
    wait();
    await clock.advance(1_999);
    drains.drained([idOf<TaskId>('other')]);
    await settle();
    expect(over).toBe(false);
    drains.drained([task]);
    await settle();
    expect(over).toBe(true);
    expect(clock.pending).toBe(0);
  });

  test('does not wait for a word that came before', async () => {
    drains.sessionBegan();
    drains.drained([task]);
    wait();
    await settle();
    expect(over).toBe(true);
  });

  test('waits for 2 s at most, and for 400 ms without a session', async () => {
    drains.sessionBegan();
    wait();
    await clock.advance(1_999);
    expect(over).toBe(false);
    await clock.advance(1);
    expect(over).toBe(true);
    over = false;
    drains.sessionEnded();
    wait();
    await clock.advance(399);
    expect(over).toBe(false);
    await clock.advance(1);
    expect(over).toBe(true);
  });

  test.each<[string, () => void]>([
    ['an earlier session', () => drains.sessionEnded()],
    ['an earlier life', () => drains.forget(task)],
  ])('does not believe a word of %s', async (_, end) => {
    drains.sessionBegan();
    drains.drained([task]);
    end();
    wait();
    await clock.advance(399);
    expect(over).toBe(false);
    await clock.advance(2_000);
  });

  test('ends with the caller’s reason', async () => {
    const abort = new AbortController();
    const waiting = drains.whenDrained(task, abort.signal);
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    expect(clock.pending).toBe(0);
  });
});
