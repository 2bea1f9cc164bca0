/** The log: storage, unstable tail and cursors, against a plain array as model. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RaftLog } from '../../../manager/raft/log.ts';
import { MemoryStorage } from '../../../manager/raft/memory-storage.ts';
import {
  EMPTY_CONF_STATE,
  type Entry,
  entrySizeBytes,
  NO_BYTES,
} from '../../../manager/raft/types.ts';

function entry(index: number, term: number, size = 0): Entry {
  return { index, term, type: 'normal', data: size === 0 ? NO_BYTES : new Uint8Array(size) };
}

function entries(first: number, ...terms: number[]): Entry[] {
  return terms.map((term, i) => entry(first + i, term));
}

function logOf(stable: readonly Entry[], unstable: readonly Entry[] = []): RaftLog {
  const storage = new MemoryStorage();
  storage.append(stable);
  const log = new RaftLog(storage, Number.POSITIVE_INFINITY, undefined);
  log.append(unstable);
  return log;
}

const all = (log: RaftLog): number[] => {
  const found = log.entriesFrom(log.firstIndex(), Number.POSITIVE_INFINITY);
  return (found as readonly Entry[]).map(({ term }) => term);
};

describe('raft log', () => {
  test.each([
    ['nothing new', 2, entries(3, 2), [1, 1, 2]],
    ['appended', 3, entries(4, 3), [1, 1, 2, 3]],
    ['replaced from the conflict on', 1, entries(2, 1, 3), [1, 1, 3]],
    ['replaced whole', 0, entries(1, 4), [4]],
  ])('takes a slice that fits: %s', (_, previous, slice, expected) => {
    const log = logOf(entries(1, 1), entries(2, 1, 2));
    const id = { index: previous, term: log.termOrZero(previous) };
    expect(log.tryAppend({ previous: id, entries: slice }, 0)).toBe(previous + slice.length);
    expect(all(log)).toEqual(expected);
  });

  test('refuses a slice whose previous entry it lacks', () => {
    const log = logOf(entries(1, 1, 1));
    expect(log.tryAppend({ previous: { index: 2, term: 2 }, entries: [] }, 0)).toBeNull();
    expect(log.tryAppend({ previous: { index: 3, term: 1 }, entries: [] }, 0)).toBeNull();
  });

  test('commits no further than the slice reaches', () => {
    const log = logOf(entries(1, 1, 1, 1));
    log.tryAppend({ previous: { index: 1, term: 1 }, entries: entries(2, 1) }, 3);
    expect(log.committed).toBe(2);
  });

  test('a conflict with committed entries ends the process', () => {
    const log = logOf(entries(1, 1, 1));
    log.commitTo(2);
    const slice = { previous: { index: 1, term: 1 }, entries: entries(2, 2) };
    expect(() => log.tryAppend(slice, 0)).toThrow('conflicts with committed');
  });

  test('commit past the last entry ends the process', () => {
    expect(() => logOf(entries(1, 1)).commitTo(2)).toThrow('past the last entry');
  });

  test.each([
    // own terms, asked (index, term), best match (index, term)
    [[1, 3, 3, 3, 5, 5], { index: 6, term: 2 }, { index: 1, term: 1 }],
    [[1, 3, 3, 4, 4, 5], { index: 6, term: 3 }, { index: 3, term: 3 }],
    [[2, 2, 2], { index: 3, term: 2 }, { index: 3, term: 2 }],
    [[2, 2, 2], { index: 3, term: 1 }, { index: 0, term: 0 }],
  ])('in %j the best match for %j is %j', (terms, at, best) => {
    expect(logOf(entries(1, ...terms)).findConflictByTerm(at)).toEqual(best);
  });

  test('slices across storage and the unstable tail like one array, within the size limit', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 12 }),
        fc.nat(12),
        fc.nat(12),
        fc.nat(12),
        fc.integer({ min: 0, max: 300 }),
        (sizes, split, from, count, maxBytes) => {
          const list = sizes.map((size, i) => entry(i + 1, 1, size));
          const log = logOf(list.slice(0, split), list.slice(split));
          const lo = Math.min(from + 1, list.length);
          const hi = Math.min(lo + count, list.length + 1);
          const sliced = log.slice(lo, hi, maxBytes) as readonly Entry[];
          let fits = 0;
          let bytes = 0;
          for (const one of list.slice(lo - 1, hi - 1)) {
            bytes += entrySizeBytes(one);
            if (bytes > maxBytes && fits > 0) break;
            fits++;
          }
          expect(sliced.map(({ index }) => index)).toEqual(
            list.slice(lo - 1, lo - 1 + fits).map(({ index }) => index),
          );
        },
      ),
    );
  });

  test('hands out committed entries within the limit, and more only when they are applied', () => {
    const storage = new MemoryStorage();
    const log = new RaftLog(storage, 2 * entrySizeBytes(entry(1, 1)), undefined);
    log.append(entries(1, 1, 1, 1));
    log.commitTo(3);
    const first = log.nextCommitted(true);
    expect(first.map(({ index }) => index)).toEqual([1, 2]);
    log.acceptApplying(2, 2 * entrySizeBytes(first[0]!), true);
    expect(log.hasNextCommitted(true)).toBe(false);
    log.appliedTo(2, 2 * entrySizeBytes(first[0]!));
    expect(log.nextCommitted(true).map(({ index }) => index)).toEqual([3]);
  });

  test('with async writes only durable entries are applied', () => {
    const log = logOf(entries(1, 1), entries(2, 1));
    log.commitTo(2);
    expect(log.nextCommitted(false).map(({ index }) => index)).toEqual([1]);
  });

  test('entries that replace ones being written are handed out to be written too', () => {
    const log = logOf([], entries(1, 1, 1, 1, 1));
    log.unstable.acceptInProgress();
    log.append(entries(3, 2, 2));
    const next = log.unstable.nextEntries();
    expect(next.map(({ index, term }) => [index, term])).toEqual([
      [3, 2],
      [4, 2],
    ]);
  });

  test('entries stay unstable until the write that holds them in their last form', () => {
    const log = logOf([], entries(1, 1, 1));
    log.unstable.acceptInProgress();
    log.append(entries(2, 2));
    log.unstable.stableTo({ index: 2, term: 1 });
    expect(log.unstable.count).toBe(2);
    log.unstable.stableTo({ index: 2, term: 2 });
    expect(log.unstable.count).toBe(0);
  });
});

describe('raft log image in memory', () => {
  function filled(): MemoryStorage {
    const storage = new MemoryStorage();
    storage.append(entries(1, 1, 1, 2, 2));
    return storage;
  }

  test('replaces what follows an entry that comes again', () => {
    const storage = filled();
    storage.append(entries(2, 3));
    expect([storage.lastIndex(), storage.term(2), storage.term(3)]).toEqual([2, 3, 'unavailable']);
  });

  test('compaction keeps the term of the entry before the first', () => {
    const storage = filled();
    expect(storage.compact(3)).toBe(true);
    expect(storage.compact(3)).toBe(false);
    expect(storage.firstIndex()).toBe(4);
    expect([storage.term(2), storage.term(3)]).toEqual(['compacted', 2]);
    expect(storage.entries(3, 5, 1000)).toBe('compacted');
  });

  test('skips entries that are compacted already', () => {
    const storage = filled();
    storage.compact(3);
    storage.append(entries(2, 1, 2, 2, 5));
    expect([storage.lastIndex(), storage.term(5)]).toEqual([5, 5]);
  });

  test('a gap is a mistake of the caller', () => {
    expect(() => filled().append(entries(6, 2))).toThrow('gap');
  });

  test('a snapshot replaces the log, an older one changes nothing', () => {
    const storage = filled();
    const metadata = { index: 9, term: 3, confState: EMPTY_CONF_STATE };
    expect(storage.applySnapshot({ data: NO_BYTES, metadata })).toBe(true);
    expect([storage.firstIndex(), storage.lastIndex(), storage.term(9)]).toEqual([10, 9, 3]);
    expect(storage.applySnapshot({ data: NO_BYTES, metadata })).toBe(false);
    expect(storage.createSnapshot(9, EMPTY_CONF_STATE, NO_BYTES)).toBeNull();
  });
});
