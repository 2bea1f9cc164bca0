/** The public face of the core: founding, refusals, limits, flow control, reads. */
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { confChange, decodeConfChange } from '../../../manager/raft/conf-change.ts';
import type { RaftConfig } from '../../../manager/raft/config.ts';
import {
  LocalMessageError,
  ProposalDroppedError,
  UnknownPeerError,
} from '../../../manager/raft/errors.ts';
import { MemoryStorage } from '../../../manager/raft/memory-storage.ts';
import { RawNode } from '../../../manager/raft/raw-node.ts';
import {
  EMPTY_CONF_STATE,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  type MessageType,
  message,
  NO_BYTES,
  type NodeId,
  type Ready,
} from '../../../manager/raft/types.ts';

interface Started {
  readonly raw: RawNode;
  readonly storage: MemoryStorage;
}

function start(voters: readonly NodeId[], options: Partial<RaftConfig> = {}): Started {
  const storage = new MemoryStorage();
  if (voters.length > 0) {
    const metadata = { index: 0, term: 0, confState: { ...EMPTY_CONF_STATE, voters } };
    storage.applySnapshot({ data: NO_BYTES, metadata });
  }
  const raw = new RawNode({
    id: 1,
    electionTicks: 10,
    heartbeatTicks: 1,
    storage,
    random: new SeededRandom(7),
    maxSizePerMessageBytes: 1 << 20,
    maxInflightMessages: 16,
    preVote: false,
    ...options,
  });
  return { raw, storage };
}

/** Carries out one Ready. */
function drain({ raw, storage }: Started): Ready {
  const ready = raw.ready();
  if (ready.hardState !== null) storage.setHardState(ready.hardState);
  storage.append(ready.entries);
  for (const entry of ready.committedEntries) {
    if (entry.type !== 'normal') raw.applyConfChange(decodeConfChange(entry));
  }
  raw.advance();
  return ready;
}

function drainAll(node: Started): Ready[] {
  const all: Ready[] = [];
  while (node.raw.hasReady()) all.push(drain(node));
  return all;
}

function sent(readies: readonly Ready[], type: MessageType): Message[] {
  return readies.flatMap(({ messages }) => messages.filter((one) => one.type === type));
}

/** A leader of three whose followers have acknowledged everything. */
function leaderOfThree(options: Partial<RaftConfig> = {}): Started {
  const node = start([1, 2, 3], options);
  node.raw.campaign();
  drainAll(node);
  const { term } = node.raw.basicStatus();
  node.raw.step(message({ type: 'vote-response', from: 2, to: 1, term }));
  drainAll(node);
  acknowledge(node, 2);
  acknowledge(node, 3);
  return node;
}

function acknowledge(node: Started, from: NodeId): Ready[] {
  const { term, lastIndex } = node.raw.basicStatus();
  node.raw.step(message({ type: 'append-response', from, to: 1, term, index: lastIndex }));
  return drainAll(node);
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('raft node', () => {
  test('founds a cluster of one by bootstrap and leads it', () => {
    const node = start([]);
    node.raw.bootstrap([{ id: 1, context: bytes('10.0.0.1:2377') }]);
    const founding = drain(node).committedEntries.map(decodeConfChange);
    expect(founding).toEqual([confChange('add-voter', 1, bytes('10.0.0.1:2377'))]);
    node.raw.campaign();
    drainAll(node);
    node.raw.propose(bytes('x'));
    const applied = drainAll(node).flatMap(({ committedEntries }) => committedEntries);
    expect(applied.map(({ data }) => new TextDecoder().decode(data))).toContain('x');
    expect(node.raw.status().confState.voters).toEqual([1]);
  });

  test('a restarted node knows term, vote, commit and members', () => {
    const first = start([]);
    first.raw.bootstrap([{ id: 1, context: NO_BYTES }]);
    drainAll(first);
    first.raw.campaign();
    drainAll(first);
    const before = first.raw.basicStatus();
    const confState = first.raw.status().confState;
    first.storage.createSnapshot(before.applied, confState, NO_BYTES);

    const config = { id: 1, electionTicks: 10, heartbeatTicks: 1, storage: first.storage };
    const again = new RawNode({
      ...config,
      random: new SeededRandom(1),
      maxSizePerMessageBytes: 1000,
      maxInflightMessages: 4,
      applied: before.applied,
    });
    const { term, vote, commit, applied } = again.basicStatus();
    expect({ term, vote, commit, applied }).toEqual({
      term: before.term,
      vote: 1,
      commit: before.commit,
      applied: before.applied,
    });
    expect(again.status().confState.voters).toEqual([1]);
    expect(again.hasReady()).toBe(false);
  });

  test('what was applied counts as committed when the stored commit lies behind', () => {
    const { storage } = start([1]);
    storage.append([1, 2, 3].map((index) => ({ index, term: 1, type: 'normal', data: NO_BYTES })));
    storage.setHardState({ term: 1, vote: 1, commit: 1 });
    const { raw } = start([1], { storage, applied: 3 });
    expect(raw.basicStatus()).toMatchObject({ commit: 3, applied: 3 });
  });

  test.each<MessageType>([
    'hup',
    'beat',
    'unreachable',
    'snapshot-status',
    'check-quorum',
    'storage-append-response',
  ])('refuses %s from the network', (type) => {
    const { raw } = start([1, 2, 3]);
    expect(() => raw.step(message({ type, from: 2 }))).toThrow(LocalMessageError);
  });

  test('refuses responses from strangers', () => {
    const { raw } = start([1, 2, 3]);
    expect(() => raw.step(message({ type: 'vote-response', from: 9, term: 1 }))).toThrow(
      UnknownPeerError,
    );
  });

  test('drops proposals without a leader, and with one when forwarding is off', () => {
    const { raw } = start([1, 2, 3], { disableProposalForwarding: true });
    const reason = (): unknown => {
      try {
        raw.propose(bytes('x'));
        return null;
      } catch (err) {
        return err instanceof ProposalDroppedError ? err.reason : err;
      }
    };
    expect(reason()).toBe('no-leader');
    raw.step(message({ type: 'heartbeat', from: 2, to: 1, term: 5 }));
    expect(reason()).toBe('not-leader');
  });

  test('forwards proposals to the leader when allowed', () => {
    const node = start([1, 2, 3]);
    node.raw.step(message({ type: 'heartbeat', from: 2, to: 1, term: 5 }));
    node.raw.propose(bytes('x'));
    const [forwarded] = sent(drainAll(node), 'propose');
    expect(forwarded).toMatchObject({ to: 2, from: 1, term: 0 });
  });

  test('entries proposed together leave in one append and are dropped together', () => {
    const node = leaderOfThree({ maxUncommittedBytes: 100 });
    node.raw.proposeAll([bytes('a'), bytes('b'), bytes('c')]);
    const appends = sent(drainAll(node), 'append').filter(({ to }) => to === 2);
    expect(appends.map(({ entries }) => entries.length)).toEqual([3]);
    const { lastIndex } = node.raw.basicStatus();
    expect(() => node.raw.proposeAll([bytes('d'), new Uint8Array(100)])).toThrow(
      ProposalDroppedError,
    );
    expect(node.raw.basicStatus().lastIndex).toBe(lastIndex);
  });

  test('drops proposals past the limit of uncommitted bytes until some are committed', () => {
    const node = leaderOfThree({ maxUncommittedBytes: 100 });
    node.raw.propose(new Uint8Array(60));
    drainAll(node);
    expect(() => node.raw.propose(new Uint8Array(60))).toThrow('too-much-uncommitted');
    acknowledge(node, 2);
    node.raw.propose(new Uint8Array(60));
  });

  test('what an earlier leader left is not taken for what this one appended', () => {
    const node = start([1, 2, 3], { maxUncommittedBytes: 100 });
    const entries = [{ index: 1, term: 1, type: 'normal', data: new Uint8Array(90) }] as const;
    node.raw.step(message({ type: 'append', from: 2, to: 1, term: 1, entries }));
    drainAll(node);
    node.raw.campaign();
    drainAll(node);
    node.raw.step(message({ type: 'vote-response', from: 3, to: 1, term: 2 }));
    drainAll(node);
    const { lastIndex } = node.raw.basicStatus();
    node.raw.propose(new Uint8Array(80));
    drainAll(node);
    // Commits the old entry and the leader's first one, not the proposal.
    node.raw.step(message({ type: 'append-response', from: 2, to: 1, term: 2, index: lastIndex }));
    drainAll(node);
    expect(() => node.raw.propose(new Uint8Array(80))).toThrow('too-much-uncommitted');
  });

  test('takes one proposal of any size when nothing is uncommitted, but no larger batch', () => {
    const node = leaderOfThree({ maxUncommittedBytes: 100 });
    const batch = [new Uint8Array(60), new Uint8Array(60)];
    expect(() => node.raw.proposeAll(batch)).toThrow('too-much-uncommitted');
    node.raw.propose(new Uint8Array(600));
  });

  test('an empty tail takes a proposal of any size', () => {
    const node = leaderOfThree({ maxUncommittedBytes: 10 });
    node.raw.propose(new Uint8Array(60));
  });

  test('drops proposals while leadership is being transferred, for one election timeout', () => {
    const node = leaderOfThree({ checkQuorum: false });
    node.raw.propose(bytes('x'));
    node.raw.transferLeader(2);
    expect(() => node.raw.propose(bytes('y'))).toThrow('transfer-in-progress');
    for (let i = 0; i < 10; i++) node.raw.tick();
    node.raw.propose(bytes('z'));
  });

  test('asks the new leader to campaign once it has everything', () => {
    const node = leaderOfThree();
    node.raw.propose(bytes('x'));
    node.raw.transferLeader(3);
    expect(sent(drainAll(node), 'timeout-now')).toEqual([]);
    const asked = sent(acknowledge(node, 3), 'timeout-now');
    expect(asked.map(({ to }) => to)).toEqual([3]);
  });

  test('a member that holds more than its leader shows that the leader lost something', () => {
    const node = leaderOfThree();
    const { term, lastIndex: index } = node.raw.basicStatus();
    const ack = message({ type: 'append-response', from: 2, to: 1, term, index });
    node.raw.step(ack);
    expect(() => node.raw.step({ ...ack, index: index + 1 })).toThrow('was the log damaged');
  });

  test('sends no more than the window to a follower that does not answer', () => {
    const node = leaderOfThree({ maxInflightMessages: 3 });
    for (let i = 0; i < 10; i++) node.raw.propose(bytes('x'));
    const toSecond = sent(drainAll(node), 'append').filter(({ to }) => to === 2);
    expect(toSecond.filter(({ entries }) => entries.length > 0)).toHaveLength(3);
  });

  test('cuts appends at the message size, but sends at least one entry', () => {
    const node = leaderOfThree({ maxSizePerMessageBytes: 100, maxInflightMessages: 1 });
    for (let i = 0; i < 6; i++) node.raw.propose(new Uint8Array(30));
    drainAll(node);
    const { term, lastIndex } = node.raw.basicStatus();
    const index = lastIndex - 5;
    node.raw.step(message({ type: 'append-response', from: 2, to: 1, term, index }));
    const [next] = sent(drainAll(node), 'append').filter(({ to }) => to === 2);
    expect(next!.entries).toHaveLength(1);
  });

  test('a follower that was reported unreachable is probed, one append at a time', () => {
    const node = leaderOfThree();
    node.raw.reportUnreachable(2);
    expect(node.raw.status().progress.get(2)!.state).toBe('probe');
    for (let i = 0; i < 5; i++) node.raw.propose(bytes('x'));
    const toSecond = sent(drainAll(node), 'append').filter(({ to }) => to === 2);
    expect(toSecond.filter(({ entries }) => entries.length > 0)).toHaveLength(1);
  });

  test('refuses a second membership change until the first is applied', () => {
    const node = leaderOfThree();
    expect(node.raw.proposeConfChange(confChange('add-learner', 4))).toBeNull();
    expect(node.raw.proposeConfChange(confChange('add-learner', 5))?.reason).toBe(
      'unapplied-change',
    );
    drainAll(node);
    acknowledge(node, 2);
    drainAll(node);
    expect(node.raw.status().confState.learners).toEqual([4]);
    expect(node.raw.proposeConfChange(confChange('add-learner', 5))).toBeNull();
  });

  test('refuses a membership change that could not be applied', () => {
    const node = start([1]);
    node.raw.campaign();
    drainAll(node);
    const refusal = node.raw.proposeConfChange(confChange('remove', 1));
    expect(refusal).toEqual({ reason: 'impossible', why: 'removed all voters' });
  });

  test('a change that the application refuses with node id 0 changes nothing', () => {
    const node = leaderOfThree();
    const before = node.raw.status().confState;
    expect(node.raw.applyConfChange(confChange('remove', 0))).toEqual(before);
  });

  test('a read waits for a quorum of heartbeat answers', () => {
    const node = leaderOfThree();
    node.raw.readIndex(bytes('r1'));
    const [heartbeat] = sent(drainAll(node), 'heartbeat');
    const { term, commit } = node.raw.basicStatus();
    const context = heartbeat!.context;
    const silent = message({ type: 'heartbeat-response', from: 2, to: 1, term });
    node.raw.step(silent);
    expect(drainAll(node).flatMap(({ readStates }) => readStates)).toEqual([]);
    node.raw.step({ ...silent, context });
    const states = drainAll(node).flatMap(({ readStates }) => readStates);
    expect(states).toEqual([{ index: commit, requestContext: bytes('r1') }]);
  });

  test('a read on a new leader waits for the first entry of its term', () => {
    const node = start([1]);
    node.raw.campaign();
    drain(node);
    node.raw.readIndex(bytes('r1'));
    const states = drainAll(node).flatMap(({ readStates }) => readStates);
    expect(states).toEqual([{ index: 1, requestContext: bytes('r1') }]);
  });

  test('a follower asks the leader for a read point and hands on the answer', () => {
    const node = start([1, 2, 3]);
    node.raw.step(message({ type: 'heartbeat', from: 2, to: 1, term: 5 }));
    node.raw.readIndex(bytes('r1'));
    const [question] = sent(drainAll(node), 'read-index');
    expect(question).toMatchObject({ to: 2, from: 1 });
    node.raw.step(
      message({
        type: 'read-index-response',
        from: 2,
        to: 1,
        term: 5,
        index: 7,
        entries: question!.entries,
      }),
    );
    const states = drainAll(node).flatMap(({ readStates }) => readStates);
    expect(states).toEqual([{ index: 7, requestContext: bytes('r1') }]);
  });

  test('says when a write must be synced: new entries, term or vote, not commit alone', () => {
    const node = start([1, 2, 3]);
    node.raw.step(message({ type: 'heartbeat', from: 2, to: 1, term: 5 }));
    expect(drain(node).mustSync).toBe(true);
    const entries = [{ index: 1, term: 5, type: 'normal' as const, data: NO_BYTES }];
    node.raw.step(message({ type: 'append', from: 2, to: 1, term: 5, entries }));
    expect(drain(node).mustSync).toBe(true);
    node.raw.step(message({ type: 'heartbeat', from: 2, to: 1, term: 5, commit: 1 }));
    expect(drain(node)).toMatchObject({ mustSync: false, hardState: { commit: 1 } });
  });

  test('with async writes a vote leaves only with the write that makes it durable', () => {
    const { raw } = start([1, 2, 3], { asyncStorageWrites: true });
    raw.step(message({ type: 'vote', from: 2, to: 1, term: 3, index: 0, logTerm: 0 }));
    const { messages } = raw.ready();
    expect(messages.map(({ type, to }) => [type, to])).toEqual([
      ['storage-append', LOCAL_APPEND_THREAD],
    ]);
    expect(messages[0]).toMatchObject({ term: 3, vote: 2 });
    expect(messages[0]!.responses.map(({ type, to }) => [type, to])).toEqual([
      ['vote-response', 2],
    ]);
  });

  test('with async writes entries are applied after they are durable', () => {
    const { raw, storage } = start([1], { asyncStorageWrites: true });
    raw.campaign();
    const deliver = (work: Message): void => {
      for (const response of work.responses) raw.step(response);
    };
    const vote = raw.ready().messages[0]!;
    deliver(vote);
    const write = raw.ready().messages[0]!;
    expect(write.entries).toHaveLength(1);
    expect(raw.hasReady()).toBe(false);
    storage.append(write.entries);
    deliver(write);
    const apply = raw.ready().messages.find(({ to }) => to === LOCAL_APPLY_THREAD)!;
    expect(apply.entries.map(({ index }) => index)).toEqual([1]);
    deliver(apply);
    expect(raw.basicStatus().applied).toBe(1);
  });

  test('a second Ready before the first is advanced is a mistake of the caller', () => {
    const { raw } = start([1, 2, 3]);
    raw.ready();
    expect(() => raw.ready()).toThrow('not advanced');
  });

  test('keeps to another timing from the moment that it is told', () => {
    const follower = start([1, 2, 3]);
    follower.raw.setTiming({ electionTicks: 40, heartbeatTicks: 4 });
    let waited = 0;
    while (follower.raw.basicStatus().role === 'follower') {
      follower.raw.tick();
      waited++;
    }
    expect(waited).toBeGreaterThanOrEqual(40);
    expect(waited).toBeLessThan(80);
    for (const timing of [
      { electionTicks: 4, heartbeatTicks: 4 },
      { electionTicks: 4, heartbeatTicks: 0 },
    ]) {
      expect(() => follower.raw.setTiming(timing)).toThrow(/^raft /);
    }
  });

  test('a leader sends heartbeats as often as it is told', () => {
    const node = start([1, 2]);
    node.raw.campaign();
    drainAll(node);
    node.raw.step(message({ type: 'vote-response', from: 2, to: 1, term: 1 }));
    drainAll(node);
    node.raw.setTiming({ electionTicks: 40, heartbeatTicks: 4 });
    const beats: number[] = [];
    for (let tick = 1; tick <= 12; tick++) {
      node.raw.tick();
      const sent = drainAll(node).flatMap(({ messages }) => messages);
      if (sent.some(({ type }) => type === 'heartbeat')) beats.push(tick);
    }
    expect(beats).toEqual([4, 8, 12]);
  });

  test.each<[string, Partial<RaftConfig>]>([
    ['id 0', { id: 0 }],
    ['id past 48 bits', { id: 2 ** 48 }],
    ['no heartbeat', { heartbeatTicks: 0 }],
    ['election not above heartbeat', { electionTicks: 1 }],
    ['no window', { maxInflightMessages: 0 }],
    ['window below a message', { maxInflightBytes: 10 }],
    ['lease without quorum check', { readOnlyMode: 'lease-based', checkQuorum: false }],
  ])('refuses a configuration: %s', (_, options) => {
    expect(() => start([1], options)).toThrow(/^raft /);
  });
});

describe('pre-vote', () => {
  test('a grant of an earlier round does not count in a later one', () => {
    const node = start([1, 2, 3], { preVote: true });
    node.raw.campaign();
    drainAll(node);
    const grant = message({ type: 'pre-vote-response', from: 2, to: 1, term: 1 });
    node.raw.step(message({ type: 'heartbeat', from: 3, to: 1, term: 1 }));
    drainAll(node);
    node.raw.campaign(); // asks about term 2
    drainAll(node);
    node.raw.step(grant); // delayed by the network
    expect(node.raw.basicStatus()).toMatchObject({ role: 'pre-candidate', term: 1 });
    node.raw.step(message({ ...grant, term: 2 }));
    expect(node.raw.basicStatus()).toMatchObject({ role: 'candidate', term: 2 });
  });
});
