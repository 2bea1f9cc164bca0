/**
 * One member of the group whose throughput is measured: the real raft node on the real disk, with
 * mutual TLS and encryption, in a process of its own. Proposes by itself or for clients.
 */
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { type Identity, IdentityHolder } from '../../common/pki/identity.ts';
import { RpcClientPool } from '../../common/rpc/pool.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import type { MemberRecord } from '../../manager/raftnode/membership.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import type { RaftNodeOptions, RaftNodeStatus } from '../../manager/raftnode/node-options.ts';
import { RaftNode } from '../../manager/raftnode/raft-node.ts';
import { RpcTransport } from '../../manager/raftnode/rpc-transport.ts';
import { MemoryStore } from '../../manager/store/store.ts';
import { serve } from '../support/helper-process.ts';
import { type Load, type LoadResult, runLoad } from '../support/load.ts';
import { type LongestTurns, TurnWatch } from '../support/turn-watch.ts';
import { benchTask, benchTaskId } from './bench-task.ts';
import { encodePut, KeyValueMachine, PutSource } from './key-value-machine.ts';
import { proposeMethod } from './propose-method.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const log = silentLogger;

const UPDATE_PAUSE_MS = 5;

function onFailure(err: unknown): void {
  process.stderr.write(`a raft node failed: ${String(err)}\n`);
  process.exit(1);
}

/** What the members agree on: keys and values as etcd, or the store of a manager. */
export type MachineKind = 'key-value' | 'store';

export interface StartMember {
  readonly dir: string;
  readonly raftId: number;
  readonly dek: Uint8Array;
  readonly identity: Identity;
  readonly machine: MachineKind;
  /** Founds a group, joins that of `members`, or comes back with what is in `dir`. */
  readonly how: 'found' | 'restart' | { readonly join: readonly MemberRecord[] };
}

const store = new MemoryStore({ proposer: null, clock, random });
const turns = new TurnWatch();
let node: RaftNode | null = null;
let background: { stopped: boolean; readonly done: Promise<unknown> } | null = null;

function running(): RaftNode {
  if (node === null) throw new Error('the member is not started');
  return node;
}

async function open(options: RaftNodeOptions, how: StartMember['how']): Promise<RaftNode> {
  if (how === 'found') return RaftNode.bootstrap(options);
  if (how === 'restart') return RaftNode.restart(options);
  return RaftNode.join(options, how.join);
}

/** Changes the status of one task after the other until it is stopped. */
async function updateTasks(load: { readonly stopped: boolean }): Promise<void> {
  for (let at = 0; !load.stopped; at++) {
    await store.update((tx) => {
      const task = tx.require('task', benchTaskId((at * 7919) % tx.count('task')));
      tx.update('task', { ...task, status: { ...task.status, message: `update ${at}` } });
    });
    await clock.sleep(UPDATE_PAUSE_MS);
  }
}

const operations = {
  /** Resolves with the member's record and how long opening and starting took. */
  async start(argument: StartMember): Promise<MemberRecord & { readonly elapsedMs: number }> {
    const { dir, raftId, dek, identity, machine, how } = argument;
    const credentials = new IdentityHolder(identity);
    const server = new RpcServer({ credentials, clock, logger: log, onFailure });
    await server.listen('127.0.0.1', 0);
    const pool = new RpcClientPool({ credentials, clock });
    const { nodeId, clusterId } = identity;
    const { address } = server;
    const startMs = performance.now();
    const started = await open(
      {
        ...{ dir, raftId, dek, nodeId, address, clusterId, clock, random, log, onFailure },
        stateMachine: machine === 'store' ? store : new KeyValueMachine(),
        transport: new RpcTransport({ server, pool, clock, random, log }),
        disk: new NodeDisk(),
      },
      how,
    );
    server.handleUnary(proposeMethod, async (payload) => {
      await started.propose(payload);
      return new Uint8Array(0);
    });
    await started.start();
    store.setProposer(started);
    node = started;
    return { raftId, nodeId, address, elapsedMs: performance.now() - startMs };
  },

  status: (): RaftNodeStatus => running().status(),

  /** Ids of those that have a vote. */
  voters: (): number[] =>
    running()
      .members()
      .flatMap(({ raftId, learner }) => (learner ? [] : [raftId])),

  add: (member: MemberRecord): Promise<void> => running().addMember(member),

  /** Proposes in this process. */
  propose(load: Load & { readonly valueBytes: number }): Promise<LoadResult> {
    const puts = new PutSource(load.valueBytes);
    return runLoad(load, () => running().propose(encodePut(puts.next())));
  },

  /** Writes tasks of about a kilobyte into the store. */
  async createTasks(count: number): Promise<void> {
    const tasks = Array.from({ length: count }, (_, i) => benchTask(i));
    await store.batch(tasks, (tx, task) => tx.create('task', task));
  },

  taskCount: (): number => store.view((view) => view.count('task')),

  beginUpdates(): void {
    const load = { stopped: false };
    background = Object.assign(load, { done: updateTasks(load) });
  },

  async endUpdates(): Promise<void> {
    if (background === null) return;
    background.stopped = true;
    await background.done;
  },

  watchTurns: (): void => turns.start(),

  longestTurns: (): LongestTurns => turns.stop(),
};

export type MemberOperations = typeof operations;

serve(operations);
