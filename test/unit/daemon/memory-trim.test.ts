import { describe, expect, test } from 'vitest';
import { MemoryTrim } from '../../../daemon/memory-trim.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const MIB = 1 << 20;

function scene(collect: () => Promise<void> = async () => {}) {
  const clock = new FakeClock();
  const now = {
    ...{ cpuShare: 0, residentBytes: 110 * MIB, heapUsedBytes: 30 * MIB },
    ...{ collections: 0, released: 0, failures: [] as unknown[] },
  };
  const cpu = { micros: 0, atMs: 0 };
  const trim = new MemoryTrim({
    clock,
    cpuMicros: () => {
      cpu.micros += (clock.monotonicMs() - cpu.atMs) * 1_000 * now.cpuShare;
      cpu.atMs = clock.monotonicMs();
      return cpu.micros;
    },
    residentBytes: () => now.residentBytes,
    heapUsedBytes: () => now.heapUsedBytes,
    collect: async () => {
      now.collections++;
      await collect();
    },
    releaseFreed: () => {
      now.released++;
      now.residentBytes = 80 * MIB;
    },
    onFailure: (err) => now.failures.push(err),
  });
  trim.start();
  return { clock, now, trim };
}

describe('giving memory back', () => {
  test('a daemon at rest collects once, and then no more', async () => {
    const { clock, now } = scene();
    await clock.advance(60_000);
    expect(now).toMatchObject({ collections: 1, released: 1, residentBytes: 80 * MIB });
  });

  test('after 3 s of rest', async () => {
    const { clock, now } = scene();
    await clock.advance(1_999);
    now.cpuShare = 1;
    await clock.advance(1);
    now.cpuShare = 0.06;
    await clock.advance(1_000);
    now.cpuShare = 0;
    await clock.advance(2_999);
    expect(now.collections).toBe(0);
    await clock.advance(1);
    expect(now.collections).toBe(1);
  });

  test('one that works is left alone until it rests', async () => {
    const { clock, now } = scene();
    now.cpuShare = 0.06;
    await clock.advance(60_000);
    expect(now.collections).toBe(0);
    now.cpuShare = 0.04;
    await clock.advance(3_000);
    expect(now.collections).toBe(1);
  });

  test('one that has grown by 8 MiB gives back anew', async () => {
    const { clock, now } = scene();
    await clock.advance(10_000);
    now.residentBytes = 88 * MIB;
    await clock.advance(10_000);
    expect(now.collections).toBe(1);
    now.residentBytes++;
    await clock.advance(10_000);
    expect(now).toMatchObject({ collections: 2, residentBytes: 80 * MIB });
  });

  test('it has grown from the least that it held since', async () => {
    const { clock, now } = scene();
    await clock.advance(10_000);
    now.residentBytes = 70 * MIB;
    await clock.advance(1_000);
    now.residentBytes = 78 * MIB + 1;
    await clock.advance(10_000);
    expect(now.collections).toBe(2);
  });

  test('a large heap is not stopped for; what is free outside of it is given back', async () => {
    const { clock, now } = scene();
    now.heapUsedBytes = 96 * MIB + 1;
    await clock.advance(60_000);
    expect(now).toMatchObject({ collections: 0, released: 1 });
  });

  test('garbage that waits does not make a heap large', async () => {
    const { clock, now } = scene();
    now.cpuShare = 1;
    await clock.advance(30_000);
    now.heapUsedBytes = 200 * MIB;
    await clock.advance(20_000);
    now.cpuShare = 0;
    await clock.advance(3_000);
    expect(now.collections).toBe(1);
  });

  test.each([
    ['it may all be alive by now', 10, 224 * MIB + 1],
    ['the little is a minute ago', 61, 200 * MIB],
  ])('a heap that has become large is not stopped for: %s', async (_, seconds, bytes) => {
    const { clock, now } = scene();
    now.cpuShare = 1;
    await clock.advance(30_000);
    now.heapUsedBytes = bytes;
    await clock.advance(seconds * 1_000);
    now.cpuShare = 0;
    await clock.advance(60_000);
    expect(now).toMatchObject({ collections: 0, released: 1 });
  });

  test('one that was large is collected once it is not', async () => {
    const { clock, now } = scene();
    now.heapUsedBytes = 200 * MIB;
    await clock.advance(10_000);
    now.heapUsedBytes = 90 * MIB;
    await clock.advance(10_000);
    expect(now).toMatchObject({ collections: 1, released: 2 });
  });

  test('while it collects it does not begin again', async () => {
    let done = (): void => {};
    const { clock, now } = scene(() => new Promise((resolve) => (done = resolve)));
    await clock.advance(10_000);
    expect(now).toMatchObject({ collections: 1, released: 0 });
    done();
    await clock.advance(10_000);
    expect(now).toMatchObject({ collections: 1, released: 1 });
  });

  test('a failure is told once', async () => {
    const { clock, now } = scene(() => Promise.reject(new Error('no inspector')));
    await clock.advance(60_000);
    expect(now).toMatchObject({ collections: 1, released: 0 });
    expect(now.failures).toEqual([new Error('no inspector')]);
    expect(clock.pending).toBe(0);
  });

  test('it ends when told to', async () => {
    const { clock, now, trim } = scene();
    trim.stop();
    trim.stop();
    await clock.advance(60_000);
    expect(now.collections).toBe(0);
  });
});
