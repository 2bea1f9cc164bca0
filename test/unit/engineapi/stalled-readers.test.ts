import type { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { StreamDuplex } from '../../../common/rpc/stream-duplex.ts';
import { STALL_LIMIT_MS, StalledReaders } from '../../../daemon/engineapi/stalled-readers.ts';
import { streamPair } from '../../support/rpc-stream-pair.ts';

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
    'takes nothing while more and more waits for it',
    [
      [9, 5],
      [14, 10],
      [19, 15],
    ],
    true,
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

  test('that takes of a stream between nodes a chunk that is not through', () => {
    const connection = new StreamDuplex(streamPair(1)[0]);
    let takenBytes = 7;
    Object.defineProperties(connection, {
      takenBytes: { get: () => takenBytes },
      writableLength: { get: () => 100 },
    });
    const readers = new StalledReaders();
    const told = (nowMs: number) => readers.among([connection], nowMs).length;
    expect([told(0), told(STALL_LIMIT_MS - 1)]).toEqual([0, 0]);
    takenBytes++;
    expect([told(STALL_LIMIT_MS), told(2 * STALL_LIMIT_MS)]).toEqual([0, 1]);
  });
});
