// A change of the data key leaves nothing under the old one, and may be cut short anywhere.
import { describe, expect, test } from 'vitest';
import { EMPTY_CONF_STATE, message } from '../../../manager/raft/types.ts';
import { Keyring } from '../../../manager/raftnode/crypt.ts';
import { writeFileDurably } from '../../../manager/raftnode/disk.ts';
import { encodeSnapshotState } from '../../../manager/raftnode/durable-state.ts';
import type { RaftKeys } from '../../../manager/raftnode/key-rotation.ts';
import { Membership } from '../../../manager/raftnode/membership.ts';
import type { RaftNodeOptions } from '../../../manager/raftnode/node-options.ts';
import type { SnapshotOffer } from '../../../manager/raftnode/peer-transport.ts';
import { decodeSnapshotHeader } from '../../../manager/raftnode/snapshot-format.ts';
import { decodeSegmentHeader } from '../../../manager/raftnode/wal-format.ts';
import type { SimDisk } from '../../support/sim-disk.ts';
import { type SimMember, SimRaft } from '../../support/sim-raft.ts';

const KEYS_PATH = '/raft/keys';
const FIRST: RaftKeys = { dek: new Uint8Array(32).fill(1), olderDeks: [] };

/** What the disk says of the keys: those that a restart would be given. */
function keptKeys(disk: SimDisk | null): RaftKeys {
  if (!disk?.paths().includes(KEYS_PATH)) return FIRST;
  const texts = JSON.parse(disk.contents(KEYS_PATH).toString()) as string[];
  const [dek, ...olderDeks] = texts.map((text) => Buffer.from(text, 'hex'));
  return { dek: dek!, olderDeks };
}

/** A simulator whose node 1 keeps its keys on its own disk. */
class RotatingNode {
  readonly sim: SimRaft;
  member: SimMember | null = null;
  saves = 0;
  failSave: Error | null = null;

  constructor(seed: number, overrides: Partial<RaftNodeOptions> = {}) {
    const disk = (): SimDisk | null => this.member?.disk ?? null;
    this.sim = new SimRaft(seed, {
      keepEntries: 500,
      ...overrides,
      get dek() {
        return keptKeys(disk()).dek;
      },
      get olderDeks() {
        return keptKeys(disk()).olderDeks;
      },
      saveKeys: async ({ dek, olderDeks }) => {
        this.saves++;
        if (this.failSave !== null) throw this.failSave;
        const texts = [dek, ...olderDeks].map((key) => Buffer.from(key).toString('hex'));
        await writeFileDurably(disk()!.mount(), KEYS_PATH, Buffer.from(JSON.stringify(texts)));
      },
    });
  }

  async bootstrap(): Promise<SimMember> {
    this.member = await this.sim.bootstrap(1);
    return this.member;
  }

  async rotated(): Promise<void> {
    const { node } = this.member!;
    await this.sim.until(() => !node!.status().keyRotation, 'end of the rotation');
  }
}

/** Paths of the files that `key` does not open. */
function foreignFiles(disk: SimDisk, key: Uint8Array): string[] {
  const keyring = new Keyring(key);
  return disk.paths().filter((path) => {
    if (!path.endsWith('.wal') && !path.endsWith('.snap')) return false;
    const decode = path.endsWith('.wal') ? decodeSegmentHeader : decodeSnapshotHeader;
    const header = decode(disk.contents(path))!;
    return !keyring.isCurrent(header.salt, header.keyCheck);
  });
}

function isUnfinished(path: string): boolean {
  return path.includes('/snap/') && path.endsWith('.tmp');
}

function texts(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => `entry ${from + i}`);
}

describe('rotation of the raft key', () => {
  test('leaves nothing under the old key and loses nothing', async () => {
    const node = new RotatingNode(1);
    const a = await node.bootstrap();
    for (const text of texts(0, 30)) await node.sim.propose(a, text);
    await node.sim.run(a.node!.rotateKey());
    expect(a.node!.status().keyRotation).toBe(true);
    expect(keptKeys(a.disk).olderDeks).toHaveLength(1);
    for (const text of texts(30, 40)) await node.sim.propose(a, text);
    await node.rotated();
    const { dek, olderDeks } = keptKeys(a.disk);
    expect(olderDeks).toEqual([]);
    expect(Buffer.from(dek).equals(FIRST.dek)).toBe(false);
    expect(foreignFiles(a.disk, dek)).toEqual([]);
    node.sim.crash(1);
    await node.sim.restart(1);
    await node.sim.until(() => a.stateMachine.texts.length === 40, 'replay');
    expect(a.stateMachine.texts).toEqual(texts(0, 40));
  });

  test('writes new entries under the new key at once', async () => {
    const node = new RotatingNode(2, { snapshotIntervalEntries: 10_000 });
    const a = await node.bootstrap();
    await node.sim.propose(a, 'before');
    await node.sim.run(a.node!.rotateKey());
    const written = node.sim.propose(a, 'after');
    await written;
    const { dek } = keptKeys(a.disk);
    const segments = a.disk.paths().filter((path) => path.endsWith('.wal'));
    expect(foreignFiles(a.disk, dek)).not.toContain(segments.at(-1));
  });

  test('replaces a snapshot of the same index', async () => {
    const node = new RotatingNode(3);
    const a = await node.bootstrap();
    await node.sim.propose(a, 'one');
    await node.sim.run(a.node!.rotateKey());
    await node.rotated();
    const snapshots = (): string[] => a.disk.paths().filter((path) => path.endsWith('.snap'));
    const [first] = snapshots();
    await node.sim.run(a.node!.rotateKey()); // nothing was written since
    await node.rotated();
    expect(snapshots()).toEqual([first]);
    expect(foreignFiles(a.disk, keptKeys(a.disk).dek)).toEqual([]);
  });

  test('keeps the entries for followers that are a little late', async () => {
    const node = new RotatingNode(4);
    const a = await node.bootstrap();
    for (const text of texts(0, 30)) await node.sim.propose(a, text);
    await node.sim.run(a.node!.rotateKey());
    await node.rotated();
    const b = await node.sim.join(2, a);
    expect(b.stateMachine.texts).toEqual(texts(0, 30));
  });

  test('gives up a transfer under the old key that nobody goes on with', async () => {
    const node = new RotatingNode(13);
    const a = await node.bootstrap();
    await node.sim.propose(a, 'before');
    const peer = { raftId: 2, address: '10.0.0.2:2377' };
    const { handler } = node.sim.network.reach(2, { raftId: 1, address: a.address })!;
    const metadata = { index: 1_000, term: 9, confState: EMPTY_CONF_STATE };
    const offer: SnapshotOffer = {
      message: message({
        ...{ type: 'snapshot', from: 2, to: 1, term: 9 },
        snapshot: { data: new Uint8Array(0), metadata },
      }),
      fileId: 'half',
      membership: encodeSnapshotState(EMPTY_CONF_STATE, Membership.EMPTY),
      dataBytes: 100,
    };
    const sink = await node.sim.run(handler.beginSnapshot(peer, offer));
    await node.sim.run(sink.write(0, new Uint8Array(50)));
    let taken = 0;
    a.disk.onOperation = (operation, path) => {
      if (operation === 'create' && isUnfinished(path)) taken++;
    };
    await node.sim.run(a.node!.rotateKey());
    await node.rotated();
    expect(taken).toBe(1);
    expect(a.disk.paths().filter(isUnfinished)).toEqual([]);
    await expect(sink.write(50, new Uint8Array(50))).rejects.toMatchObject({ code: 'conflict' });
  });

  test('several at once end with the last key', async () => {
    const node = new RotatingNode(5);
    const a = await node.bootstrap();
    await node.sim.propose(a, 'one');
    await node.sim.run(Promise.all([1, 2, 3].map(() => a.node!.rotateKey())));
    expect(keptKeys(a.disk).olderDeks.length).toBeGreaterThanOrEqual(1);
    await node.rotated();
    expect(keptKeys(a.disk).olderDeks).toEqual([]);
    expect(foreignFiles(a.disk, keptKeys(a.disk).dek)).toEqual([]);
  });

  test('that cannot be saved changes nothing', async () => {
    const node = new RotatingNode(6);
    const a = await node.bootstrap();
    await node.sim.propose(a, 'one');
    node.failSave = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    await expect(node.sim.run(a.node!.rotateKey())).rejects.toThrow('ENOSPC');
    await node.sim.propose(a, 'two');
    expect(a.node!.status().keyRotation).toBe(false);
    expect(foreignFiles(a.disk, FIRST.dek)).toEqual([]);
    expect(a.failures).toEqual([]);
  });

  test('whose end cannot be saved is tried again', async () => {
    const node = new RotatingNode(7);
    const a = await node.bootstrap();
    await node.sim.propose(a, 'one');
    await node.sim.run(a.node!.rotateKey());
    node.failSave = new Error('EIO');
    await node.sim.until(() => node.saves === 2, 'first attempt');
    node.failSave = null;
    await node.rotated();
    expect(keptKeys(a.disk).olderDeks).toEqual([]);
    expect(a.failures).toEqual([]);
  });

  test('is refused where nobody keeps the keys', async () => {
    const sim = new SimRaft(8);
    const a = await sim.bootstrap(1);
    await expect(sim.run(a.node!.rotateKey())).rejects.toThrow('nobody keeps the keys');
  });

  test.each(['crash', 'kill'] as const)(
    'ends well when a %s comes at any of its disk operations',
    { timeout: 60_000 },
    async (how) => {
      let points = 0;
      // A power loss is the harder test of the two; the other need not see each operation.
      for (let point = 0; ; point += how === 'crash' ? 1 : 4) {
        const node = new RotatingNode(1000 + point, { snapshotIntervalEntries: 8 });
        node.sim.diskLatencyMs = 3;
        const a = await node.bootstrap();
        await node.sim.elected();
        await node.sim.propose(a, 'first');
        const acknowledged: string[] = ['first'];
        let left = point;
        let died = false;
        a.disk.onOperation = () => {
          if (left-- !== 0) return;
          died = true;
          node.sim.crash(1, how);
        };
        void a.node!.rotateKey().catch(() => {});
        for (let i = 0; i < 60 && !died; i++) {
          const text = `entry ${i}`;
          void a.node!.propose(Buffer.from(text)).then(
            () => void (died || acknowledged.push(text)),
            () => {},
          );
          await node.sim.advance(5);
        }
        const isOver = (): boolean => died || !a.node!.status().keyRotation;
        await node.sim.until(isOver, `end of the rotation or of the process at point ${point}`);
        if (!died) break;
        a.disk.onOperation = null;
        points++;
        await node.sim.restart(1);
        const isThere = (text: string): boolean => a.stateMachine.texts.includes(text);
        await node.sim.until(() => acknowledged.every(isThere), `point ${point}`);
        await node.rotated();
        expect(foreignFiles(a.disk, keptKeys(a.disk).dek), `point ${point}`).toEqual([]);
        expect(a.failures).toEqual([]);
      }
      expect(points).toBeGreaterThan(40);
    },
  );
});
