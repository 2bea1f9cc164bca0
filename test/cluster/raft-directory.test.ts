// A manager whose raft directory is damaged, foreign or in use says so and changes nothing in it.
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SystemRandom } from '../../common/base/random.ts';
import { loadManagerFile, NO_LOCK, saveManagerFile } from '../../manager/manager-files.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import {
  clusterTestsCanRun,
  eventually,
  REPOSITORY,
  run,
  succeeded,
  type TestCluster,
} from '../support/cluster.ts';
import { directoryImage, stoppedRaftDirectory } from '../support/raft-directory.ts';
import { useCluster } from '../support/use-cluster.ts';

const HOST = 'manager-3';
const SKEPD = join(REPOSITORY, 'bin/skepd');
const disk = new NodeDisk();
const random = new SystemRandom();

function dataDirOf(cluster: TestCluster, host: string): string {
  return `/var/lib/skep-dev/${cluster.name}/${host}/data`;
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

async function swarmState(cluster: TestCluster): Promise<{ state: string; error: string }> {
  const format = '{{.Swarm.LocalNodeState}}|{{.Swarm.Error}}';
  const text = await cluster.skep(['info', '--format', format], { host: HOST });
  const [state = '', error = ''] = text.trim().split('|');
  return { state, error };
}

describe.skipIf(!clusterTestsCanRun)("a manager's raft directory", () => {
  let backup: string;
  beforeAll(async () => {
    backup = await mkdtemp(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rm(backup, { recursive: true, force: true }));
  const shared = useCluster('rdir', { managers: 3, workers: 0 });

  /** Ends the daemon, damages its directory, starts it; gives the directory back afterwards. */
  async function startedOn(
    damage: (raftDir: string) => Promise<unknown>,
    check: (raftDir: string) => Promise<void>,
  ): Promise<void> {
    const cluster = shared.current;
    const raft = join(dataDirOf(cluster, HOST), 'raft');
    const copy = join(backup, 'raft');
    const isHere = (path: string): boolean => !/\/lock\.\d+$/.test(path);
    await cluster.dev('kill', HOST);
    await cp(raft, copy, { recursive: true, filter: isHere });
    try {
      await damage(raft);
      const before = await directoryImage(raft);
      await cluster.dev('start', HOST);
      await check(raft);
      expect(await directoryImage(raft)).toEqual(before);
      await cluster.dev('kill', HOST);
    } finally {
      await rm(raft, { recursive: true, force: true });
      await cp(copy, raft, { recursive: true });
      await rm(copy, { recursive: true });
    }
    await cluster.dev('start', HOST);
    expect(await swarmState(cluster)).toEqual({ state: 'active', error: '' });
  }

  /**
   * Writes that the manager under test has in its newest segment, each in a flush of its own: damage to a last flush
   * is taken for an interrupted write.
   */
  async function severalFlushes(cluster: TestCluster): Promise<void> {
    for (const round of ['1', '2', '3']) {
      await cluster.skep(['node', 'update', '--label-add', `flush=${round}`, 'manager-1']);
      await cluster.skep(['node', 'ls'], { host: HOST });
    }
  }

  const DAMAGE: [string, (raftDir: string) => Promise<unknown>, RegExp][] = [
    [
      'a flipped byte in the middle of the log',
      async (dir) => flip((await filesOf(dir, '.wal')).at(-1)!, 4096 + 60),
      /\.wal is damaged at offset 4096: checksum mismatch, and a later flush at \d+ is intact/,
    ],
    [
      'a deleted segment',
      async (dir) => rm((await filesOf(dir, '.wal')).at(-1)!),
      /raft\/wal: segment \d+ is missing, the last one there is \d+/,
    ],
    [
      'no log at all',
      (dir) => rm(join(dir, 'wal'), { recursive: true }),
      /raft: the log is missing/,
    ],
    [
      'a segment that was cut',
      async (dir) => truncate((await filesOf(dir, '.wal')).at(-1)!, 100_000),
      /\.wal is damaged at offset 100000: the file ends here, it had \d+ bytes/,
    ],
    [
      'a truncated snapshot',
      async (dir) => truncate((await filesOf(dir, '.snap'))[0]!, 700),
      /\.snap is damaged at offset \d+/,
    ],
    [
      'a damaged manager.json',
      (dir) => flip(join(dir, 'manager.json'), 40),
      /manager\.json is damaged/,
    ],
    [
      'no manager.json',
      (dir) => rm(join(dir, 'manager.json')),
      /manager\.json: the file is missing/,
    ],
    [
      'the wrong key',
      async (dir) => {
        const path = join(dir, 'manager.json');
        const keys = (await loadManagerFile(disk, path))!.open(null);
        await saveManagerFile(disk, path, { ...keys, dek: random.bytes(32) }, NO_LOCK, random);
      },
      /encrypted with another key than those in manager\.json/,
    ],
  ];
  test.each(DAMAGE)('with %s is refused', { timeout: 60_000 }, async (_, damage, words) => {
    await startedOn(damage, async () => {
      const { state, error } = await swarmState(shared.current);
      expect(state).toBe('error');
      expect(error).toMatch(words);
      expect(error).toMatch(/nothing was changed; .*(restore|put)/);
      const refused = await shared.current.try(['node', 'ls'], { host: HOST });
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(words);
      const again = await shared.current.try(['swarm', 'init'], { host: HOST });
      expect(again.stderr).toContain('This node is already part of a swarm');
      const leaving = await shared.current.try(['swarm', 'leave'], { host: HOST });
      expect(leaving.code).toBe(1);
      expect(leaving.stderr).toMatch(words);
    });
  });

  test('of another node is refused', { timeout: 60_000 }, async () => {
    const other = join(dataDirOf(shared.current, 'manager-2'), 'raft');
    const replace = async (dir: string): Promise<void> => {
      await rm(dir, { recursive: true });
      await cp(other, dir, { recursive: true, filter: (path) => !/\/lock\.\d+$/.test(path) });
    };
    await startedOn(replace, async () => {
      const { state, error } = await swarmState(shared.current);
      expect(state).toBe('error');
      expect(error).toMatch(/belongs to node \S+, this is \S+: .* put the raft directory/);
    });
  });

  test('of another cluster is refused', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const format = '{{.Swarm.NodeID}}';
    const nodeId = (await cluster.skep(['info', '--format', format], { host: HOST })).trim();
    const replace = async (dir: string): Promise<void> => {
      await rm(dir, { recursive: true });
      await stoppedRaftDirectory(join(dir, '..'), { nodeId });
    };
    await startedOn(replace, async () => {
      const { state, error } = await swarmState(cluster);
      expect(state).toBe('error');
      expect(error).toMatch(/\.wal: it belongs to another cluster: .* put the raft directory/);
    });
  });

  test('is used by one daemon at a time', async () => {
    const cluster = shared.current;
    const dataDir = dataDirOf(cluster, HOST);
    const flags = ['--data-dir', dataDir, '--host', `unix://${dataDir}/second.sock`];
    const second = await run([SKEPD, ...flags], { limitMs: 20_000 });
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(
      `lock ${dataDir}: another running process uses this directory: stop it first`,
    );
    expect(await swarmState(cluster)).toEqual({ state: 'active', error: '' });
  });

  test('is shown by raft inspect while the daemon runs', async () => {
    const dir = join(dataDirOf(shared.current, HOST), 'raft');
    const healthy = succeeded(await run([SKEPD, 'raft', 'inspect', dir]));
    expect(healthy.stdout).toContain('in use by a running process');
    expect(healthy.stdout).toMatch(/^damage: none$/m);
    const copy = join(backup, 'copy');
    await cp(dir, copy, { recursive: true, filter: (path) => !/\/lock\.\d+$/.test(path) });
    await flip((await filesOf(copy, '.wal'))[0]!, 4096 + 60);
    const damaged = await run([SKEPD, 'raft', 'inspect', copy]);
    expect(damaged.code).toBe(1);
    expect(damaged.stdout).toMatch(/^damage: .*\.wal at offset 4096: checksum mismatch/m);
  });

  test('that is lost is got over as the message says', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const raft = join(dataDirOf(cluster, HOST), 'raft');
    await severalFlushes(cluster);
    await cluster.dev('kill', HOST);
    await flip((await filesOf(raft, '.wal')).at(-1)!, 4096 + 60);
    await cluster.dev('start', HOST);
    const { error } = await swarmState(cluster);
    expect(error).toContain("run 'skep node rm' for this node on another manager");
    const format = '{{.Swarm.NodeID}}';
    const nodeId = (await cluster.skep(['info', '--format', format], { host: HOST })).trim();
    await cluster.skep(['node', 'demote', nodeId]);
    await cluster.skep(['node', 'rm', '--force', nodeId]);
    await cluster.skep(['swarm', 'leave', '--force'], { host: HOST });
    expect((await swarmState(cluster)).state).toBe('inactive');
    const token = (await cluster.skep(['swarm', 'join-token', '-q', 'manager'])).trim();
    const remote = `${cluster.host('manager-1').address}:2377`;
    await cluster.skep(['swarm', 'join', '--token', token, remote], { host: HOST });
    await eventually(
      'three managers, all reachable',
      async () => {
        const text = await cluster.skep(['node', 'ls', '--format', '{{.ManagerStatus}}']);
        expect(text.trim().split('\n').sort()).toEqual(['Leader', 'Reachable', 'Reachable']);
      },
      { withinMs: 20_000 },
    );
  });
});
