import type { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { STALL_LIMIT_MS, StalledReaders } from '../../../daemon/engineapi/stalled-readers.ts';

/** What a connection holds, look by look; the last look is STALL_LIMIT_MS after the first. */
const LOOKS: readonly [string, readonly (readonly [number, number])[], boolean][] = [
  [
    'has nothing waiting',
    [
      [9, 0],
      [9, 0],
      [9, 0],
    ],
    false,
  ],
  [
    'takes nothing',
    [
      [9, 5],
      [9, 5],
      [9, 5],
    ],
    true,
  ],
  [
    'takes something of what waits',
    [
      [9, 5],
      [9, 3],
      [9, 3],
    ],
    false,
  ],
  [
    'takes as much as comes',
    [
      [9, 5],
      [12, 5],
      [14, 5],
    ],
    false,
  ],
  [
    'took all meanwhile',
    [
      [9, 5],
      [9, 0],
      [9, 5],
    ],
    false,
  ],
];

describe('a client', () => {
  test.each(LOOKS)('that %s', (_, looks, isStalled) => {
    const readers = new StalledReaders();
    const connection = { bytesWritten: 0, writableLength: 0 };
    const told = looks.map(([bytesWritten, writableLength], i) => {
      Object.assign(connection, { bytesWritten, writableLength });
      const nowMs = (i * STALL_LIMIT_MS) / (looks.length - 1);
      return readers.among([connection as unknown as Duplex], nowMs).length;
    });
    expect(told).toEqual([0, 0, isStalled ? 1 : 0]);
  });
});
