import { describe, expect, test } from 'vitest';
import { type Logger, silentLogger } from '../../../common/base/log.ts';
import { COLLECT_PERIOD_MS, ImageCollector } from '../../../worker/images/image-collector.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { InstantClock } from '../../support/instant-clock.ts';

const GB = 1e9;
const MIN_AGE_MS = 120_000;
const never = new AbortController().signal;

interface Scene {
  /** of a disk of 100 GB */
  readonly usedGb: number;
  readonly rubbishGb?: number;
  /** id -> GB and when it was used last */
  readonly images?: Readonly<Record<string, readonly [gb: number, lastUsedMs: number]>>;
  readonly wanted?: readonly string[] | null;
  /** that somebody began to use meanwhile */
  readonly taken?: readonly string[];
}

async function collected({ usedGb, rubbishGb = 0, images = {}, wanted = [], taken = [] }: Scene) {
  let used = usedGb * GB;
  const log: string[] = [];
  let told: unknown;
  const info = (fields: { removed: number }): void => {
    told = fields.removed;
  };
  const collector = new ImageCollector({
    watermarks: { high: 0.85, low: 0.8, minAgeMs: MIN_AGE_MS },
    fullness: async () => used / (100 * GB),
    sweep: async () => {
      log.push('rubbish');
      used -= rubbishGb * GB;
      return rubbishGb * GB;
    },
    collectable: () => Object.entries(images).map(([id, [, lastUsedMs]]) => ({ id, lastUsedMs })),
    wanted: async () => (wanted === null ? null : new Set(wanted)),
    remove: async (id) => {
      log.push(id);
      if (taken.includes(id)) return 0;
      used -= images[id]![0] * GB;
      return images[id]![0] * GB;
    },
    clock: new InstantClock(),
    log: { ...silentLogger, info } as Logger,
  });
  const bytes = await collector.collect(never);
  return { log, gb: bytes / GB, told };
}

describe('image collector', () => {
  const images = { old: [2, 10], older: [2, 5], young: [2, 90] } as const;

  test('leaves everything below the high watermark', async () => {
    expect(await collected({ usedGb: 84, rubbishGb: 5, images })).toMatchObject({ log: [], gb: 0 });
  });

  test('removes what no image has, then images unused for longest, down to the low one', async () => {
    const outcome = await collected({ usedGb: 86, rubbishGb: 3, images });
    expect(outcome).toEqual({ log: ['rubbish', 'older', 'old'], gb: 7, told: 2 });
  });

  test('is content with rubbish when that was enough', async () => {
    expect((await collected({ usedGb: 86, rubbishGb: 7, images })).log).toEqual(['rubbish']);
  });

  test('leaves what services want, however full the disk is', async () => {
    const outcome = await collected({ usedGb: 99, images, wanted: ['older', 'young'] });
    expect(outcome.log).toEqual(['rubbish', 'old']);
  });

  test('counts no image as removed that somebody began to use', async () => {
    const outcome = await collected({ usedGb: 86, images, taken: ['older'] });
    expect(outcome).toEqual({ log: ['rubbish', 'older', 'old', 'young'], gb: 4, told: 2 });
  });

  test('leaves what came or was used shortly before', async () => {
    const nowMs = new InstantClock().wallMs();
    const recent = { fresh: [9, nowMs - MIN_AGE_MS + 1], due: [1, nowMs - MIN_AGE_MS] } as const;
    expect((await collected({ usedGb: 99, images: recent })).log).toEqual(['rubbish', 'due']);
  });

  test('looks every five minutes, and when something came, also while it is looking', async () => {
    const clock = new FakeClock();
    let looks = 0;
    let end = (): void => {};
    const collector = new ImageCollector({
      watermarks: { high: 0.85, low: 0.8, minAgeMs: MIN_AGE_MS },
      fullness: () => {
        looks++;
        return new Promise((resolve) => {
          end = () => resolve(0);
        });
      },
      sweep: async () => 0,
      collectable: () => [],
      wanted: async () => null,
      remove: async () => 0,
      clock,
      log: silentLogger,
    });
    const ended = async (): Promise<void> => {
      end();
      await settle();
    };
    collector.start();
    await settle();
    expect(looks).toBe(0);
    collector.arrived();
    await settle();
    expect(looks).toBe(1);
    collector.arrived();
    collector.arrived();
    await ended();
    expect(looks).toBe(2);
    await ended();
    await clock.advance(COLLECT_PERIOD_MS - 1);
    await settle();
    expect(looks).toBe(2);
    await clock.advance(1);
    await settle();
    expect(looks).toBe(3);
    await ended();
    await collector.stop();
    expect(clock.pending).toBe(0);
  });

  test('removes no image while no manager says what is wanted', async () => {
    const outcome = await collected({ usedGb: 99, rubbishGb: 1, images, wanted: null });
    expect(outcome).toMatchObject({ log: ['rubbish'], gb: 1 });
  });
});
