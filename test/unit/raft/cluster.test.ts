/** Clusters of cores in memory: what users of Raft rely on, calm and under faults. */
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import type { NodeId } from '../../../manager/raft/types.ts';
import { type ClusterOptions, RaftCluster } from '../../support/raft-cluster.ts';

function electedCluster(options: Partial<ClusterOptions> = {}): {
  cluster: RaftCluster;
  leader: NodeId;
} {
  const cluster = new RaftCluster({ seed: 1, size: 3, ...options });
  cluster.run(40);
  const leader = cluster.leader();
  expect(leader).not.toBeNull();
  return { cluster, leader: leader! };
}

/** Everybody has applied the same, and `name` was among it. */
function expectApplied(cluster: RaftCluster, name: string): void {
  expect([...cluster.appliedProposals]).toContain(name);
  const states = new Set(
    [...cluster.nodes.values()].map(({ app }) => `${app.index}/${app.digest}`),
  );
  expect(states.size).toBe(1);
}

const STORAGE_FORMS = [
  { form: 'storage written at once', asyncStorageWrites: false },
  { form: 'async storage writes', asyncStorageWrites: true },
];

describe.each(STORAGE_FORMS)('raft cluster with $form', ({ asyncStorageWrites }) => {
  test('elects one leader and replicates to all', () => {
    const { cluster, leader } = electedCluster({ asyncStorageWrites });
    const name = cluster.propose(leader);
    cluster.run(2);
    expectApplied(cluster, name);
  });

  test('replaces a leader that is cut off, and takes it back as follower', () => {
    const { cluster, leader } = electedCluster({ asyncStorageWrites });
    cluster.isolate(leader);
    const lost = cluster.propose(leader);
    cluster.run(60);
    const next = cluster.leader()!;
    expect(next).not.toBe(leader);
    const kept = cluster.propose(next);
    cluster.run(5);
    cluster.heal();
    cluster.run(10);
    expectApplied(cluster, kept);
    expect([...cluster.appliedProposals]).not.toContain(lost);
  });

  test('a leader without quorum steps down', () => {
    const { cluster, leader } = electedCluster({ asyncStorageWrites });
    cluster.isolate(leader);
    for (let i = 0; i < 25; i++) cluster.tick(leader);
    expect(cluster.node(leader).raw!.basicStatus().role).not.toBe('leader');
  });

  test('a member that was cut off does not raise the term when it returns', () => {
    const { cluster, leader } = electedCluster({ asyncStorageWrites });
    const term = cluster.term(leader);
    const away = [...cluster.nodes.keys()].find((id) => id !== leader)!;
    cluster.isolate(away);
    cluster.run(100);
    cluster.heal();
    cluster.run(50);
    expect(cluster.leader()).toBe(leader);
    expect(cluster.term(leader)).toBe(term);
  });

  test('a member that missed compacted entries gets a snapshot', () => {
    const { cluster, leader } = electedCluster({ asyncStorageWrites });
    const away = [...cluster.nodes.keys()].find((id) => id !== leader)!;
    cluster.crash(away);
    for (let i = 0; i < 20; i++) cluster.propose(leader);
    cluster.run(10);
    cluster.compact(leader, 2);
    cluster.restart(away);
    cluster.run(20);
    const name = cluster.propose(leader);
    cluster.run(5);
    expectApplied(cluster, name);
    expect(cluster.node(away).storage.firstIndex()).toBeGreaterThan(3);
  });

  test('a new member learns first, then votes', () => {
    const { cluster, leader } = electedCluster({ asyncStorageWrites });
    const joined = cluster.addEmptyNode();
    cluster.changeMember(leader, 'add-learner', joined);
    cluster.run(10);
    expect(cluster.node(leader).raw!.status().confState.learners).toEqual([joined]);
    cluster.changeMember(leader, 'add-voter', joined);
    cluster.run(10);
    expect(cluster.node(joined).app.confState.voters).toEqual([1, 2, 3, joined]);
    const name = cluster.propose(leader);
    cluster.run(5);
    expectApplied(cluster, name);
  });

  test('a leader that is removed stops leading and the others go on', () => {
    const { cluster, leader } = electedCluster({ asyncStorageWrites });
    cluster.changeMember(leader, 'remove', leader);
    cluster.run(60);
    const next = cluster.leader()!;
    expect(next).not.toBe(leader);
    expect(cluster.node(leader).raw!.basicStatus().role).toBe('follower');
    expect(cluster.node(next).app.confState.voters).not.toContain(leader);
  });

  test('leadership moves to the member that is asked for', () => {
    const { cluster, leader } = electedCluster({ asyncStorageWrites });
    const to = [...cluster.nodes.keys()].find((id) => id !== leader)!;
    cluster.transfer(leader, to);
    cluster.run(3);
    expect(cluster.leader()).toBe(to);
  });

  test.each([1, 3])('reads are answered on every one of %i members', (size) => {
    const { cluster } = electedCluster({ asyncStorageWrites, size });
    for (const id of cluster.nodes.keys()) cluster.read(id);
    cluster.run(3);
    expect(cluster.answeredReads).toBe(size);
  });

  test('a cluster that was stopped whole goes on where it was', () => {
    const { cluster, leader } = electedCluster({ asyncStorageWrites });
    const before = cluster.propose(leader);
    cluster.run(3);
    for (const id of cluster.nodes.keys()) cluster.crash(id);
    for (const id of cluster.nodes.keys()) cluster.restart(id);
    cluster.run(40);
    const after = cluster.propose(cluster.leader()!);
    cluster.run(3);
    expectApplied(cluster, before);
    expectApplied(cluster, after);
  });
});

type Disturbance = (cluster: RaftCluster, id: NodeId, joined: NodeId[]) => void;

/** What may happen next, by weight. `id` is any node. */
const DISTURBANCES: readonly (readonly [number, Disturbance])[] = [
  [300, (cluster) => void cluster.deliverAny(5)],
  [250, (cluster, id) => void cluster.work(id)],
  [120, (cluster, id) => void cluster.finishAppend(id)],
  [120, (cluster, id) => void cluster.finishApply(id)],
  [100, (cluster, id) => cluster.tick(id)],
  [30, (cluster, id) => void cluster.propose(cluster.leader() ?? id)],
  [6, (cluster) => cluster.loseAny()],
  [6, (cluster, id) => cluster.read(id)],
  [4, (cluster, id) => cluster.compact(id, 3)],
  [1, (cluster, id) => cluster.crash(id)],
  [3, (cluster, id) => cluster.restart(id)],
  [1, (cluster, id) => cluster.isolate(id)],
  [1, (cluster, id) => cluster.cutLink(id, cluster.anyId())],
  [3, (cluster) => cluster.heal()],
  [1, (cluster, id) => cluster.transfer(cluster.leader() ?? id, cluster.anyId())],
  [2, (cluster, id, joined) => changeSomeMember(cluster, cluster.leader() ?? id, joined)],
];

const TOTAL_WEIGHT = DISTURBANCES.reduce((sum, [weight]) => sum + weight, 0);

function disturb(cluster: RaftCluster, random: SeededRandom, joined: NodeId[]): void {
  let left = random.below(TOTAL_WEIGHT);
  for (const [weight, happen] of DISTURBANCES) {
    left -= weight;
    if (left >= 0) continue;
    happen(cluster, cluster.anyId(), joined);
    return;
  }
}

function changeSomeMember(cluster: RaftCluster, leader: NodeId, joined: NodeId[]): void {
  if (joined.length < 2 && cluster.chance(30)) {
    const id = cluster.addEmptyNode();
    joined.push(id);
    cluster.changeMember(leader, 'add-learner', id);
    return;
  }
  const id = cluster.anyId();
  const voters = cluster.node(leader).app.confState.voters;
  if (cluster.chance(40)) cluster.changeMember(leader, 'add-voter', id);
  // Two voters that lose one would be the end of the run, not a fault of Raft.
  else if (voters.length > 3) cluster.changeMember(leader, 'remove', id);
  else cluster.changeMember(leader, 'add-learner', joined[0] ?? id);
}

describe('raft cluster under faults', () => {
  const seeds = Array.from({ length: 40 }, (_, i) => i + 1);

  test.each(seeds)('keeps its promises and recovers, seed %i', (seed) => {
    const cluster = new RaftCluster({
      seed,
      size: seed % 3 === 0 ? 5 : 3,
      asyncStorageWrites: seed % 2 === 0,
      preVote: seed % 5 !== 0,
      checkQuorum: seed % 7 !== 0,
    });
    const joined: NodeId[] = [];
    const random = new SeededRandom(seed + 1000);
    for (let i = 0; i < 20_000; i++) disturb(cluster, random, joined);

    cluster.heal();
    for (const id of cluster.nodes.keys()) cluster.restart(id);
    cluster.run(100);
    const leader = cluster.leader();
    expect(leader).not.toBeNull();
    const name = cluster.propose(leader!);
    cluster.run(20);
    expect([...cluster.appliedProposals]).toContain(name);
    const { confState, index } = cluster.node(leader!).app;
    for (const id of [...confState.voters, ...confState.learners]) {
      expect(cluster.node(id).app.index, `node ${id}`).toBe(index);
    }
  });
});
