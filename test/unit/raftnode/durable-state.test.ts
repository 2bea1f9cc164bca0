// What is refused at start is refused before anything in the directory is changed, and says what to do.
import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import {
  type DurableOptions,
  DurableState,
  encodeSnapshotState,
} from '../../../manager/raftnode/durable-state.ts';
import type { SimDisk } from '../../support/sim-disk.ts';
import { SimRaft } from '../../support/sim-raft.ts';

const ADVICE = "run 'skep node rm' for this node on another manager";

/** A manager's directory with one snapshot and at least four segments, stopped in order. */
async function usedDirectory(): Promise<SimDisk> {
  const sim = new SimRaft(77, { snapshotIntervalEntries: 90, keepEntries: 80 });
  const member = await sim.bootstrap(1);
  for (let i = 0; i < 120; i++) await sim.propose(member, `entry ${i} ${'x'.repeat(3000)}`);
  await sim.until(() => pathsOf(member.disk, '.snap').length === 1, 'snapshot');
  await sim.run(member.node!.stop());
  return member.disk;
}

function pathsOf(disk: SimDisk, ending: string): string[] {
  return disk.paths().filter((path) => path.endsWith(ending));
}

function imageOf(disk: SimDisk): string[] {
  return disk.paths().map((path) => `${path} ${disk.contents(path).toString('base64')}`);
}

function opened(disk: SimDisk, overrides: Partial<DurableOptions> = {}): Promise<DurableState> {
  const options: DurableOptions = {
    disk: disk.mount(),
    dir: '/raft',
    raftId: 1,
    clusterId: 'sim',
    dek: new Uint8Array(32).fill(1),
    random: new SeededRandom(9),
    log: silentLogger,
    ...overrides,
  };
  return DurableState.open(options, 'existing');
}

function flip(disk: SimDisk, path: string, offset: number): void {
  disk.flipBit(path, offset);
}

function cut(disk: SimDisk, path: string, length: number): void {
  disk.setContents(path, disk.contents(path).subarray(0, length));
}

describe('raft directory', () => {
  test('opens as it was left', async () => {
    const { recovered } = await opened(await usedDirectory());
    expect(recovered.entries.at(-1)!.index).toBe(recovered.hardState.commit);
    expect(recovered.snapshot!.index).toBeGreaterThan(80);
  });

  const DAMAGE: [string, (disk: SimDisk, wal: string[], snap: string) => void, RegExp][] = [
    [
      'a flipped byte in the middle of the log',
      (disk, wal) => flip(disk, wal[1]!, 9000),
      /\.wal is damaged at offset \d+: /,
    ],
    [
      'a last segment that was cut',
      (disk, wal) => cut(disk, wal.at(-1)!, 6000),
      /\.wal is damaged at offset 6000: the file ends here, it had \d+ bytes/,
    ],
    [
      'a segment in the middle that was deleted',
      (disk, wal) => disk.removeFile(wal.at(-2)!),
      /the log begins at index \d+, the newest usable snapshot ends at \d+/,
    ],
    [
      'a last segment that was deleted',
      (disk, wal) => disk.removeFile(wal.at(-1)!),
      /\/raft\/wal: segment \d+ is missing/,
    ],
    [
      'no segment left',
      (disk, wal) => {
        for (const path of wal) disk.removeFile(path);
      },
      /\/raft\/wal: segment \d+ is missing, the last one there is 0/,
    ],
    [
      'a snapshot that was cut',
      (disk, _, snap) => cut(disk, snap, disk.contents(snap).length - 9),
      /\.snap is damaged at offset \d+: /,
    ],
    [
      'a flipped byte in the snapshot',
      (disk, _, snap) => flip(disk, snap, 400),
      /\.snap is damaged at offset \d+: checksum mismatch/,
    ],
    [
      'a snapshot that was deleted',
      (disk, _, snap) => disk.removeFile(snap),
      /the snapshot of index \d+, term \d+, is missing or damaged/,
    ],
  ];
  test.each(DAMAGE)('is refused with %s', async (_, damage, words) => {
    const disk = await usedDirectory();
    const wal = pathsOf(disk, '.wal');
    expect(wal.length).toBeGreaterThanOrEqual(4);
    damage(disk, wal, pathsOf(disk, '.snap')[0]!);
    disk.setContents('/raft/snap/left.1.tmp', Buffer.from('of an unfinished snapshot'));
    const before = imageOf(disk);
    const refusal = await opened(disk).catch((err: unknown) => err);
    expect(refusal).toBeInstanceOf(SkepError);
    expect(refusal).toMatchObject({ code: 'data-loss' });
    expect((refusal as SkepError).message).toMatch(words);
    expect((refusal as SkepError).message).toContain(ADVICE);
    expect(imageOf(disk)).toEqual(before);
  });

  const FOREIGN: [string, Partial<DurableOptions>, RegExp][] = [
    ['another cluster', { clusterId: 'other' }, /belongs to another cluster: .* put the raft/],
    ['another raft node', { raftId: 2 }, /belongs to raft node 1, not to 2: .* put the raft/],
    [
      'another key',
      { dek: new Uint8Array(32).fill(9) },
      /encrypted with another key than those in manager\.json/,
    ],
  ];
  test.each(FOREIGN)('of %s is refused', async (_, overrides, words) => {
    const disk = await usedDirectory();
    const before = imageOf(disk);
    const refusal = await opened(disk, overrides).catch((err: unknown) => err);
    expect(refusal).toMatchObject({ code: 'failed-precondition' });
    expect((refusal as SkepError).message).toMatch(words);
    expect(imageOf(disk)).toEqual(before);
    await (await opened(disk)).close();
  });

  test('that is not there is not made', async () => {
    const disk = await usedDirectory();
    const before = disk.paths();
    await expect(opened(disk, { dir: '/nowhere' })).rejects.toMatchObject({ code: 'not-found' });
    expect(disk.paths()).toEqual(before);
    expect(await disk.mount().stat('/nowhere')).toBeNull();
  });

  test('is refused without the snapshot that a leader sent, though an older one and its log are whole', async () => {
    const sim = new SimRaft(5, { snapshotIntervalEntries: 1000, keepEntries: 0 });
    const member = await sim.bootstrap(1);
    for (let i = 0; i < 5; i++) await sim.propose(member, `entry ${i}`);
    await sim.run(member.node!.stop());
    const { disk } = member;
    const durable = await opened(disk);
    const { membership, confState } = durable.recovered.snapshot!;
    const writer = await durable.snapshots.begin(
      { index: 50, term: 1 },
      encodeSnapshotState(confState, membership),
    );
    await writer.finish();
    await writer.publish();
    // The node dies before it deletes what this snapshot replaces.
    await durable.wal.append([{ kind: 'mark', mark: { index: 50, term: 1, installed: true } }]);
    await durable.close();
    const newest = pathsOf(disk, '.snap').at(-1)!;
    expect(pathsOf(disk, '.snap')).toHaveLength(2);
    cut(disk, newest, disk.contents(newest).length - 5);
    await expect(opened(disk)).rejects.toThrow(/the log ends at index \d+, but 50 was committed/);
  });

  test('may lack the tip when the crash came before it was made', async () => {
    const disk = await usedDirectory();
    disk.removeFile(disk.paths().find((path) => path.includes('/tip.'))!);
    await expect(opened(disk)).resolves.toBeDefined();
  });
});
