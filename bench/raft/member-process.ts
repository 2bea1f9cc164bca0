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
import { GrpcTransport } from '../../manager/raftnode/grpc-transport.ts';
import type { MemberRecord } from '../../manager/raftnode/membership.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import type { RaftNodeStatus } from '../../manager/raftnode/node-options.ts';
import { RaftNode } from '../../manager/raftnode/raft-node.ts';
import { serve } from '../support/helper-process.ts';
import { type Load, type LoadResult, runLoad } from '../support/load.ts';
import { encodePut, KeyValueMachine, PutSource } from './key-value-machine.ts';
import { proposeMethod } from './propose-method.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const log = silentLogger;

function onFailure(err: unknown): void {
  process.stderr.write(`a raft node failed: ${String(err)}\n`);
  process.exit(1);
}

let node: RaftNode | null = null;

function running(): RaftNode {
  if (node === null) throw new Error('the member is not started');
  return node;
}

const operations = {
  /** Founds a group, or joins that of `members`. Resolves with its record. */
  async start(argument: {
    readonly dir: string;
    readonly raftId: number;
    readonly identity: Identity;
    readonly members: readonly MemberRecord[];
  }): Promise<MemberRecord> {
    const { dir, raftId, identity, members } = argument;
    const credentials = new IdentityHolder(identity);
    const server = new RpcServer({ credentials, logger: log, onFailure });
    await server.listen('127.0.0.1', 0);
    const pool = new RpcClientPool({ credentials, clock });
    const { nodeId, clusterId } = identity;
    const { address } = server;
    const options = {
      ...{ dir, raftId, nodeId, address, clusterId, clock, random, log, onFailure },
      dek: random.bytes(32),
      stateMachine: new KeyValueMachine(),
      transport: new GrpcTransport({ server, pool, clock, random, log }),
      disk: new NodeDisk(),
    };
    const started = await (members.length === 0
      ? RaftNode.bootstrap(options)
      : RaftNode.join(options, members));
    server.handleUnary(proposeMethod, async (payload) => {
      await started.propose(payload);
      return new Uint8Array(0);
    });
    await started.start();
    node = started;
    return { raftId, nodeId, address };
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
};

export type MemberOperations = typeof operations;

serve(operations);
