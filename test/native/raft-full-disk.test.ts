/** A manager on a real disk that has no space left, and on one whose syncs fail. Needs root (a mount). */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { Scope } from '../../common/base/lifecycle.ts';
import { silentLogger as log } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { IdentityHolder } from '../../common/pki/identity.ts';
import { RpcClientPool } from '../../common/rpc/pool.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import { createCluster, type NewCluster } from '../../manager/ca/bootstrap.ts';
import { Manager } from '../../manager/manager.ts';
import type { ManagerOrigin } from '../../manager/manager-options.ts';
import type { Disk } from '../../manager/raftnode/disk.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import { aConfig, aConfigSpec } from '../support/builders.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 8 * MIB;
const SEGMENT_BYTES = 512 * 1024;

const clock = new SystemClock();
const random = new SystemRandom();
const canMount = process.getuid?.() === 0;
const RESTART: ManagerOrigin = { kind: 'restart', forceNewCluster: false, managerAddresses: [] };

let scope: Scope;
let dataDir: string;
beforeEach(async () => {
  scope = new Scope();
  const dir = await mkdtemp(join(tmpdir(), 'skep-full-'));
  dataDir = dir;
  scope.defer(() => rm(dir, { recursive: true, force: true }));
});
afterEach(() => scope.close());

function mountSmallDisk(): void {
  const options = ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', dataDir];
  expect(spawnSync('mount', options).status).toBe(0);
  scope.defer(() => {
    spawnSync('umount', ['--lazy', dataDir]);
  });
}

async function started(
  { identity }: NewCluster,
  origin: ManagerOrigin,
  { disk = new NodeDisk(), onFailure = () => {} }: { disk?: Disk; onFailure?: () => void } = {},
): Promise<Manager> {
  const credentials = new IdentityHolder(identity);
  const { nodeId, clusterId } = identity;
  const manager = new Manager({
    ...{ dataDir, nodeId, clusterId, disk, clock, random, log, onFailure },
    address: '127.0.0.1:2377', // nothing listens: a single manager calls nobody
    server: new RpcServer({ credentials, clock, logger: log, onFailure }),
    pool: new RpcClientPool({ credentials, clock }),
    credentials,
    raft: { segmentBytes: SEGMENT_BYTES, smallSegmentBytes: SEGMENT_BYTES },
    onRemoved: () => {},
  });
  scope.defer(() => manager.stop());
  await manager.start(origin);
  return manager;
}

const newCluster = (): Promise<NewCluster> => createCluster({ random, nowMs: clock.wallMs() });

async function write(manager: Manager, name: string): Promise<void> {
  const spec = aConfigSpec({ name, data: new Uint8Array(100 * 1024) });
  await manager.store.update((tx) => tx.create('config', aConfig({ spec })));
}

describe('a manager', () => {
  test.skipIf(!canMount)(
    'on a full disk refuses writes, says so, reads, and goes on when there is space',
    {
      timeout: 60_000,
    },
    async () => {
      mountSmallDisk();
      const cluster = await newCluster();
      const manager = await started(cluster, { kind: 'bootstrap', cluster });
      const filler = join(dataDir, 'filler');
      await writeFile(filler, Buffer.alloc(DISK_BYTES - 4 * MIB));
      let written = 0;
      const filling = (async () => {
        for (;;) {
          await write(manager, `config-${written}`);
          written++;
        }
      })();
      await expect(filling).rejects.toMatchObject({
        message: expect.stringContaining('no space left for the raft log'),
      });
      expect(written).toBeGreaterThan(5);
      expect(manager.trouble).toMatch(/^no space left for the raft log in .*: .* until there is$/);
      await expect(write(manager, 'one more')).rejects.toThrow('no space left for the raft log');
      expect(await manager.control.listConfigs()).toHaveLength(written);

      await unlink(filler);
      await vi.waitFor(() => expect(manager.trouble).toBeNull(), { timeout: 10_000 });
      await vi.waitFor(() => write(manager, 'after'), { timeout: 10_000 });
      await manager.stop();
      const again = await started(cluster, RESTART);
      const names = (await again.control.listConfigs()).map(({ spec }) => spec.name);
      expect(names).toContain('after');
      for (let i = 0; i < written; i++) expect(names).toContain(`config-${i}`);
    },
  );

  test('whose sync fails ends, having acknowledged nothing of it', {
    timeout: 30_000,
  }, async () => {
    const cluster = await newCluster();
    const real = new NodeDisk();
    let broken = false;
    const synced = async (sync: () => Promise<void>): Promise<void> => {
      if (broken) throw Object.assign(new Error('EIO: fdatasync'), { code: 'EIO' });
      await sync();
    };
    const disk: Disk = {
      ...methodsOf(real),
      open: async (path, mode) => {
        const file = await real.open(path, mode);
        return {
          path,
          pwrite: (data, offset) => file.pwrite(data, offset),
          read: (offset, length) => file.read(offset, length),
          truncate: (bytes) => file.truncate(bytes),
          zeroFill: (bytes) => file.zeroFill(bytes),
          close: () => file.close(),
          fdatasync: () => synced(() => file.fdatasync()),
          writeThrough: (data, offset) => synced(() => file.writeThrough(data, offset)),
        };
      },
    };
    const onFailure = vi.fn(); // skepd ends with status 1 here
    const manager = await started(cluster, { kind: 'bootstrap', cluster }, { disk, onFailure });
    await write(manager, 'before');
    broken = true;
    await expect(write(manager, 'lost')).rejects.toThrow();
    expect(onFailure).toHaveBeenCalledWith(expect.objectContaining({ code: 'EIO' }));
    await manager.stop();
    const again = await started(cluster, RESTART);
    expect((await again.control.listConfigs()).map(({ spec }) => spec.name)).toContain('before');
  });
});

function methodsOf(disk: Disk): Omit<Disk, 'open'> {
  return {
    rename: (from, to) => disk.rename(from, to),
    unlink: (path) => disk.unlink(path),
    removeTree: (path) => disk.removeTree(path),
    readdir: (path) => disk.readdir(path),
    mkdir: (path) => disk.mkdir(path),
    stat: (path) => disk.stat(path),
    fsyncDir: (path) => disk.fsyncDir(path),
    lock: (dir) => disk.lock(dir),
  };
}
