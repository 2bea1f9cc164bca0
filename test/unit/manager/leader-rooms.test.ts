import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { LeaderRooms } from '../../../manager/leader-rooms.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

/** Two rooms, `first` and `second`; `second` may fail or wait at its start. */
function scene() {
  const clock = new FakeClock();
  const trace: string[] = [];
  const failures: unknown[] = [];
  const control = { second: async (): Promise<void> => {} };
  let generation = 0;
  const rooms = new LeaderRooms({
    compose: () => {
      const number = ++generation;
      const room = (name: string, start: () => Promise<void>) => ({
        start: () => {
          trace.push(`start ${name} ${number}`);
          return start();
        },
        stop: async () => {
          trace.push(`stop ${name} ${number}`);
        },
      });
      const all = [room('first', async () => {}), room('second', () => control.second())];
      return { rooms: number, all };
    },
    clock,
    random: new SeededRandom(1),
    log: silentLogger,
    onFailure: (err) => failures.push(err),
  });
  return { clock, trace, failures, control, rooms };
}

const unavailable = () => Promise.reject(new SkepError('unavailable', 'proposal dropped'));

describe('leader rooms', () => {
  test('are opened in order when leadership is won and closed when it is lost', async () => {
    const { rooms, trace } = scene();
    rooms.lead(true);
    await rooms.settled();
    expect(rooms.current).toBe(1);
    rooms.lead(false);
    await rooms.settled();
    expect(rooms.current).toBeNull();
    expect(trace).toEqual(['start first 1', 'start second 1', 'stop first 1', 'stop second 1']);
  });

  test('a leader that could not open them stops what it had started and tries again', async () => {
    const { rooms, trace, control, clock, failures } = scene();
    control.second = unavailable;
    rooms.lead(true);
    await settle();
    expect(rooms.current).toBeNull();
    expect(trace).toEqual(['start first 1', 'start second 1', 'stop first 1', 'stop second 1']);
    control.second = async () => {};
    await clock.advance(2_000);
    expect(rooms.current).toBe(2);
    expect(failures).toEqual([]);
  });

  test('no longer tries once leadership is lost', async () => {
    const { rooms, control, clock, trace } = scene();
    control.second = unavailable;
    rooms.lead(true);
    await settle();
    rooms.lead(false);
    const tried = trace.length;
    await clock.advance(60_000);
    expect(trace).toHaveLength(tried);
    expect(clock.pending).toBe(0);
  });

  test('a failure that is not of leadership is reported', async () => {
    const { rooms, control, failures } = scene();
    const broken = new Error('broken');
    control.second = () => Promise.reject(broken);
    rooms.lead(true);
    await rooms.settled();
    expect(failures).toEqual([broken]);
    expect(rooms.current).toBeNull();
  });

  test('a stop waits for an opening under way and closes it', async () => {
    const { rooms, control, trace } = scene();
    let started = (): void => {};
    control.second = () => new Promise<void>((resolve) => (started = resolve));
    rooms.lead(true);
    await settle();
    let stopped = false;
    const stopping = rooms.stop().then(() => {
      stopped = true;
    });
    await settle();
    expect(stopped).toBe(false);
    started();
    await stopping;
    expect(rooms.current).toBeNull();
    expect(trace.slice(2)).toEqual(['stop first 1', 'stop second 1']);
  });

  test('leadership won after the stop opens nothing', async () => {
    const { rooms, trace } = scene();
    await rooms.stop();
    rooms.lead(true);
    await rooms.settled();
    expect(trace).toEqual([]);
  });
});
