import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { statusLine } from '../../../../../cli/dev/agents/command.ts';
import { type FleetStatus, split } from '../../../../../cli/dev/agents/fleet.ts';
import { checkOpenFiles, openFilesMax } from '../../../../../cli/dev/agents/limits.ts';

describe('a fleet of fake agents', () => {
  test('is split into parts that differ by one at most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 1, max: 64 }), (n, of) => {
        const parts = split(n, of);
        expect(parts).toHaveLength(of);
        expect(parts.reduce((sum, part) => sum + part, 0)).toBe(n);
        expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(1);
      }),
    );
  });

  const all: FleetStatus = {
    ...{ joined: 8, connected: 8, sessions: 8, differences: 0, runningTasks: 20, refusal: '' },
  };
  test.each<[string, Partial<FleetStatus>, readonly number[], string]>([
    ['all is well', {}, [], '8 of 8 connected, 20 tasks run'],
    [
      'they still join',
      { joined: 5, connected: 4, sessions: 4, runningTasks: 0 },
      [],
      '4 of 8 connected, 0 tasks run, 5 have a certificate',
    ],
    [
      'connections broke',
      { connected: 6, sessions: 11 },
      [],
      '6 of 8 connected, 20 tasks run, 3 sessions were begun again',
    ],
    [
      'assignments came with less than their checksum said',
      { differences: 2 },
      [],
      '8 of 8 connected, 20 tasks run, 2 assignment sets lacked something',
    ],
    [
      'heartbeats were answered',
      {},
      Array.from({ length: 100 }, (_, i) => 100 - i),
      '8 of 8 connected, 20 tasks run, heartbeats answered in 50.0 ms (p50), 99.0 ms (p99)',
    ],
  ])('says where it stands when %s', (_when, status, heartbeatsMs, line) => {
    expect(statusLine({ ...all, ...status }, 8, heartbeatsMs)).toBe(line);
  });
});

describe('the limit of open files', () => {
  const limits = (hard: string): string =>
    `Limit                     Soft Limit           Hard Limit           Units     \nMax processes             63203                63203                processes \nMax open files            1024                 ${hard}               files     \n`;

  test('is the hard one', () => {
    expect(openFilesMax(limits('20000'))).toBe(20_000);
    expect(openFilesMax(limits('unlimited'))).toBeNull();
    expect(openFilesMax('')).toBeNull();
  });

  test('that is too low is told with the remedy', () => {
    expect(() => checkOpenFiles(1_000, 1_000)).toThrow(
      'run 1000 agents in one process: it may open 1000 files and needs 1100; raise the limit (ulimit -n 1100) or set --processes',
    );
    checkOpenFiles(1_000, 1_100);
    checkOpenFiles(1_000_000, null);
  });
});
