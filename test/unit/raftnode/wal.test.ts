import { describe, expect, test } from 'vitest';
import { hasCode } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { Keyring } from '../../../manager/raftnode/crypt.ts';
import { Wal, WalFullError, type WalOptions } from '../../../manager/raftnode/wal.ts';
import {
  HEADER_BLOCK_BYTES,
  MARKER_BYTES,
  type WalRecord,
} from '../../../manager/raftnode/wal-format.ts';
import type { WalContents } from '../../../manager/raftnode/wal-recovery.ts';
import { SimDisk } from '../../support/sim-disk.ts';

const DEK = new Uint8Array(32).fill(7);
const OTHER_DEK = new Uint8Array(32).fill(8);
const CLUSTER = Buffer.alloc(16, 3);
const DIR = '/raft/wal';
const SEGMENT_BYTES = 16 * 1024;

let seed = 1;

function optionsOn(disk: SimDisk, overrides: Partial<WalOptions> = {}): WalOptions {
  return {
    disk: disk.mount(),
    dir: DIR,
    keyring: new Keyring(DEK),
    random: new SeededRandom(seed++),
    identity: { raftId: 0xabc, clusterDigest: CLUSTER },
    log: silentLogger,
    segmentBytes: SEGMENT_BYTES,
    smallSegmentBytes: SEGMENT_BYTES,
    ...overrides,
  };
}

function entry(index: number, term = 1, text = `entry ${index}`): WalRecord {
  return { kind: 'entry', entry: { index, term, type: 'normal', data: Buffer.from(text) } };
}

function hardState(term: number, vote: number, commit: number): WalRecord {
  return { kind: 'hard-state', hardState: { term, vote, commit } };
}

function entryList(contents: WalContents): string[] {
  return contents.entries.map((e) => `${e.index}/${e.term} ${Buffer.from(e.data).toString()}`);
}

async function reopen(disk: SimDisk, overrides: Partial<WalOptions> = {}): Promise<WalContents> {
  disk.kill();
  return (await Wal.open(optionsOn(disk, overrides))).contents;
}

/** A log of one segment with `flushes` flushes of one entry each; offsets of their markers. */
async function writtenLog(flushes: number): Promise<{ disk: SimDisk; path: string; at: number[] }> {
  const disk = new SimDisk();
  const { wal } = await Wal.open(optionsOn(disk));
  for (let i = 1; i <= flushes; i++) await wal.append([entry(i), hardState(1, 0, i - 1)]);
  const path = wal.segmentPaths[0]!;
  return { disk, path, at: markerOffsets(disk.contents(path)) };
}

function markerOffsets(segment: Buffer): number[] {
  const offsets: number[] = [];
  for (let at = HEADER_BLOCK_BYTES; segment.readUInt32LE(at) !== 0; ) {
    offsets.push(at);
    at += Math.ceil((MARKER_BYTES + segment.readUInt32LE(at + 4)) / 8) * 8;
  }
  return offsets;
}

describe('raft log on disk', () => {
  test('gives back what was appended, in order', async () => {
    const disk = new SimDisk();
    const { wal, contents } = await Wal.open(optionsOn(disk));
    expect(contents.entries).toEqual([]);
    await wal.append([entry(1), entry(2), hardState(1, 5, 0)]);
    await wal.append([entry(3), hardState(1, 5, 2)]);
    const read = await reopen(disk);
    expect(entryList(read)).toEqual(['1/1 entry 1', '2/1 entry 2', '3/1 entry 3']);
    expect(read.hardState).toEqual({ term: 1, vote: 5, commit: 2 });
  });

  test('costs one write and one sync per flush', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(1)]);
    await new Promise((resolve) => setImmediate(resolve)); // the spare segment gets made
    disk.counts.clear();
    await wal.append([entry(2), entry(3), hardState(1, 0, 1)]);
    expect(Object.fromEntries(disk.counts)).toEqual({ pwrite: 1, fdatasync: 1 });
  });

  test('an entry that repeats an index takes the place of all that followed', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(1), entry(2), entry(3), entry(4)]);
    await wal.append([entry(2, 2, 'new')]);
    expect(entryList(await reopen(disk))).toEqual(['1/1 entry 1', '2/2 new']);
  });

  test('continues in a new segment after each opening', async () => {
    const disk = new SimDisk();
    for (let life = 1; life <= 4; life++) {
      disk.kill();
      const { wal, contents } = await Wal.open(optionsOn(disk));
      expect(contents.entries.length).toBe(life - 1);
      await wal.append([entry(life)]);
      expect(wal.segmentPaths.length).toBe(life);
    }
  });

  test('fills segments and deletes those that a snapshot made useless', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    for (let i = 1; i <= 100; i++) await wal.append([entry(i, 1, 'x'.repeat(1000))]);
    const before = wal.segmentPaths.length;
    expect(before).toBeGreaterThan(5);
    await wal.append([
      { kind: 'mark', mark: { index: 60, term: 1, installed: false } },
      hardState(1, 0, 100),
    ]);
    await wal.purge(60);
    expect(wal.segmentPaths.length).toBeLessThan(before);
    const read = await reopen(disk);
    expect(read.entries[0]!.index).toBeLessThanOrEqual(61);
    expect(read.entries.at(-1)!.index).toBe(100);
    expect(read.marks[0]).toEqual({ index: 60, term: 1, installed: false });
    expect(read.hardState.commit).toBe(100);
  });

  test('repeats state at the start of each segment, so that older ones may go', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([
      { kind: 'mark', mark: { index: 1, term: 1, installed: false } },
      hardState(9, 4, 1),
    ]);
    for (let i = 2; i <= 40; i++) await wal.append([entry(i, 9, 'x'.repeat(1000))]);
    await wal.purge(39);
    expect(wal.segmentPaths.length).toBe(1);
    const read = await reopen(disk);
    expect(read.hardState).toEqual({ term: 9, vote: 4, commit: 1 });
    expect(read.marks[0]!.index).toBe(1);
  });

  test('a flush larger than a segment gets a segment of its own size', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(1, 1, 'y'.repeat(5 * SEGMENT_BYTES))]);
    await wal.append([entry(2)]);
    expect((await reopen(disk)).entries.map((e) => e.data.length)).toEqual([5 * SEGMENT_BYTES, 7]);
  });

  test('a snapshot from the leader replaces a log that does not reach it', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(1), entry(2)]);
    await wal.append([{ kind: 'mark', mark: { index: 50, term: 3, installed: true } }]);
    await wal.append([entry(51, 3)]);
    const read = await reopen(disk);
    expect(entryList(read)).toEqual(['51/3 entry 51']);
  });

  test('what is on the disk tells nothing', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(1, 1, 'a secret of the cluster')]);
    for (const path of disk.paths()) {
      expect(disk.contents(path).includes('secret'), path).toBe(false);
    }
  });

  test('the same entry never looks the same twice', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(1)]);
    await wal.append([entry(1)]);
    await wal.append([entry(1)]);
    const segment = disk.contents(wal.segmentPaths[0]!);
    const bodies = markerOffsets(segment).map((at) =>
      segment.subarray(at + MARKER_BYTES, at + MARKER_BYTES + 32).toString('hex'),
    );
    expect(new Set(bodies).size).toBe(3);
  });

  test('refuses another key and takes it as an older one', async () => {
    const { disk } = await writtenLog(3);
    await expect(reopen(disk, { keyring: new Keyring(OTHER_DEK) })).rejects.toSatisfy((err) =>
      hasCode(err, 'failed-precondition'),
    );
    const read = await reopen(disk, { keyring: new Keyring(OTHER_DEK, [DEK]) });
    expect(read.entries.length).toBe(3);
  });

  test.each([
    ['another cluster', { raftId: 0xabc, clusterDigest: Buffer.alloc(16, 9) }, 'another cluster'],
    ['another node', { raftId: 0xdef, clusterDigest: CLUSTER }, 'raft node abc'],
  ])('refuses the log of %s and changes nothing', async (_name, identity, words) => {
    const { disk, path } = await writtenLog(3);
    const before = Buffer.from(disk.contents(path));
    const refusal = await reopen(disk, { identity }).catch((err) => err);
    expect(hasCode(refusal, 'failed-precondition')).toBe(true);
    expect(refusal.message).toContain(words);
    expect(disk.contents(path).equals(before)).toBe(true);
  });

  test('begins a segment under the new key after a change of key', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(1)]);
    await wal.rekey(new Keyring(OTHER_DEK, [DEK]));
    await wal.append([entry(2)]);
    expect(wal.segmentPaths.length).toBe(2);
    await wal.purge(1);
    expect((await reopen(disk, { keyring: new Keyring(OTHER_DEK) })).entries[0]!.index).toBe(2);
  });
});

describe('raft log after a crash', () => {
  const WHERE = ['marker', 'checksum', 'tag', 'body'] as const;
  const OFFSET_IN_FRAME = { marker: 0, checksum: 20, tag: 33, body: MARKER_BYTES + 3 };

  test.each(WHERE)('drops a last flush with a torn %s and goes on', async (where) => {
    const { disk, path, at } = await writtenLog(3);
    disk.flipBit(path, at[2]! + OFFSET_IN_FRAME[where]);
    const read = await reopen(disk);
    expect(entryList(read)).toEqual(['1/1 entry 1', '2/1 entry 2']);
    expect(read.torn).toMatchObject({ path, fromOffset: at[2] });
    disk.kill();
    const { wal, contents } = await Wal.open(optionsOn(disk));
    expect(contents.torn).toBeNull();
    await wal.append([entry(3, 2, 'again')]);
    expect(entryList(await reopen(disk)).at(-1)).toBe('3/2 again');
  });

  test('drops a last flush whose marker never reached the disk', async () => {
    const { disk, path, at } = await writtenLog(3);
    disk.contents(path).fill(0, at[2]!, at[2]! + MARKER_BYTES);
    disk.contents(path); // durable
    const read = await reopen(disk);
    expect(read.entries.length).toBe(2);
    expect(read.torn?.reason).toBe('flush marker is blank');
  });

  test.each(WHERE)(
    'refuses a damaged %s of an earlier flush, naming file and offset',
    async (where) => {
      const { disk, path, at } = await writtenLog(3);
      disk.flipBit(path, at[1]! + OFFSET_IN_FRAME[where]);
      const before = Buffer.from(disk.contents(path));
      const refusal = await reopen(disk).catch((err) => err);
      expect(hasCode(refusal, 'data-loss')).toBe(true);
      expect(refusal.message).toContain(`${path} is damaged at offset ${at[1]}`);
      expect(disk.contents(path).equals(before)).toBe(true);
    },
  );

  test('refuses a flush that was lost from the middle', async () => {
    const { disk, path, at } = await writtenLog(4);
    disk.contents(path).fill(0, at[1]!, at[2]!);
    disk.contents(path);
    await expect(reopen(disk)).rejects.toThrow(`${path} is damaged at offset ${at[1]}`);
  });

  test.each([
    ['a flipped bit', (segment: Buffer, last: number) => segment.fill(1, last + 60, last + 61)],
    ['a lost last flush', (segment: Buffer, last: number) => segment.fill(0, last)],
  ])('refuses %s in a segment that has a successor', async (_name, damage) => {
    const { disk, path, at } = await writtenLog(3);
    disk.kill();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(4)]);
    damage(disk.contents(path), at[2]!);
    disk.contents(path);
    await expect(reopen(disk)).rejects.toThrow(`${path} is damaged at offset ${at[2]}`);
  });

  test('refuses a damaged header of a segment', async () => {
    const { disk, path } = await writtenLog(2);
    disk.flipBit(path, 30);
    await expect(reopen(disk)).rejects.toThrow(`${path} is damaged at offset 0`);
  });

  test('an orderly close makes rot in the last flush visible', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(1)]);
    const path = wal.segmentPaths[0]!;
    await wal.close();
    disk.flipBit(path, HEADER_BLOCK_BYTES + MARKER_BYTES + 2);
    await expect(reopen(disk)).rejects.toThrow('is damaged at offset 4096');
  });

  test('deletes older segments that an interrupted clean-up left behind', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    for (let i = 1; i <= 60; i++) await wal.append([entry(i, 1, 'x'.repeat(1000))]);
    const [first, second] = wal.segmentPaths;
    disk.removeFile(second!);
    const read = await reopen(disk);
    expect(read.leftovers).toEqual([first]);
    expect(disk.paths()).not.toContain(first);
  });

  test('begins small segments as long as little is in them, however often it is opened', async () => {
    const disk = new SimDisk();
    const sizes = { segmentBytes: 4 * SEGMENT_BYTES };
    const lengths = (wal: Wal): number[] =>
      wal.segmentPaths.map((path) => disk.contents(path).length);
    for (let life = 1; life <= 6; life++) {
      disk.kill();
      const { wal } = await Wal.open(optionsOn(disk, sizes));
      await wal.append([entry(life)]);
      // Those before the last take no more than they hold: the marks, the state and one entry.
      expect(lengths(wal).at(-1)).toBe(SEGMENT_BYTES);
      expect(Math.max(HEADER_BLOCK_BYTES, ...lengths(wal).slice(0, -1))).toBeLessThan(5_000);
      expect(wal.segmentPaths).toHaveLength(life);
    }
    expect(entryList(await reopen(disk, sizes))).toHaveLength(6);
    // What is written makes the next ones large.
    disk.kill();
    const { wal } = await Wal.open(optionsOn(disk, sizes));
    for (let i = 7; i < 7 + 16; i++) await wal.append([entry(i, 1, 'z'.repeat(SEGMENT_BYTES / 4))]);
    expect(lengths(wal).at(-1)).toBe(4 * SEGMENT_BYTES);
  });

  test('loses no acknowledged entry whatever a crash does to unsynced data', async () => {
    for (let run = 1; run <= 150; run++) {
      const random = new SeededRandom(run);
      const disk = new SimDisk({ random: random.fork() });
      let acknowledged = 0;
      for (let life = 0; life < 4; life++) {
        let operationsLeft = random.below(60);
        const dies = random.below(2) === 0 ? () => disk.crash() : () => disk.kill();
        disk.onOperation = () => {
          if (operationsLeft-- === 0) dies();
        };
        const alive = { crashed: false };
        const work = (async () => {
          const { wal, contents } = await Wal.open(
            optionsOn(disk, { segmentBytes: 8192, smallSegmentBytes: 8192 }),
          );
          const last = contents.entries.at(-1)?.index ?? 0;
          expect(last, `seed ${run}`).toBeGreaterThanOrEqual(acknowledged);
          for (let i = last + 1; ; i++) {
            await wal.append([entry(i, 1, 'z'.repeat(random.below(1500)))]);
            if (alive.crashed) throw new Error('an operation of a dead process ended');
            acknowledged = i;
          }
        })();
        const ended = new Promise<void>((resolve) => {
          const look = (): void => {
            if (operationsLeft < 0) resolve();
            else setImmediate(look);
          };
          look();
        });
        await Promise.race([work, ended]);
        alive.crashed = true;
      }
    }
  });
});

describe('raft log in trouble', () => {
  test('a failed sync is final', async () => {
    const disk = new SimDisk();
    const { wal } = await Wal.open(optionsOn(disk));
    await wal.append([entry(1)]);
    disk.onOperation = (operation) => {
      if (operation === 'fdatasync') throw Object.assign(new Error('EIO'), { code: 'EIO' });
    };
    await expect(wal.append([entry(2)])).rejects.toThrow('EIO');
    disk.onOperation = null;
    await expect(wal.append([entry(2)])).rejects.toThrow('it failed before');
  });

  test('a full disk refuses a flush that needs a new segment, and takes it later', async () => {
    const disk = new SimDisk({ capacityBytes: 2 * SEGMENT_BYTES + 8192 });
    const { wal } = await Wal.open(optionsOn(disk));
    let refused: unknown = null;
    let index = 1;
    for (; refused === null; index++) {
      refused = await wal.append([entry(index, 1, 'x'.repeat(1000))]).then(
        () => null,
        (err) => err,
      );
    }
    expect(refused).toBeInstanceOf(WalFullError);
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    await wal.append([entry(index - 1, 1, 'after')]);
    expect((await reopen(disk)).entries.at(-1)!.index).toBe(index - 1);
  });
});
