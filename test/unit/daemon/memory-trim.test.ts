import { describe, expect, test } from 'vitest';
import { MemoryTrim } from '../../../daemon/memory-trim.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const MIB = 1 << 20;

function scene() {
  const clock = new FakeClock();
  const now = { utilization: 0, heapBytes: 60 * MIB, collections: 0, released: 0 };
  const trim = new MemoryTrim({
    clock,
    utilization: () => now.utilization,
    heapBytes: () => now.heapBytes,
    collect: () => {
      now.collections++;
      now.heapBytes = Math.max(30 * MIB, now.heapBytes - 10 * MIB);
    },
    releaseFreed: () => now.released++,
  });
  trim.start();
  return { clock, now, trim };
}

describe('giving memory back', () => {
  test('a daemon at rest collects four times, and then no more', async () => {
    const { clock, now } = scene();
    await clock.advance(60_000);
    expect(now).toMatchObject({ collections: 4, released: 4, heapBytes: 30 * MIB });
  });

  test('after 3 s of rest, one each second', async () => {
    const { clock, now } = scene();
    await clock.advance(2_999);
    expect(now.collections).toBe(0);
    await clock.advance(1);
    expect(now.collections).toBe(1);
    now.utilization = 0.06;
    await clock.advance(1_000);
    now.utilization = 0;
    await clock.advance(2_000);
    expect(now.collections).toBe(1);
    await clock.advance(3_000);
    expect(now.collections).toBe(4);
  });

  test('one that works is left alone until it rests', async () => {
    const { clock, now } = scene();
    now.utilization = 0.06;
    await clock.advance(60_000);
    expect(now.collections).toBe(0);
    now.utilization = 0.04;
    await clock.advance(60_000);
    expect(now.collections).toBe(4);
  });

  test('a heap that has grown by 8 MiB is collected anew', async () => {
    const { clock, now } = scene();
    await clock.advance(60_000);
    now.heapBytes = 38 * MIB;
    await clock.advance(60_000);
    expect(now.collections).toBe(4);
    now.heapBytes = 38 * MIB + 1;
    await clock.advance(60_000);
    expect(now.collections).toBe(8);
  });

  test('a large heap is not stopped for', async () => {
    const { clock, now } = scene();
    now.heapBytes = 65 * MIB;
    await clock.advance(60_000);
    expect(now.collections).toBe(0);
  });

  test('it ends when told to', async () => {
    const { clock, now, trim } = scene();
    await clock.advance(3_000);
    expect(now.collections).toBe(1);
    trim.stop();
    trim.stop();
    await clock.advance(60_000);
    expect(now.collections).toBe(1);
  });
});
