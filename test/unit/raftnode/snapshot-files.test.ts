import { describe, expect, test } from 'vitest';
import { hasCode } from '../../../common/base/errors.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { Keyring } from '../../../manager/raftnode/crypt.ts';
import { SnapshotDir } from '../../../manager/raftnode/snapshot-files.ts';
import { SimDisk } from '../../support/sim-disk.ts';

const DIR = '/raft/snap';
const ID = { index: 1000, term: 3 };
const CHUNKS = ['first chunk', 'second', 'x'.repeat(5000)];

function dirOn(disk: SimDisk, fill = 7): SnapshotDir {
  return new SnapshotDir({
    disk: disk.mount(),
    dir: DIR,
    keyring: new Keyring(new Uint8Array(32).fill(fill)),
    random: new SeededRandom(5),
    identity: { raftId: 1, clusterDigest: Buffer.alloc(16, 3) },
  });
}

async function written(): Promise<{ disk: SimDisk; dir: SnapshotDir; path: string }> {
  const disk = new SimDisk();
  const dir = dirOn(disk);
  await dir.open();
  const writer = await dir.begin(ID, Buffer.from('the members'));
  for (const chunk of CHUNKS) await writer.append(Buffer.from(chunk));
  await writer.finish();
  await writer.publish();
  return { disk, dir, path: dir.pathOf(ID) };
}

async function textFrom(dir: SnapshotDir, fromOffset: number): Promise<string> {
  const reader = await dir.read(ID);
  let text = '';
  for await (const chunk of reader.chunks(fromOffset)) text += chunk.data.toString();
  await reader.close();
  return text;
}

describe('snapshot file', () => {
  test('gives back members and chunks', async () => {
    const { dir } = await written();
    const reader = await dir.read(ID);
    expect(reader.membership.toString()).toBe('the members');
    expect(reader.dataBytes).toBe(5017);
    expect(await textFrom(dir, 0)).toBe(CHUNKS.join(''));
  });

  test('is read from the end of any chunk on', async () => {
    const { dir } = await written();
    expect(await textFrom(dir, 11)).toBe(CHUNKS.slice(1).join(''));
    expect(await textFrom(dir, 5017)).toBe('');
  });

  test('survives a crash after publish, whatever the disk forgets', async () => {
    const { disk } = await written();
    disk.crash();
    expect(await textFrom(dirOn(disk), 0)).toBe(CHUNKS.join(''));
  });

  test('has no name before publish and is cleaned away at the next start', async () => {
    const disk = new SimDisk();
    const dir = dirOn(disk);
    await dir.open();
    const writer = await dir.begin(ID, Buffer.alloc(0));
    await writer.append(Buffer.from('half'));
    expect(await dir.list()).toEqual([]);
    disk.kill();
    await dirOn(disk).open();
    expect(disk.paths()).toEqual([]);
  });

  test('a damaged byte anywhere is found', async () => {
    const { disk, path } = await written();
    const bytes = disk.contents(path).length;
    let checked = 0;
    for (let offset = 0; offset < bytes; offset += offset < 400 ? 1 : 97) {
      if (offset >= 76 && offset < 128) continue; // unused rest of the header block
      disk.flipBit(path, offset, 3);
      const outcome = await dirOn(disk)
        .read(ID)
        .then(
          () => 'read',
          (err) => err,
        );
      const pad = isPadding(disk.contents(path), offset);
      if (!pad) expect(outcome, `offset ${offset}`).not.toBe('read');
      disk.flipBit(path, offset, 3);
      checked++;
    }
    expect(checked).toBeGreaterThan(300);
  });

  test.each([0, 50, 128, 200, 5000])('a file cut at %i bytes is no snapshot', async (length) => {
    const { disk, path } = await written();
    disk.setContents(path, disk.contents(path).subarray(0, length));
    await expect(dirOn(disk).read(ID)).rejects.toSatisfy((err) => hasCode(err, 'data-loss'));
  });

  test('shows nothing of its contents and needs the key', async () => {
    const { disk, path } = await written();
    expect(disk.contents(path).includes('chunk')).toBe(false);
    await expect(dirOn(disk, 8).read(ID)).rejects.toSatisfy((err) =>
      hasCode(err, 'failed-precondition'),
    );
  });

  test('that was begun before a change of key is under the old one until it is replaced', async () => {
    const disk = new SimDisk();
    const dir = dirOn(disk);
    await dir.open();
    const [published, aborted] = [
      await dir.begin(ID, Buffer.alloc(0)),
      await dir.begin(ID, Buffer.alloc(0)),
    ];
    expect(await dir.hasStale()).toBe(false);
    dir.rekey(new Keyring(new Uint8Array(32).fill(8), [new Uint8Array(32).fill(7)]));
    expect(await dir.hasStale()).toBe(true);
    await aborted.abort();
    expect(await dir.hasStale()).toBe(true);
    await published.finish();
    await published.publish();
    expect(await dir.hasStale()).toBe(true);
    const next = await dir.begin({ ...ID, index: ID.index + 1 }, Buffer.alloc(0));
    await next.finish();
    await next.publish();
    await dir.deleteReplaced(next.id);
    expect(await dir.hasStale()).toBe(false);
  });

  test('for which there is no space leaves nothing behind', async () => {
    const { disk, dir, path } = await written();
    disk.capacityBytes = disk.usedBytes;
    await expect(dir.begin(ID, Buffer.alloc(10))).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(await disk.mount().readdir(DIR)).toEqual([path.slice(DIR.length + 1)]);
    dir.rekey(new Keyring(new Uint8Array(32).fill(8), [new Uint8Array(32).fill(7)]));
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    const next = await dir.begin({ ...ID, index: ID.index + 1 }, Buffer.alloc(0));
    await next.finish();
    await next.publish();
    await dir.deleteReplaced(next.id);
    expect(await dir.hasStale()).toBe(false);
  });

  test('deletes what a snapshot replaces and leaves a newer one that waits to be installed', async () => {
    const { dir } = await written();
    for (const index of [900, 1100]) {
      const writer = await dir.begin({ index, term: 3 }, Buffer.from('the members'));
      await writer.finish();
      await writer.publish();
    }
    await dir.deleteReplaced(ID);
    expect((await dir.list()).map(({ index }) => index)).toEqual([1100, 1000]);
  });

  test.each([
    [0, [1100, 1000], 1000],
    [1, [1100, 1000, 900], 900],
    [2, [1100, 1000, 900, 800], 800],
    [9, [1100, 1000, 900, 800], 800],
  ])('keeps %i of those before it', async (keepOld, left, oldest) => {
    const { dir } = await written();
    // One of the same index and another term cannot be of this log.
    for (const id of [800, 900, 1100]
      .map((index) => ({ index, term: 3 }))
      .concat({ ...ID, term: 2 })) {
      const writer = await dir.begin(id, Buffer.from('the members'));
      await writer.finish();
      await writer.publish();
    }
    expect(await dir.deleteReplaced(ID, keepOld)).toBe(oldest);
    expect((await dir.list()).map(({ index }) => index)).toEqual(left);
  });

  test('is readable to its end after it was deleted', async () => {
    const { dir } = await written();
    const reader = await dir.read(ID);
    await dir.deleteReplaced({ index: 2000, term: 3 });
    expect(await dir.list()).toEqual([]);
    let bytes = 0;
    for await (const chunk of reader.chunks()) bytes += chunk.data.length;
    expect(bytes).toBe(5017);
  });
});

/** Whether `offset` lies in the zeros or in reserved fields between frames. */
function isPadding(file: Buffer, offset: number): boolean {
  for (let at = 128; at < file.length; ) {
    const bodyBytes = file.readUInt32LE(at) & 0xffff;
    const end = at + Math.ceil((40 + bodyBytes) / 8) * 8;
    if (offset >= at && offset < end) {
      return offset >= at + 40 + bodyBytes || (offset >= at + 20 && offset < at + 24);
    }
    at = end;
  }
  return false;
}
