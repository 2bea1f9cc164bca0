import { beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import type { Path } from '../../../worker/network/path-check.ts';
import { PathWatch } from '../../../worker/network/path-watch.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

describe('ways to other hosts that are watched', () => {
  let hosts: string[];
  /** what passes to a host, bytes; 0 = it does not answer */
  let carried: Map<string, number>;
  let told: (number | null)[];
  let asked: Set<string>;
  /** before a probe is answered */
  let onProbe: () => Promise<void>;
  let watch: PathWatch;

  beforeEach(() => {
    hosts = ['192.0.2.2', '192.0.2.3'];
    carried = new Map();
    told = [];
    asked = new Set();
    onProbe = async () => {};
    watch = new PathWatch({
      ...{ clock: new FakeClock(), random: new SeededRandom(1), log: silentLogger },
      paths: () =>
        hosts.map((address): Path => ({ address, packetBytes: 1500, networkName: 'front' })),
      probe: async (probes) => {
        await onProbe();
        return probes.map(({ address, packetBytes }) => {
          asked.add(address);
          return packetBytes <= (carried.get(address) ?? 1500);
        });
      },
      tell: (mtu) => told.push(mtu),
    });
  });
  const look = async (times = 1): Promise<void> => {
    for (let i = 0; i < times; i++) await watch.look();
  };

  test('nothing is told where all is well', async () => {
    await look(3);
    expect(told).toEqual([]);
  });

  test('the narrowest is told after two looks, and that it is none any more after one', async () => {
    carried.set('192.0.2.2', 1400).set('192.0.2.3', 1433);
    await look();
    expect(told).toEqual([]);
    await look();
    expect(told).toEqual([1400]);
    carried.delete('192.0.2.2');
    await look();
    expect(told).toEqual([1400, 1433]);
    carried.clear();
    await look(2);
    expect(told).toEqual([1400, 1433, null]);
  });

  test('a host that does not answer changes nothing, one that is gone is forgotten', async () => {
    carried.set('192.0.2.2', 1400);
    await look(2);
    carried.set('192.0.2.2', 0);
    await look(2);
    expect(told).toEqual([1400]);
    hosts = ['192.0.2.3'];
    await look();
    expect(told).toEqual([1400, null]);
  });

  test('a way with which no network could live is left to others', async () => {
    carried.set('192.0.2.2', 1000);
    await look(3);
    expect(told).toEqual([]);
  });

  test('of many hosts some are tried at a time, and all in the end', async () => {
    hosts = Array.from({ length: 120 }, (_, i) => `192.0.3.${i}`);
    await look();
    expect(asked.size).toBe(50);
    await look(20);
    expect(asked.size).toBe(120);
  });

  test('who stops them waits for the probe under way, after which there is none, and nothing is told', async () => {
    carried.set('192.0.2.2', 1400);
    await look();
    const done: string[] = [];
    let answer = (): void => {};
    onProbe = () =>
      new Promise((resolve) => {
        done.push('probe');
        answer = resolve;
      });
    const looked = look().then(() => done.push('look'));
    const stopped = watch.stop().then(() => done.push('stop'));
    await settle();
    expect(done).toEqual(['probe']);
    answer();
    await Promise.all([looked, stopped]);
    expect(done.toSorted()).toEqual(['look', 'probe', 'stop']);
    expect(told).toEqual([]);
  });
});
