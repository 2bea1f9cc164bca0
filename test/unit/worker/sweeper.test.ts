import { expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { Sweeper } from '../../../worker/sweeper.ts';
import { FakeClock } from '../../support/fake-clock.ts';

test('each minute every room sweeps, one after another, whatever another one meets', async () => {
  const clock = new FakeClock();
  const done: string[] = [];
  let finish = (): void => {};
  const slow = (): Promise<void> =>
    new Promise((resolve) => {
      done.push('slow');
      finish = resolve;
    });
  const failing = async (): Promise<void> => {
    done.push('failing');
    throw new Error('the disk is away');
  };
  const last = async (): Promise<void> => void done.push('last');
  const sweeper = new Sweeper({ sweeps: [failing, slow, last], clock, log: silentLogger });
  await sweeper.start();
  await clock.advance(59_999);
  expect(done).toEqual([]);
  await clock.advance(1);
  expect(done).toEqual(['failing', 'slow']);
  await clock.advance(600_000); // still at it
  expect(done).toEqual(['failing', 'slow']);
  finish();
  await clock.advance(0);
  expect(done).toEqual(['failing', 'slow', 'last']);
  await clock.advance(60_000);
  expect(done).toEqual(['failing', 'slow', 'last', 'failing', 'slow']);
  const stopped = sweeper.stop();
  finish();
  await stopped;
  expect(done).toHaveLength(5);
  expect(clock.pending).toBe(0);
});
