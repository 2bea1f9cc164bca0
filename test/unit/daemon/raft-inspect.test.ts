import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { SystemRandom } from '../../../common/base/random.ts';
import { formatUnlockKey } from '../../../common/pki/unlock-key.ts';
import { type InspectRequest, inspectRaftDirectory } from '../../../daemon/raft-inspect.ts';
import { NodeDisk } from '../../../manager/raftnode/node-disk.ts';
import type { RaftNode } from '../../../manager/raftnode/raft-node.ts';
import {
  directoryImage,
  type RaftDirectory,
  runningRaftDirectory,
  stoppedRaftDirectory,
} from '../../support/raft-directory.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const newFolder = temporaryFolders();
const nodes: RaftNode[] = [];
afterEach(async () => {
  for (const node of nodes.splice(0)) await node.stop();
});

function inspect(request: Partial<InspectRequest> & { dir: string }) {
  return inspectRaftDirectory({ unlockKey: null, ...request }, new NodeDisk(), new SystemRandom());
}

async function filesOf(dir: string, ending: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true });
  return names
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => join(dir, name));
}

async function flip(path: string, offset: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[offset] = bytes[offset]! ^ 1;
  await writeFile(path, bytes);
}

async function stopped(): Promise<RaftDirectory & { dataDir: string }> {
  const dataDir = await newFolder();
  return { dataDir, ...(await stoppedRaftDirectory(dataDir)) };
}

describe('skepd raft inspect', () => {
  test('prints segments, terms, hard state and snapshots of a healthy directory', async () => {
    const { dir, raftId } = await stopped();
    const { text, isHealthy } = await inspect({ dir });
    expect(isHealthy).toBe(true);
    const id = raftId.toString(16);
    expect(text).toContain(`member ${id} of node node-a\nkey: not locked\nnot in use\n`);
    const segments = await filesOf(dir, '.wal');
    expect(segments.length).toBeGreaterThanOrEqual(4);
    for (const [i, path] of segments.entries()) {
      const name = path.slice(-27);
      // Those before the last have no more room than they use.
      const sizes = i === segments.length - 1 ? '65536 +\\d+' : '(\\d+) +\\1';
      expect(text).toMatch(
        new RegExp(`^${name} +\\d+ +\\d+ +${sizes} +\\d+ +current [0-9a-f]{16}$`, 'm'),
      );
    }
    expect(text).toMatch(/^TERM +FIRST INDEX +LAST INDEX\n\d +\d+ +\d+$/m);
    expect(text).toMatch(new RegExp(`^hard state: term 2, vote ${id}, commit 1\\d\\d$`, 'm'));
    expect(text).toMatch(
      /\.snap: index \d+, term 2, \d+ bytes, key current, 1 members\n {2}[0-9a-f]+ {2}voter {2}node node-a {2}10\.0\.0\.1:2377$/m,
    );
    expect(text).toMatch(/^damage: none$/m);
  });

  test.each(['', 'raft', 'raft/wal', 'raft/snap'])('finds its way from %j', async (below) => {
    const { dataDir, dir } = await stopped();
    const { text } = await inspect({ dir: join(dataDir, below) });
    expect(text).toContain(`raft directory ${dir}\n`);
  });

  test('changes nothing', async () => {
    const { dir } = await stopped();
    await flip((await filesOf(dir, '.wal')).at(-1)!, 5000);
    await writeFile(join(dir, 'wal', 'spare.tmp'), 'of an unfinished segment');
    const before = await directoryImage(dir);
    await inspect({ dir });
    expect(await directoryImage(dir)).toEqual(before);
  });

  test('looks at a directory in use, whose node goes on', async () => {
    const dataDir = await newFolder();
    const { node, dir } = await runningRaftDirectory(dataDir);
    nodes.push(node);
    const [{ text, isHealthy }] = await Promise.all([
      inspect({ dir: dataDir }),
      node.propose(Buffer.from('meanwhile')),
    ]);
    expect(text).toContain('in use by a running process');
    expect(isHealthy).toBe(true);
    await node.propose(Buffer.from('after'));
    expect((await inspect({ dir })).isHealthy).toBe(true);
  });

  test('shows an unfinished last write, which is no damage', async () => {
    const { dir } = await stopped();
    const last = (await filesOf(dir, '.wal')).at(-1)!;
    const used = Number(
      /(\d+) +\d+ +current [0-9a-f]+\n\nTERM/.exec((await inspect({ dir })).text)![1],
    );
    const bytes = await readFile(last);
    bytes.write('half a flush', used);
    await writeFile(last, bytes);
    const { text, isHealthy } = await inspect({ dir });
    expect(isHealthy).toBe(true);
    expect(text).toMatch(
      new RegExp(`^torn tail: .*\\.wal, offset ${used} to ${used + 12}: no flush marker$`, 'm'),
    );
  });

  const DAMAGE: [string, (dir: string) => Promise<unknown>, RegExp][] = [
    [
      'a flipped byte in the middle of the log',
      async (dir) => flip((await filesOf(dir, '.wal'))[1]!, 9000),
      /^damage: .*\.wal at offset \d+: checksum mismatch/m,
    ],
    [
      'a segment that was cut',
      async (dir) => truncate((await filesOf(dir, '.wal')).at(-1)!, 5000),
      /^damage: .*\.wal at offset 5000: the file ends here/m,
    ],
    [
      'a segment that was deleted',
      async (dir) => rm((await filesOf(dir, '.wal')).at(-1)!),
      /^damage: .*\/wal: segment \d+ is missing/m,
    ],
    [
      'a snapshot that was cut',
      async (dir) => truncate((await filesOf(dir, '.snap'))[0]!, 300),
      /\.snap: index \d+, term \d, not readable\n\ndamage: .*\.snap is damaged at offset \d+/m,
    ],
  ];
  test.each(DAMAGE)('names file and offset of %s', async (_, damage, words) => {
    const { dir } = await stopped();
    await damage(dir);
    const { text, isHealthy } = await inspect({ dir });
    expect(isHealthy).toBe(false);
    expect(text).toMatch(words);
    expect(text).toMatch(/^00000001-/m); // what lies before the damage is shown
  });

  test('needs the unlock key of a locked cluster', async () => {
    const dataDir = await newFolder();
    const lock = { key: new Uint8Array(32).fill(3), version: 5 };
    const { dir } = await stoppedRaftDirectory(dataDir, { lock });
    await expect(inspect({ dir })).rejects.toThrow(
      'give the unlock key of the cluster with --unlock-key',
    );
    const wrong = formatUnlockKey(new Uint8Array(32).fill(4));
    await expect(inspect({ dir, unlockKey: wrong })).rejects.toThrow('invalid key provided');
    await expect(inspect({ dir, unlockKey: 'open' })).rejects.toThrow('SWMKEY-1-');
    const { text } = await inspect({ dir, unlockKey: formatUnlockKey(lock.key) });
    expect(text).toContain('key: sealed under the unlock key');
    expect(text).toMatch(/^damage: none$/m);
  });

  test('says what it looks for where there is nothing', async () => {
    const folder = await newFolder();
    await expect(inspect({ dir: folder })).rejects.toThrow(
      /no manager\.json there, in raft\/ below/,
    );
    const { dir } = await stopped();
    await rm(join(dir, 'manager.json'));
    await expect(inspect({ dir })).rejects.toThrow('manager.json is missing, and with it the key');
  });
});
