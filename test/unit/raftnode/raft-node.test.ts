import { describe, expect, test } from 'vitest';
import { hasCode } from '../../../common/base/errors.ts';
import { ProposalError } from '../../../manager/raftnode/proposals.ts';
import { ELECTION_MS, TICK_MS } from '../../sim/machine.ts';
import { type SimMember, SimRaft } from '../../support/sim-raft.ts';

function noFailures(sim: SimRaft): void {
  for (const member of sim.members.values()) expect(member.failures).toEqual([]);
}

describe('raft node alone', () => {
  test('leads at once after bootstrap and commits', async () => {
    const sim = new SimRaft(1);
    const a = await sim.bootstrap(1);
    await sim.until(() => a.node!.leader() !== null, 'leader', TICK_MS);
    const first = await sim.propose(a, 'one');
    const second = await sim.propose(a, 'two');
    expect(second).toBe(first + 1);
    expect(a.stateMachine.applied.map(({ index, text }) => [index, text])).toEqual([
      [first, 'one'],
      [second, 'two'],
    ]);
    noFailures(sim);
  });

  test.each(['crash', 'kill'] as const)('has everything acknowledged after a %s', async (how) => {
    const sim = new SimRaft(2);
    const a = await sim.bootstrap(1);
    for (let i = 0; i < 30; i++) await sim.propose(a, `entry ${i}`);
    sim.crash(1, how);
    await sim.restart(1);
    await sim.until(() => a.stateMachine.applied.length === 30, 'replay');
    expect(a.stateMachine.texts.at(-1)).toBe('entry 29');
    await sim.propose(a, 'after');
    noFailures(sim);
  });

  test('restarts after an orderly stop with its commit index known', async () => {
    const sim = new SimRaft(3);
    const a = await sim.bootstrap(1);
    await sim.propose(a, 'one');
    await sim.run(a.node!.stop());
    await sim.restart(1);
    await sim.until(() => a.stateMachine.applied.length === 1, 'replay', TICK_MS);
  });

  test('many proposals at once share few syncs', async () => {
    const sim = new SimRaft(4);
    const a = await sim.bootstrap(1);
    await sim.propose(a, 'warm');
    a.disk.counts.clear();
    const all = Array.from({ length: 200 }, (_, i) => a.node!.propose(Buffer.from(`p${i}`)));
    const indexes = await sim.run(Promise.all(all));
    expect(new Set(indexes).size).toBe(200);
    expect(a.disk.counts.get('fdatasync')).toBeLessThanOrEqual(3);
  });

  test('takes snapshots, deletes old segments and restarts from the snapshot', async () => {
    const sim = new SimRaft(5, { snapshotIntervalEntries: 50, keepEntries: 10 });
    const a = await sim.bootstrap(1);
    for (let i = 0; i < 230; i++) await sim.propose(a, `entry ${i} ${'x'.repeat(2000)}`);
    await sim.until(() => a.disk.paths().filter((p) => p.endsWith('.snap')).length === 1, 'one');
    const segments = a.disk.paths().filter((path) => path.endsWith('.wal'));
    expect(segments.length).toBeLessThan(6);
    sim.crash(1);
    await sim.restart(1);
    await sim.until(() => a.stateMachine.applied.length === 230, 'replay');
    expect(a.stateMachine.restored.length).toBe(1);
    expect(a.stateMachine.restored[0]).toBeGreaterThan(190);
    noFailures(sim);
  });

  const snapshotsOf = (member: SimMember): string[] =>
    member.disk.paths().filter((path) => path.endsWith('.snap'));

  test('keeps older snapshots, with the log from the oldest on, and starts from one when the newest is damaged', async () => {
    const sim = new SimRaft(5, { snapshotIntervalEntries: 1_000_000, keepEntries: 0 });
    const a = await sim.bootstrap(1);
    a.node!.setSnapshotSettings({ intervalEntries: 20, keepOld: 2, keepEntries: null });
    for (let i = 0; i < 230; i++) await sim.propose(a, `entry ${i} ${'x'.repeat(2000)}`);
    await sim.until(() => snapshotsOf(a).length === 3, 'three snapshots');
    const { texts } = a.stateMachine;
    await sim.run(a.node!.stop());
    const newest = snapshotsOf(a).sort().at(-1)!;
    a.disk.flipBit(newest, a.disk.contents(newest).length - 5);
    await sim.restart(1);
    await sim.until(() => a.stateMachine.texts.length === texts.length, 'replay');
    expect(a.stateMachine.texts).toEqual(texts);
    a.node!.setSnapshotSettings({ intervalEntries: 20, keepOld: 0, keepEntries: null });
    for (let i = 0; i < 50; i++) await sim.propose(a, `more ${i}`);
    await sim.until(() => snapshotsOf(a).length === 1, 'one snapshot');
    noFailures(sim);
  });

  test('reads are linearizable on a single member', async () => {
    const sim = new SimRaft(6);
    const a = await sim.bootstrap(1);
    const index = await sim.propose(a, 'one');
    expect(await sim.run(a.node!.readBarrier())).toBeGreaterThanOrEqual(index);
  });

  test('a directory is used by one node at a time and never for a second bootstrap', async () => {
    const sim = new SimRaft(7);
    const a = await sim.bootstrap(1);
    await expect(sim.restart(1)).rejects.toSatisfy((err) => hasCode(err, 'conflict'));
    a.disk.kill();
    const disk = a.disk;
    const b = sim.machine(1);
    Object.assign(b, { disk });
    await expect(sim.bootstrap(1)).resolves.toBeDefined(); // another, empty disk
  });

  test('a failed sync ends the node and nothing is acknowledged', async () => {
    const sim = new SimRaft(8);
    const a = await sim.bootstrap(1);
    await sim.propose(a, 'one');
    a.disk.onOperation = (operation) => {
      if (operation === 'fdatasync') throw Object.assign(new Error('EIO'), { code: 'EIO' });
    };
    const refusal = await sim.run(a.node!.propose(Buffer.from('two')).catch((err) => err));
    expect(refusal).toBeInstanceOf(ProposalError);
    expect((refusal as ProposalError).mayCommit).toBe(true);
    expect(a.failures.length).toBe(1);
    a.disk.onOperation = null;
    await sim.run(a.node!.stop());
  });

  test('takes as many proposals of one moment as it has room for, and refuses the rest at once', async () => {
    const sim = new SimRaft(34);
    const a = await sim.bootstrap(1);
    await sim.propose(a, 'warm');
    const payload = Buffer.alloc(3 * 1024 * 1024, 'p');
    const all = Array.from({ length: 13 }, () => a.node!.propose(payload));
    const outcomes = await sim.run(Promise.allSettled(all));
    const refused = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    expect(refused.length).toBe(3);
    for (const reason of refused) {
      expect(reason).toMatchObject({ code: 'unavailable', mayCommit: false });
    }
    expect(a.stateMachine.applied.length).toBe(1 + 10);
    await sim.propose(a, 'there is room again');
  });

  test('aborted proposals reject with the reason', async () => {
    const sim = new SimRaft(9);
    const a = await sim.bootstrap(1);
    await sim.propose(a, 'one');
    const abort = new AbortController();
    const proposal = a.node!.propose(Buffer.from('two'), abort.signal).catch((err) => err);
    abort.abort(new Error('enough'));
    expect(await sim.run(proposal)).toMatchObject({ message: 'enough' });
  });

  test.each([0, 3 * 1024 * 1024 + 1])('refuses a proposal of %i bytes', async (bytes) => {
    const sim = new SimRaft(10);
    const a = await sim.bootstrap(1);
    await expect(a.node!.propose(Buffer.alloc(bytes))).rejects.toMatchObject({
      code: 'invalid-argument',
      mayCommit: false,
    });
  });
});

describe('raft cluster', () => {
  test('grows from one to three and replicates', async () => {
    const sim = new SimRaft(20);
    const [a, b, c] = await sim.cluster(3);
    await sim.propose(a!, 'hello');
    await sim.agreed();
    for (const member of [a, b, c]) expect(member!.stateMachine.texts).toEqual(['hello']);
    expect(b!.node!.members().map(({ raftId, learner }) => [raftId, learner])).toEqual([
      [1, false],
      [2, false],
      [3, false],
    ]);
    noFailures(sim);
  });

  test('elects another leader when the leader dies and keeps what was acknowledged', async () => {
    const sim = new SimRaft(21);
    const [a] = await sim.cluster(3);
    for (let i = 0; i < 20; i++) await sim.propose(a!, `entry ${i}`);
    sim.crash(1);
    const leader = await sim.elected(3 * ELECTION_MS);
    expect(leader.raftId).not.toBe(1);
    await sim.propose(leader, 'after');
    await sim.restart(1);
    await sim.agreed();
    const texts = [...Array.from({ length: 20 }, (_, i) => `entry ${i}`), 'after'];
    for (const member of sim.members.values()) expect(member.stateMachine.texts).toEqual(texts);
    noFailures(sim);
  });

  test.each([3, 5])(
    'of %i, a leader whose process dies is replaced before an election timeout',
    async (size) => {
      const sim = new SimRaft(31);
      const [a] = await sim.cluster(size);
      await sim.propose(a!, 'before');
      sim.crash(1, 'kill');
      const killedMs = sim.nowMs;
      const leader = await sim.elected(ELECTION_MS / 2);
      await sim.propose(leader, 'after');
      expect(sim.nowMs - killedMs).toBeLessThan(ELECTION_MS / 2);
      noFailures(sim);
    },
  );

  test('keeps to another timing, from the moment that each member is told', async () => {
    const sim = new SimRaft(36);
    const [a, b, c] = await sim.cluster(3);
    const slow = { electionTicks: 50, heartbeatTicks: 20 };
    const { term } = a!.node!.status();
    a!.node!.setTiming(slow);
    await sim.advance(ELECTION_MS / 4); // one is told after the other
    for (const other of [b, c]) other!.node!.setTiming(slow);
    await sim.advance(20 * ELECTION_MS); // with a heartbeat each two former election timeouts
    expect(a!.node!.status()).toMatchObject({ role: 'leader', term });
    for (const other of [b, c]) expect(other!.node!.leader()?.raftId).toBe(1);
    await sim.propose(a!, 'before');
    sim.crash(1); // its host: nobody hears that its streams are closed
    await sim.advance(2 * ELECTION_MS);
    expect(sim.leader()).toBeNull();
    await sim.propose(await sim.elected(13 * ELECTION_MS), 'after');
    noFailures(sim);
  });

  test('streams that break while their leader lives cost neither the term nor the office', async () => {
    const sim = new SimRaft(32);
    const [a, b] = await sim.cluster(3);
    await sim.propose(a!, 'before');
    const { term } = a!.node!.status();
    sim.isolate(3); // it could not answer a pre-vote; the leader alone must be enough
    for (let i = 0; i < 10; i++) {
      sim.closeConnections(1);
      await sim.advance(ELECTION_MS / 3);
    }
    expect(a!.node!.status()).toMatchObject({ role: 'leader', term });
    expect(b!.node!.leader()?.raftId).toBe(1);
    await sim.propose(a!, 'after');
  });

  test('streams that all break at once, again and again, do not depose a leader that lives', async () => {
    const sim = new SimRaft(34);
    const [a] = await sim.cluster(3);
    const { term } = a!.node!.status();
    for (let i = 0; i < 30; i++) {
      sim.closeConnections(1); // for all followers at once
      await sim.advance(ELECTION_MS / 3);
    }
    expect(a!.node!.status()).toMatchObject({ role: 'leader', term });
    await sim.propose(a!, 'after');
  });

  test('leaders whose processes die one soon after the other are each replaced at once', async () => {
    const sim = new SimRaft(35);
    await sim.cluster(5);
    for (let kill = 0; kill < 2; kill++) {
      sim.crash(sim.leader()!.raftId, 'kill');
      await sim.propose(await sim.elected(ELECTION_MS / 2), 'after');
    }
    noFailures(sim);
  });

  test('the leader sends entries while its own write is under way', async () => {
    const sim = new SimRaft(33);
    const [a, b, c] = await sim.cluster(3);
    const index = await sim.propose(a!, 'before');
    await sim.agreed();
    a!.disk.kill(); // its writes do not end any more
    const outcome = a!.node!.propose(Buffer.from('on its way')).catch((err: unknown) => err);
    await sim.until(
      () => [b, c].every((member) => member!.node!.status().committedIndex > index),
      'commit by the others',
      TICK_MS,
    );
    sim.crash(1);
    await sim.restart(1);
    await sim.agreed();
    expect(a!.stateMachine.texts).toEqual(['before', 'on its way']);
    void outcome; // nobody is left to answer
  });

  test('proposals that come while a round is under way go together in the next one', async () => {
    const sim = new SimRaft(29);
    const [a, b] = await sim.cluster(3);
    await sim.propose(a!, 'warm');
    Object.assign(sim.quality, { delayMinMs: 20, delayMeanMs: 0, delayMaxMs: 20 });
    b!.disk.counts.clear();
    const all = [];
    for (let i = 0; i < 30; i++) {
      all.push(a!.node!.propose(Buffer.from(`p${i}`)));
      await sim.advance(1); // far longer than a flush, shorter than a round
    }
    const indexes = await sim.run(Promise.all(all));
    expect(indexes).toEqual(Array.from({ length: 30 }, (_, i) => indexes[0]! + i));
    expect(b!.disk.counts.get('fdatasync')).toBeLessThanOrEqual(4);
  });

  test('proposals of one turn go together, also those that come some promises later', async () => {
    const sim = new SimRaft(31);
    const [a, b] = await sim.cluster(3);
    await sim.propose(a!, 'warm');
    b!.disk.counts.clear();
    const all = [];
    for (let i = 0; i < 10; i++) {
      all.push(a!.node!.propose(Buffer.from(`p${i}`)));
      for (let hop = 0; hop < 10; hop++) await null; // as between calls decoded from one piece of input
    }
    await sim.run(Promise.all(all));
    expect(b!.disk.counts.get('fdatasync')).toBe(1);
  });

  test('a caller that was just answered goes along with who waited meanwhile', async () => {
    const sim = new SimRaft(32);
    const [a, b] = await sim.cluster(3);
    await sim.propose(a!, 'warm');
    Object.assign(sim.quality, { delayMinMs: 20, delayMeanMs: 0, delayMaxMs: 20 });
    b!.disk.counts.clear();
    const propose = (text: string): Promise<number> => a!.node!.propose(Buffer.from(text));
    const first = propose('first').then(() => propose('again'));
    await sim.advance(1);
    const [again, waited] = await sim.run(Promise.all([first, propose('waited')]));
    expect(Math.abs(again - waited)).toBe(1);
    expect(b!.disk.counts.get('fdatasync')).toBe(2);
  });

  test('a round that gets no answer holds nobody up for longer than a tick', async () => {
    const sim = new SimRaft(30);
    const [a] = await sim.cluster(3);
    await sim.propose(a!, 'warm');
    sim.isolate(1);
    const first = a!.node!.propose(Buffer.from('first')).catch((err: unknown) => err);
    await sim.advance(1);
    const second = a!.node!.propose(Buffer.from('second')).catch((err: unknown) => err);
    await sim.advance(2 * TICK_MS);
    sim.network.heal();
    const [one, two] = await sim.run(Promise.all([first, second]));
    expect(two).toBe((one as number) + 1);
  });

  test('a member that fell far behind gets a snapshot', async () => {
    const sim = new SimRaft(22, { snapshotIntervalEntries: 40, keepEntries: 5 });
    const [a] = await sim.cluster(3);
    sim.crash(3);
    for (let i = 0; i < 150; i++) await sim.propose(a!, `entry ${i} ${'y'.repeat(300)}`);
    await sim.restart(3);
    await sim.agreed();
    const c = sim.members.get(3)!;
    expect(c.stateMachine.restored.length).toBeGreaterThanOrEqual(2);
    expect(c.stateMachine.texts).toEqual(a!.stateMachine.texts);
    sim.crash(3);
    await sim.restart(3);
    await sim.agreed();
    expect(c.stateMachine.texts).toEqual(a!.stateMachine.texts);
    noFailures(sim);
  });

  test('a snapshot transfer that breaks off goes on where it ended', async () => {
    const sim = new SimRaft(23, { snapshotIntervalEntries: 40, keepEntries: 5 });
    const [a] = await sim.cluster(3);
    sim.crash(3);
    for (let i = 0; i < 150; i++) await sim.propose(a!, `entry ${i} ${'y'.repeat(300)}`);
    await sim.restart(3);
    for (let i = 0; i < 6; i++) {
      await sim.advance(30);
      sim.network.cut(1, 3);
      await sim.advance(20);
      sim.network.heal();
    }
    await sim.agreed();
    expect(sim.members.get(3)!.stateMachine.texts).toEqual(a!.stateMachine.texts);
    noFailures(sim);
  });

  test('shrinks to two and one, and the removed ones know', async () => {
    const sim = new SimRaft(24);
    const [a, b, c] = await sim.cluster(3);
    await sim.run(a!.node!.removeMember(3));
    await sim.until(() => c!.removals === 1, 'removal of 3', 5 * ELECTION_MS);
    expect(c!.node!.removed).toBe(true);
    await expect(c!.node!.propose(Buffer.from('x'))).rejects.toMatchObject({
      code: 'not-a-manager',
    });
    await sim.propose(a!, 'two members');
    await sim.run(a!.node!.removeMember(2));
    await sim.until(() => b!.removals === 1, 'removal of 2', 5 * ELECTION_MS);
    await sim.propose(a!, 'alone');
    expect(a!.node!.members().length).toBe(1);
    noFailures(sim);
  });

  test('a removed id never comes back', async () => {
    const sim = new SimRaft(25);
    const [a, b] = await sim.cluster(3);
    await sim.run(a!.node!.removeMember(2));
    const { nodeId, address } = b!;
    await expect(sim.run(a!.node!.addMember({ raftId: 2, nodeId, address }))).rejects.toMatchObject(
      { code: 'failed-precondition' },
    );
  });

  test('a joining member that was removed before it got anything is told after its restart', async () => {
    const sim = new SimRaft(39);
    const [a] = await sim.cluster(3);
    const { raftId, nodeId, address } = sim.machine(4);
    await sim.run(a!.node!.addMember({ raftId, nodeId, address }));
    sim.isolate(4);
    const d = await sim.startJoined(4, a!.node!.members());
    await sim.run(a!.node!.removeMember(4));
    sim.crash(4);
    await sim.restart(4);
    expect(d.node!.members().length).toBe(4);
    sim.network.heal();
    await sim.until(() => d.removals === 1, 'removal', 3 * ELECTION_MS);
    noFailures(sim);
  });

  test('a leader that is to be removed hands over first, and is removed by its successor', async () => {
    const sim = new SimRaft(41);
    const [a] = await sim.cluster(3);
    await expect(sim.run(a!.node!.removeMember(1))).rejects.toMatchObject({ code: 'not-leader' });
    const leader = await sim.elected();
    expect(leader.raftId).not.toBe(1);
    await sim.propose(leader, 'settled');
    await sim.run(leader.node!.removeMember(1));
    await sim.until(() => a!.removals === 1, 'removal');
    await sim.propose(leader, 'two are left');
    noFailures(sim);
  });

  test('a removed member still votes until the others know that it is removed', async () => {
    const sim = new SimRaft(42);
    const [a, b] = await sim.cluster(4);
    await sim.propose(a!, 'x');
    await sim.agreed();
    const removal = a!.node!.removeMember(2);
    const applied = a!.node!.appliedIndex;
    while (a!.node!.appliedIndex === applied) await sim.advance(0.2);
    // Members 3 and 4 have the removal in their logs, and never hear that it is committed.
    sim.network.cut(1, 3);
    sim.network.cut(1, 4);
    await removal;
    await sim.until(() => b!.node!.members().length === 3, 'removal known to the removed');
    sim.crash(1);
    await sim.until(() => (sim.leader()?.raftId ?? 0) > 2, 'a leader of those that stay');
    await sim.propose(sim.leader()!, 'y');
    await sim.until(() => b!.removals === 1, 'departure');
    noFailures(sim);
  });

  test('a learner that was removed behind its back is told', async () => {
    const sim = new SimRaft(40);
    const [a] = await sim.cluster(3);
    const { raftId, nodeId, address } = sim.machine(4);
    await sim.run(a!.node!.addMember({ raftId, nodeId, address }));
    const d = await sim.startJoined(4, a!.node!.members());
    await sim.until(() => d.node!.status().role === 'learner', 'learner');
    sim.isolate(4);
    await sim.run(a!.node!.removeMember(4));
    await sim.advance(ELECTION_MS);
    sim.network.heal();
    await sim.until(() => d.removals === 1, 'removal', 4 * ELECTION_MS);
    noFailures(sim);
  });

  test('refuses to remove a member when no majority would be left', async () => {
    const sim = new SimRaft(26);
    const [a] = await sim.cluster(3);
    sim.crash(3);
    await sim.advance(2 * ELECTION_MS);
    await expect(sim.run(a!.node!.removeMember(2))).rejects.toThrow('it would lose the quorum');
    await sim.run(a!.node!.removeMember(3));
    await sim.propose(a!, 'still here');
    noFailures(sim);
  });

  test('refuses to remove the last member and unknown ones', async () => {
    const sim = new SimRaft(27);
    const a = await sim.bootstrap(1);
    await sim.propose(a, 'x');
    await expect(sim.run(a.node!.removeMember(1))).rejects.toThrow('it is the last manager');
    await expect(sim.run(a.node!.removeMember(9))).rejects.toMatchObject({ code: 'not-found' });
  });

  test('tells callers within two election timeouts that the majority is lost', async () => {
    const sim = new SimRaft(28);
    const [a] = await sim.cluster(3);
    await sim.propose(a!, 'before');
    sim.isolate(1);
    const started = sim.nowMs;
    const refusal = await sim.run(
      a!.node!.propose(Buffer.from('lost')).catch((err: unknown) => err),
    );
    expect(sim.nowMs - started).toBeLessThanOrEqual(2 * ELECTION_MS + TICK_MS);
    expect(refusal).toMatchObject({ code: 'unavailable', mayCommit: true });
    await expect(a!.node!.propose(Buffer.from('again'))).rejects.toMatchObject({
      code: 'no-leader',
      mayCommit: false,
    });
    sim.network.heal();
    await sim.elected();
    await sim.agreed();
    noFailures(sim);
  });

  test('a leader that hears nobody steps down after one election timeout, whenever it falls', async () => {
    for (let phase = 0; phase < 10; phase++) {
      const sim = new SimRaft(29 + phase);
      const [a] = await sim.cluster(3);
      await sim.propose(a!, 'before');
      await sim.advance(phase * TICK_MS);
      for (const other of [2, 3]) sim.network.cut(other, 1);
      const cutMs = sim.nowMs;
      while (a!.node!.status().role === 'leader') await sim.advance(TICK_MS / 4);
      expect(sim.nowMs - cutMs).toBeLessThanOrEqual(ELECTION_MS + 3 * TICK_MS);
      noFailures(sim);
    }
  });

  test('an entry that another leader overwrote is reported, once', async () => {
    const sim = new SimRaft(29);
    const [a, b] = await sim.cluster(3);
    await sim.propose(a!, 'before');
    sim.isolate(1);
    let settled = 0;
    const refusal = a!.node!.propose(Buffer.from('lost')).then(
      () => settled++,
      () => settled++,
    );
    await sim.until(() => b!.node!.leader()?.raftId !== 1 && b!.node!.leader() !== null, 'other');
    const leader = sim.leader()!;
    await sim.propose(leader, 'instead');
    sim.network.heal();
    await sim.agreed();
    await sim.run(refusal);
    expect(settled).toBe(1);
    for (const member of sim.members.values()) {
      expect(member.stateMachine.texts).toEqual(['before', 'instead']);
    }
    noFailures(sim);
  });

  test('a follower names the leader when it refuses a proposal', async () => {
    const sim = new SimRaft(30);
    const [, b] = await sim.cluster(3);
    await sim.agreed();
    await expect(b!.node!.propose(Buffer.from('x'))).rejects.toMatchObject({
      code: 'not-leader',
      mayCommit: false,
      message: 'propose: node-1 at 10.0.0.1:2377 is the leader',
      details: { leaderAddress: '10.0.0.1:2377' },
    });
  });

  test('a read barrier on a follower sees every acknowledged write', async () => {
    const sim = new SimRaft(31);
    const [a, b] = await sim.cluster(3);
    for (let i = 0; i < 10; i++) {
      const index = await sim.propose(a!, `w${i}`);
      const read = await sim.run(b!.node!.readBarrier());
      expect(read).toBeGreaterThanOrEqual(index);
      expect(b!.stateMachine.texts).toContain(`w${i}`);
    }
  });

  test('a read barrier fails without a majority, and never answers from the past', async () => {
    const sim = new SimRaft(32);
    const [a] = await sim.cluster(3);
    await sim.propose(a!, 'x');
    sim.isolate(1);
    const refusal = await sim.run(a!.node!.readBarrier().catch((err: unknown) => err));
    expect(refusal).toMatchObject({ code: 'no-leader' });
  });

  test('hands leadership over on request and on stop', async () => {
    const sim = new SimRaft(33);
    const [a] = await sim.cluster(3);
    await sim.propose(a!, 'x');
    await sim.run(a!.node!.transferLeadership());
    const second = await sim.elected();
    expect(second.raftId).not.toBe(1);
    const started = sim.nowMs;
    const stopped = second.node!.stop();
    // What was surely not proposed is refused with a code on which callers ask the next leader.
    await expect(second.node!.propose(Buffer.from('late'))).rejects.toMatchObject({
      code: 'no-leader',
      mayCommit: false,
    });
    await sim.run(stopped);
    second.node = null;
    const third = await sim.elected();
    expect(third.raftId).not.toBe(second.raftId);
    expect(sim.nowMs - started).toBeLessThan(ELECTION_MS);
    await sim.propose(third, 'y');
    noFailures(sim);
  });

  test('during a hand-over proposals are for the next leader', async () => {
    const sim = new SimRaft(34);
    const [a] = await sim.cluster(3);
    await sim.agreed();
    const moved = a!.node!.transferLeadership();
    await expect(sim.run(a!.node!.propose(Buffer.from('x')))).rejects.toMatchObject({
      code: 'no-leader',
      mayCommit: false,
    });
    await sim.run(moved);
    noFailures(sim);
  });

  test('tells of leadership only after everything of earlier terms is applied', async () => {
    const sim = new SimRaft(34);
    const [a, b, c] = await sim.cluster(3);
    const heard: string[] = [];
    for (const member of [b!, c!]) {
      member.node!.onLeadershipChange((isLeader, term) => {
        heard.push(`${member.raftId} ${isLeader} ${member.stateMachine.texts.length}`);
        expect(term).toBe(member.node!.status().term);
      });
    }
    for (let i = 0; i < 25; i++) await sim.propose(a!, `e${i}`);
    sim.crash(1);
    const leader = await sim.elected();
    await sim.until(() => heard.length > 0, 'news');
    expect(heard).toEqual([`${leader.raftId} true 25`]);
    sim.isolate(leader.raftId);
    await sim.until(() => heard.length > 1, 'loss');
    expect(heard[1]).toBe(`${leader.raftId} false 25`);
  });

  test('a member that comes back under another address is found by its id', async () => {
    const sim = new SimRaft(35);
    const [a] = await sim.cluster(3);
    sim.crash(3);
    sim.members.get(3)!.address = '10.0.9.9:2377';
    await sim.restart(3);
    await sim.until(
      () => a!.node!.members().some(({ address }) => address === '10.0.9.9:2377'),
      'new address',
    );
    await sim.propose(a!, 'x');
    await sim.agreed();
    noFailures(sim);
  });

  test('a member that comes back under another address follows before it would campaign', async () => {
    const sim = new SimRaft(36);
    const [, , c] = await sim.cluster(3);
    sim.crash(3);
    c!.address = '10.0.9.9:2377';
    await sim.restart(3);
    await sim.until(() => c!.node!.leader() !== null, 'a leader', ELECTION_MS / 2);
  });

  test('tells whenever the leader, a member or an address is another', async () => {
    const sim = new SimRaft(37);
    const [a, b] = await sim.cluster(3);
    await sim.agreed();
    const view = (): string =>
      JSON.stringify([b!.node!.leader()?.raftId, b!.node!.members().map((it) => it.address)]);
    const heard: string[] = [];
    const release = b!.node!.onMembersChange(() => heard.push(view()));
    const told = (what: string, known: (text: string) => boolean): Promise<void> =>
      sim.until(() => heard.some(known) && heard.at(-1) === view(), what);

    sim.crash(3);
    sim.members.get(3)!.address = '10.0.9.9:2377';
    await sim.restart(3);
    await told('new address', (text) => text.includes('10.0.9.9:2377'));
    await sim.run(a!.node!.removeMember(3));
    await told('removal', (text) => !text.includes('10.0.9.9:2377'));
    await sim.join(4, a!);
    await told('new member', (text) => text.includes('10.0.0.4:2377'));
    await sim.run(a!.node!.transferLeadership());
    await told('new leader', (text) => !text.startsWith('[1,') && !text.startsWith('[null,'));
    release();
    const count = heard.length;
    await sim.run(b!.node!.stop());
    expect(heard).toHaveLength(count);
  });

  test('a survivor becomes a cluster of its own and keeps what was committed', async () => {
    const sim = new SimRaft(36);
    const [a] = await sim.cluster(3);
    for (let i = 0; i < 10; i++) await sim.propose(a!, `e${i}`);
    await sim.agreed();
    await sim.advance(5 * TICK_MS); // the commit index reaches the disks
    sim.crash(1);
    sim.crash(2);
    sim.crash(3);
    await sim.restart(3, { forceNewCluster: true });
    const c = sim.members.get(3)!;
    await sim.until(() => c.node!.status().role === 'leader', 'leader');
    await sim.propose(c, 'alone');
    expect(c.stateMachine.texts).toEqual([
      ...Array.from({ length: 10 }, (_, i) => `e${i}`),
      'alone',
    ]);
    expect(c.node!.members().map(({ raftId }) => raftId)).toEqual([3]);
    expect(c.disk.paths().some((path) => path.startsWith('/raft.backup-'))).toBe(true);
    await sim.restart(2);
    const b = sim.members.get(2)!;
    await sim.until(() => b.removals === 1, 'old member is told');
    await sim.join(4, c);
    noFailures(sim);
  });

  test('a full disk moves leadership away and the node goes on when there is space', async () => {
    const sim = new SimRaft(37);
    const [a] = await sim.cluster(3);
    await sim.propose(a!, 'x');
    a!.disk.capacityBytes = 0;
    let refusal: unknown = null;
    for (let i = 0; i < 60 && refusal === null; i++) {
      refusal = await sim.run(
        a!.node!.propose(Buffer.alloc(2000, 65)).then(
          () => null,
          (err: unknown) => err,
        ),
      );
    }
    expect(refusal).toMatchObject({ code: 'unavailable', mayCommit: true });
    await sim.until(() => (sim.leader()?.raftId ?? 1) !== 1, 'another leader', 2 * ELECTION_MS);
    const other = sim.leader()!;
    expect(other.raftId).not.toBe(1);
    expect(a!.node!.status().diskFull).toBe(true);
    await sim.propose(other, 'goes on');
    a!.disk.capacityBytes = Number.POSITIVE_INFINITY;
    await sim.until(() => !a!.node!.status().diskFull, 'space');
    await sim.agreed();
    expect(a!.stateMachine.texts.at(-1)).toBe('goes on');
    noFailures(sim);
  });

  test('a snapshot for which there is no space is not tried again at once', async () => {
    const sim = new SimRaft(38);
    const [a] = await sim.cluster(2);
    let begun = 0;
    a!.disk.onOperation = (operation, path) => {
      if (operation === 'create' && path.endsWith('.tmp')) begun++;
    };
    a!.disk.capacityBytes = a!.disk.usedBytes;
    const { raftId, nodeId, address } = sim.machine(3);
    await sim.run(a!.node!.addMember({ raftId, nodeId, address }));
    await sim.startJoined(3, a!.node!.members()); // it needs a snapshot in which it is a member
    await sim.until(() => begun > 0, 'first try');
    await sim.advance(5 * ELECTION_MS);
    expect(begun).toBe(1);
    a!.disk.capacityBytes = Number.POSITIVE_INFINITY;
    await sim.until(() => sim.members.get(3)!.stateMachine.restored.length > 0, 'snapshot');
    noFailures(sim);
  });

  test('an isolated member does not raise the term', async () => {
    const sim = new SimRaft(38);
    const [a] = await sim.cluster(3);
    await sim.propose(a!, 'x');
    const { term } = a!.node!.status();
    sim.isolate(3);
    await sim.advance(10 * ELECTION_MS);
    sim.network.heal();
    await sim.propose(a!, 'y');
    await sim.agreed();
    expect(a!.node!.status()).toMatchObject({ term, role: 'leader' });
  });
});
