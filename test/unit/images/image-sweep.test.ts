import { afterEach, describe, expect, test } from 'vitest';
import { TaskSet } from '../../../common/base/lifecycle.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { ImageSweep } from '../../../worker/images/image-sweep.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const HOUR_MS = 3600 * 1000;

let tasks = new TaskSet(() => {});

afterEach(async () => {
  await tasks.stop();
  tasks = new TaskSet(() => {});
});

/** A store without images in which blobs arrive. */
function scene() {
  const clock = new FakeClock();
  const arrivedMs = new Map<string, number>();
  let failsNext = false;
  const sweep = new ImageSweep({
    content: {
      list: async () => {
        const fails = failsNext;
        failsNext = false;
        if (fails) throw new Error('the disk failed');
        return [...arrivedMs.keys()];
      },
      modifiedMs: (digest) => arrivedMs.get(digest) ?? 0,
      sizeOrZero: () => 1,
      remove: (digest) => void arrivedMs.delete(digest),
      removePartials: () => 0,
    },
    layers: { list: () => [], sizeBytes: () => undefined, remove: () => {} },
    index: { list: () => [] },
    clock,
    log: silentLogger,
  });
  return {
    ...{ sweep, clock },
    arrive: (digest: string) => arrivedMs.set(digest, clock.wallMs()),
    here: () => [...arrivedMs.keys()],
    fail: () => {
      failsNext = true;
    },
  };
}

describe('the daily sweep', () => {
  test('removes what no image has had for a day, as long as the daemon runs', async () => {
    const { sweep, clock, arrive, here } = scene();
    tasks.run((signal) => sweep.keepSwept(signal));
    arrive('old');
    await clock.advance(12 * HOUR_MS);
    arrive('young');
    await clock.advance(13 * HOUR_MS);
    expect(here()).toEqual(['old', 'young']); // a day old at most when the first day was over
    await clock.advance(24 * HOUR_MS);
    expect(here()).toEqual([]);
  });

  test('leaves what is held by work under way', async () => {
    const { sweep, clock, arrive, here } = scene();
    tasks.run((signal) => sweep.keepSwept(signal));
    arrive('pushed');
    await sweep.holding(async ({ blobs }) => {
      blobs.add('pushed');
      await clock.advance(72 * HOUR_MS);
    });
    expect(here()).toEqual(['pushed']);
    await clock.advance(24 * HOUR_MS);
    expect(here()).toEqual([]);
  });

  test('goes on after one that failed', async () => {
    const { sweep, clock, arrive, here, fail } = scene();
    tasks.run((signal) => sweep.keepSwept(signal));
    arrive('old');
    await clock.advance(25 * HOUR_MS);
    fail();
    await clock.advance(24 * HOUR_MS);
    expect(here()).toEqual(['old']);
    await clock.advance(24 * HOUR_MS);
    expect(here()).toEqual([]);
  });
});
