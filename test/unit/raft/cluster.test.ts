/** Clusters of cores in memory: what users of Raft rely on, calm and under faults. */
import { describe, expect, test } from 'vitest';
import type { NodeId } from '../../../manager/raft/types.ts';
import { type ClusterOptions, RaftCluster } from '../../support/raft-cluster.ts';
import { surviveFaults } from '../../support/raft-faults.ts';

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

describe('raft cluster under faults', () => {
  const seeds = Array.from({ length: 40 }, (_, i) => i + 1);

  test.each(seeds)('keeps its promises and recovers, seed %i', (seed) => {
    const { cluster, leader, lastProposal } = surviveFaults(seed, 20_000);
    expect(cluster.appliedProposals.has(lastProposal)).toBe(true);
    const { confState, index } = cluster.node(leader).app;
    for (const id of [...confState.voters, ...confState.learners]) {
      expect(cluster.node(id).app.index, `node ${id}`).toBe(index);
    }
  });
});
