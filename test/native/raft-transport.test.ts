/** Raft nodes over loopback, by links and gRPC with mutual TLS, and real files. Needs no root. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { Scope } from '../../common/base/lifecycle.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { type Identity, IdentityHolder } from '../../common/pki/identity.ts';
import { RpcClientPool } from '../../common/rpc/pool.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import type { RaftNodeOptions } from '../../manager/raftnode/node-options.ts';
import { RaftNode } from '../../manager/raftnode/raft-node.ts';
import { RpcTransport } from '../../manager/raftnode/rpc-transport.ts';
import { TestAuthority } from '../support/identities.ts';
import { RecordingStateMachine } from '../support/sim-raft.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const FAST = { tickMs: 40 };

let authority: TestAuthority;
const identities: Identity[] = [];
let scope: Scope;
let root: string;

beforeAll(async () => {
  authority = await TestAuthority.create(clock.wallMs());
  for (let i = 0; i < 4; i++) identities.push(await authority.identity('manager', `manager-${i}`));
});

beforeEach(async () => {
  scope = new Scope();
  root = await mkdtemp(join(tmpdir(), 'skep-raft-'));
  scope.defer(() => rm(root, { recursive: true, force: true }));
});

afterEach(() => scope.close());

/** A process with its server and connections, and the raft node in it. */
class Box {
  readonly stateMachine = new RecordingStateMachine();
  readonly failures: unknown[] = [];
  removals = 0;
  readonly options: RaftNodeOptions;
  readonly #server: RpcServer;
  readonly #pool: RpcClientPool;
  node!: RaftNode;

  private constructor(number: number, server: RpcServer, overrides: Partial<RaftNodeOptions>) {
    this.#server = server;
    const credentials = new IdentityHolder(identities[number]!);
    this.#pool = new RpcClientPool({ credentials, clock });
    this.options = {
      dir: join(root, `node-${number}`),
      raftId: 1000 + number,
      nodeId: `manager-${number}`,
      address: server.address,
      clusterId: authority.clusterId,
      dek: new Uint8Array(32).fill(number + 1),
      stateMachine: this.stateMachine,
      transport: new RpcTransport({ server, pool: this.#pool, clock, random, log: silentLogger }),
      disk: new NodeDisk(),
      clock,
      random,
      log: silentLogger,
      onFailure: (err) => this.failures.push(err),
      onRemoved: () => this.removals++,
      ...FAST,
      ...overrides,
    };
    scope.defer(() => this.stop());
  }

  static async create(number: number, overrides: Partial<RaftNodeOptions> = {}): Promise<Box> {
    const credentials = new IdentityHolder(identities[number]!);
    const server = new RpcServer({ credentials, clock, logger: silentLogger, onFailure: () => {} });
    await server.listen('127.0.0.1', 0);
    return new Box(number, server, overrides);
  }

  async run(starting: Promise<RaftNode>): Promise<this> {
    this.node = await starting;
    await this.node.start();
    return this;
  }

  /** The network of the process is gone; the node does not know. */
  async disconnect(): Promise<void> {
    await this.#server.stop();
    this.#pool.close();
  }

  async stop(): Promise<void> {
    await this.node?.stop();
    await this.disconnect();
  }
}

async function until(test: () => boolean, what: string, limitMs = 15_000): Promise<void> {
  const deadlineMs = clock.monotonicMs() + limitMs;
  while (!test()) {
    if (clock.monotonicMs() > deadlineMs) throw new Error(`waited ${limitMs} ms for: ${what}`);
    await clock.sleep(5);
  }
}

async function cluster(size: number, overrides: Partial<RaftNodeOptions> = {}): Promise<Box[]> {
  const first = await Box.create(0, overrides);
  await first.run(RaftNode.bootstrap(first.options));
  await until(() => first.node.status().role === 'leader', 'first leader');
  await first.node.propose(Buffer.from('founded'));
  const boxes = [first];
  for (let number = 1; number < size; number++)
    boxes.push(await addedMember(number, first, overrides));
  return boxes;
}

async function addedMember(
  number: number,
  leader: Box,
  overrides: Partial<RaftNodeOptions> = {},
): Promise<Box> {
  const box = await Box.create(number, overrides);
  const { raftId, nodeId, address } = box.options;
  await box.run(RaftNode.join(box.options, leader.node.members()));
  await leader.node.addMember({ raftId, nodeId, address });
  await until(
    () => leader.node.members().some((m) => m.raftId === raftId && !m.learner),
    `vote of ${nodeId}`,
  );
  return box;
}

function leaderOf(boxes: readonly Box[]): Box | undefined {
  return boxes.find(({ node }) => node.status().role === 'leader');
}

describe('raft over gRPC', () => {
  test('three managers replicate and one takes over when the leader is cut off', async () => {
    const boxes = await cluster(3);
    const [a, b, c] = boxes as [Box, Box, Box];
    for (let i = 0; i < 50; i++) await a.node.propose(Buffer.from(`entry ${i}`));
    expect(await b.node.readBarrier()).toBeGreaterThanOrEqual(50);
    expect(b.stateMachine.texts.at(-1)).toBe('entry 49');
    await a.disconnect();
    await until(() => leaderOf([b, c]) !== undefined, 'another leader');
    await leaderOf([b, c])!.node.propose(Buffer.from('after'));
    await until(() => [b, c].every((x) => x.stateMachine.texts.at(-1) === 'after'), 'agreement');
    for (const box of boxes) expect(box.failures).toEqual([]);
  }, 40_000);

  test('a stopped member restarts from its files and catches up', async () => {
    const [a, b] = (await cluster(3)) as [Box, Box, Box];
    await b.stop();
    for (let i = 0; i < 20; i++) await a.node.propose(Buffer.from(`entry ${i}`));
    const again = await Box.create(1);
    await again.run(RaftNode.restart(again.options));
    await until(() => again.stateMachine.texts.at(-1) === 'entry 19', 'catching up');
    await until(
      () => a.node.members().some(({ address }) => address === again.options.address),
      'new address known',
    );
  }, 40_000);

  test('a late member gets a large state as a snapshot', async () => {
    const [a] = (await cluster(1, { snapshotIntervalBytes: 4 * 1024 * 1024, keepEntries: 5 })) as [
      Box,
    ];
    const payload = Buffer.alloc(200_000, 'x');
    for (let i = 0; i < 60; i++) await a.node.propose(payload);
    const late = await addedMember(1, a);
    await until(() => late.stateMachine.applied.length === 61, 'state');
    expect(late.stateMachine.restored.length).toBeGreaterThan(0);
    expect(late.stateMachine.texts).toEqual(a.stateMachine.texts);
    expect(late.failures).toEqual([]);
  }, 40_000);

  test('a removed member is told, and leaves nothing running', async () => {
    const [a, , c] = (await cluster(3)) as [Box, Box, Box];
    await c.disconnect(); // so that it cannot see its own removal
    await a.node.removeMember(c.options.raftId);
    await c.node.stop();
    const again = await Box.create(2);
    await again.run(RaftNode.restart(again.options));
    await until(() => again.removals === 1, 'removal');
    expect(again.node.removed).toBe(true);
  }, 40_000);

  test('a directory serves one process at a time', async () => {
    const [a] = (await cluster(1)) as [Box];
    const second = await Box.create(0);
    await expect(RaftNode.restart(second.options)).rejects.toMatchObject({ code: 'conflict' });
    await a.stop();
    await second.run(RaftNode.restart(second.options));
    await until(() => second.stateMachine.texts[0] === 'founded', 'state');
    const locks = (await readdir(second.options.dir)).filter((name) => name.startsWith('lock'));
    expect(locks.length).toBe(1);
  }, 40_000);
});
