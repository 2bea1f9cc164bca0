import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { EMPTY_CONF_STATE } from '../../../manager/raft/types.ts';
import { Membership } from '../../../manager/raftnode/membership.ts';
import type { SnapshotDir, SnapshotWriter } from '../../../manager/raftnode/snapshot-files.ts';
import {
  SnapshotPolicy,
  type SnapshotSettings,
} from '../../../manager/raftnode/snapshot-policy.ts';
import { SnapshotTaker } from '../../../manager/raftnode/snapshot-taker.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const INTERVAL_ENTRIES = 100;
const INTERVAL_BYTES = 1_000_000;

/** A taker that has taken a snapshot of `stateBytes`. */
async function taken(
  stateBytes: number,
  settings: Partial<SnapshotSettings> = {},
): Promise<SnapshotTaker> {
  const policy = new SnapshotPolicy({
    snapshotIntervalEntries: INTERVAL_ENTRIES,
    snapshotIntervalBytes: INTERVAL_BYTES,
  });
  policy.change({ intervalEntries: null, keepOld: 0, keepEntries: null, ...settings });
  const writer: Pick<SnapshotWriter, 'append' | 'finish' | 'publish' | 'abort' | 'dataBytes'> = {
    dataBytes: stateBytes,
    append: async () => {},
    finish: async () => {},
    publish: async () => {},
    abort: async () => {},
  };
  const taker = new SnapshotTaker({
    dir: { begin: async () => writer } as unknown as SnapshotDir,
    stateMachine: { apply: () => {}, snapshot: () => [], restore: async () => {} },
    clock: new FakeClock(),
    log: silentLogger,
    policy,
    taken: async () => {},
  });
  const head = { index: 1, term: 1, confState: EMPTY_CONF_STATE, membership: Membership.EMPTY };
  await taker.take(head, new AbortController().signal);
  return taker;
}

/** How many entries of `entryBytes` make the next one due. */
function entriesUntilDue(taker: SnapshotTaker, entryBytes: number): number {
  const data = new Uint8Array(entryBytes);
  for (let count = 0; ; count++) {
    if (taker.due) return count;
    taker.count({ index: count + 1, term: 1, type: 'normal', data });
  }
}

describe('when a snapshot is due', () => {
  test.each([
    { name: 'a small state after an interval', stateBytes: 1_000, entryBytes: 100, entries: 100 },
    { name: 'a state twice the log too', stateBytes: 20_000, entryBytes: 100, entries: 100 },
    {
      name: 'a large state waits for half its size',
      stateBytes: 80_000,
      entryBytes: 100,
      entries: 400,
    },
    { name: 'but not for ever', stateBytes: 10_000_000, entryBytes: 100, entries: 1_000 },
    {
      name: 'nor past the limit of bytes',
      stateBytes: 10_000_000,
      entryBytes: 10_000,
      entries: 100,
    },
    { name: 'large entries come sooner', stateBytes: 1_000, entryBytes: 50_000, entries: 20 },
  ])('$name', async ({ stateBytes, entryBytes, entries }) => {
    expect(entriesUntilDue(await taken(stateBytes), entryBytes)).toBe(entries);
  });

  test.each([
    [7, 10_000_000, 100, 7],
    [2_000, 1_000, 100, 2_000],
    [2_000, 1_000, 10_000, 100],
  ])(
    'an interval of %i that was chosen is kept to, within the limit of bytes (%#)',
    async (intervalEntries, stateBytes, entryBytes, entries) => {
      const taker = await taken(stateBytes, { intervalEntries });
      expect(entriesUntilDue(taker, entryBytes)).toBe(entries);
    },
  );
});
