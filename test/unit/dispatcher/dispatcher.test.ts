import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { NetworkId, NodeId, TaskId } from '../../../common/model/ids.ts';
import type { Node, NodeDescription } from '../../../common/model/node.ts';
import type { ManagerPeer } from '../../../common/model/session.ts';
import type { Task } from '../../../common/model/task.ts';
import { Dispatcher } from '../../../manager/dispatcher/dispatcher.ts';
import { FEED_COMMITS_MAX } from '../../../manager/store/feed.ts';
import { FakeAgentStream } from '../../support/agent-stream.ts';
import {
  aCluster,
  aNetwork,
  aNetworkSpec,
  aNode,
  aNodeDescription,
  aNodeSpec,
  aTask,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { A_ROOT_PEM } from '../../support/root-certificate.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const nodeId = idOf<NodeId>('nod');
const PERIOD_MS = 2_000;
const DAY_MS = 24 * 3600 * 1000;
const DOWN = { state: 'down', message: '', address: '' } as const;

let store: TestStore;
let dispatcher: Dispatcher;
let failures: unknown[];
let managers: ManagerPeer[];
let managersChanged: () => void;

beforeEach(async () => {
  store = makeStore();
  failures = [];
  managers = [{ nodeId: 'm1', address: '192.0.2.1:2377' }];
  await store.create('cluster', aCluster());
  await store.create('node', aNode({ id: nodeId, description: null, status: DOWN }));
});

afterEach(async () => {
  await dispatcher.stop();
  expect(failures).toEqual([]);
  expect(store.clock.pending).toBe(0);
});

async function lead(): Promise<void> {
  dispatcher = new Dispatcher({
    ...store,
    managers: {
      managers: () => managers,
      onChange: (listener) => {
        managersChanged = listener;
        return () => {};
      },
    },
    log: silentLogger,
    onFailure: (err) => failures.push(err),
  });
  await dispatcher.start();
}

class Agent {
  readonly stream = new FakeAgentStream();
  /** how `serve` ended */
  readonly ended: Promise<unknown>;

  constructor(description: NodeDescription, of: NodeId, address = '192.0.2.7') {
    this.stream.say({ kind: 'hello', description, reports: 0 });
    this.ended = dispatcher
      .serve(of, address, this.stream)
      .then(() => null)
      .catch((err: unknown) => err);
  }

  disconnect(): void {
    this.stream.fail(new SkepError('cancelled', 'connection lost'));
  }
}

async function connect(description = aNodeDescription(), of = nodeId): Promise<Agent> {
  const agent = new Agent(description, of);
  await settle();
  const set = agent.stream.of('assignments').at(-1);
  if (set) agent.stream.say({ kind: 'applied', revision: set.resultsIn });
  await settle();
  return agent;
}

const node = (): Node => store.get('node', nodeId);
const nodeState = (): string => node().status.state;
const assigned = (overrides: Partial<Task> = {}): Task =>
  aTask({ nodeId, status: aTaskStatus({ state: 'assigned' }), ...overrides });

/** Time passes while the agents say that they are alive. */
async function beat(agents: readonly Agent[], periods: number): Promise<void> {
  for (let i = 0; i < periods; i++) {
    for (const { stream } of agents) stream.say({ kind: 'heartbeat' });
    await store.clock.advance(PERIOD_MS);
  }
}

describe('a registration', () => {
  beforeEach(lead);

  test('makes the node ready, with its description and where it came from', async () => {
    const description = aNodeDescription({ hostname: 'vega' });
    await connect(description);
    expect(node()).toMatchObject({
      description,
      status: { state: 'ready', address: '192.0.2.7' },
    });
  });

  test('is answered with the session and the whole set', async () => {
    await store.create('task', assigned());
    const { stream } = await connect();
    expect(stream.sent).toMatchObject([
      {
        kind: 'session',
        heartbeatPeriodMs: PERIOD_MS,
        managers,
        rootCaPem: A_ROOT_PEM,
        nodeSpec: { desiredRole: 'worker', availability: 'active', labels: {} },
      },
      { kind: 'assignments', complete: true, last: true, resultsIn: store.store.revision },
    ]);
  });

  test('comes after what is reported with it: no ready node has a task of which an end is not stored', async () => {
    const [task] = await store.create('task', assigned());
    const stream = new FakeAgentStream();
    stream.say({ kind: 'hello', description: aNodeDescription(), reports: 1 });
    dispatcher.serve(nodeId, '192.0.2.7', stream).catch(() => {}); // it ends with the test
    await settle();
    expect(nodeState()).toBe('down');
    store.proposer.hold = true;
    const updates = [{ taskId: task!.id, status: aTaskStatus({ state: 'failed' }) }];
    stream.say({ kind: 'statuses', sequence: 1, updates, appliedRevision: 0 });
    await store.clock.advance(100);
    expect([store.get('task', task!.id).status.state, nodeState()]).toEqual(['assigned', 'down']);
    expect(store.proposer.held).toBe(1);
    store.proposer.hold = false;
    store.proposer.release();
    await store.clock.advance(100);
    expect([store.get('task', task!.id).status.state, nodeState()]).toEqual(['failed', 'ready']);
    expect(stream.of('session')).toHaveLength(1);
  });

  test('that promises reports and says something else is refused', async () => {
    const stream = new FakeAgentStream();
    stream.say({ kind: 'hello', description: aNodeDescription(), reports: 1 });
    stream.say({ kind: 'heartbeat' });
    await expect(dispatcher.serve(nodeId, '', stream)).rejects.toMatchObject({
      code: 'invalid-argument',
    });
  });

  test('of an unknown node is refused', async () => {
    const { ended } = await connect(aNodeDescription(), idOf('foreign'));
    expect(await ended).toMatchObject({ code: 'not-found' });
  });

  test('with an address that nobody could be called at is refused', async () => {
    const { ended } = await connect(aNodeDescription({ address: 'vega' }));
    expect(await ended).toMatchObject({
      code: 'invalid-argument',
      message: 'parse address "vega": want host:port',
    });
    expect(nodeState()).toBe('down');
  });

  test('with more words than a node may have is refused', async () => {
    const engineLabels = { x: 'x'.repeat(400_000) };
    const { ended } = await connect(aNodeDescription({ engineLabels }));
    expect(await ended).toMatchObject({
      code: 'invalid-argument',
      message: expect.stringMatching(
        /^agent session: description of the node of \d+ bytes exceeds/,
      ),
    });
    expect(nodeState()).toBe('down');
  });

  test('comes first on a stream', async () => {
    const stream = new FakeAgentStream();
    stream.say({ kind: 'heartbeat' });
    await expect(dispatcher.serve(nodeId, '', stream)).rejects.toMatchObject({
      code: 'invalid-argument',
    });
  });

  test('that is not stored yet gets no steps and no announcements', async () => {
    store.proposer.hold = true;
    const { stream } = await connect();
    managersChanged();
    await store.clock.advance(100);
    expect(stream.sent).toEqual([]);
    store.proposer.hold = false;
    store.proposer.release();
    await settle();
    expect(stream.sent.map(({ kind }) => kind)).toEqual(['session', 'assignments']);
  });

  test('a new description in the course of a session is stored', async () => {
    const { stream } = await connect();
    stream.say({ kind: 'description', description: aNodeDescription({ hostname: 'deneb' }) });
    await settle();
    expect(node().description?.hostname).toBe('deneb');
  });
});

describe('a task that is to stop', () => {
  const other = idOf<NodeId>('oth');
  const overlay = aNetwork({ id: idOf<NetworkId>('ovl'), vxlanId: 4096 });
  const attached = (overrides: Partial<Task> = {}): Task =>
    assigned({
      id: idOf<TaskId>('web'),
      desiredState: 'running',
      status: aTaskStatus({ state: 'running' }),
      networks: [{ networkId: overlay.id, addresses: ['10.0.1.5/24'], aliases: [] }],
      ...overrides,
    });
  let home: Agent;
  let away: Agent;

  beforeEach(async () => {
    await lead();
    await store.create('network', overlay);
    await store.create('node', aNode({ id: other, description: null, status: DOWN }));
    await store.create('task', attached());
    await store.create('task', attached({ id: idOf<TaskId>('peer'), nodeId: other }));
    home = await connect();
    away = await connect(aNodeDescription({ address: '192.0.2.8:2377' }), other);
    await beat([home, away], 1);
    await confirm(home);
    await confirm(away);
  });

  async function confirm({ stream }: Agent): Promise<void> {
    const revision = stream.of('assignments').at(-1)?.resultsIn ?? 0;
    stream.say({ kind: 'applied', revision });
    await settle();
  }

  async function stop(task: string): Promise<void> {
    const known = store.get('task', idOf<TaskId>(task));
    await store.store.update((tx) => tx.update('task', { ...known, desiredState: 'shutdown' }));
    await beat([home, away], 1);
  }

  test('is called drained when every node that knew its endpoint has confirmed its end', async () => {
    await stop('web');
    await confirm(home);
    expect(home.stream.of('drained')).toEqual([]);
    await confirm(away);
    expect(home.stream.of('drained')).toEqual([{ kind: 'drained', taskIds: [idOf('web')] }]);
    expect(away.stream.of('drained')).toEqual([]);
  });

  test('may hear it with the statuses of others', async () => {
    await stop('web');
    await confirm(home);
    const appliedRevision = away.stream.of('assignments').at(-1)?.resultsIn ?? 0;
    away.stream.say({ kind: 'statuses', sequence: 1, updates: [], appliedRevision });
    await settle();
    expect(home.stream.of('drained')).toHaveLength(1);
  });

  test.each([
    ['whose session ended', async () => away.disconnect()],
    ['that are removed', () => store.store.update((tx) => tx.remove('node', other))],
    ['that fall silent', () => beat([home], 5)],
  ])('does not wait for nodes %s', async (_, leave) => {
    await stop('web');
    await confirm(home);
    expect(home.stream.of('drained')).toEqual([]);
    await leave();
    await beat([home], 1);
    expect(home.stream.of('drained')).toHaveLength(1);
  });

  test('waits for a node that said that it comes back', async () => {
    await stop('web');
    await confirm(home);
    away.stream.say({ kind: 'pause' });
    await settle();
    away.disconnect();
    await settle();
    expect(home.stream.of('drained')).toEqual([]);
    await connect(aNodeDescription({ address: '192.0.2.8:2377' }), other);
    expect(home.stream.of('drained')).toHaveLength(1);
  });

  test('does not wait for nodes that had nothing of it', async () => {
    const alone = idOf<NodeId>('aln');
    await store.create('node', aNode({ id: alone, description: null, status: DOWN }));
    const third = await connect(aNodeDescription(), alone);
    await stop('web');
    expect(third.stream.of('assignments').slice(1)).toEqual([]);
    await confirm(home);
    await confirm(away);
    expect(home.stream.of('drained')).toHaveLength(1);
  });
});

describe('assignments', () => {
  beforeEach(lead);

  test('follow commits, those of 10 ms in one step', async () => {
    const { stream } = await connect();
    const before = stream.of('assignments')[0]!.resultsIn;
    await store.create('task', assigned());
    await store.create('task', assigned());
    await store.clock.advance(10);
    const steps = stream.of('assignments').slice(1);
    expect(steps).toMatchObject([
      { complete: false, appliesTo: before, resultsIn: store.store.revision },
    ]);
    expect(steps[0]!.changes).toHaveLength(2);
  });

  test('of a session that begins between a commit and its step hold it once', async () => {
    const other = await connect();
    const [task] = await store.create('task', assigned());
    // This session sees the task in its set; the step of the same commit must not follow it.
    const agent = await connect();
    await store.store.update((tx) => tx.remove('task', task!.id));
    await store.clock.advance(20);
    expect(await other.ended).toMatchObject({ code: 'unavailable' });
    expect(agent.stream.of('assignments')).toMatchObject([
      { complete: true, changes: [{ action: 'set', key: task!.id }] },
      { complete: false, changes: [{ action: 'remove', key: task!.id }] },
    ]);
  });

  test('a step is never of changes that its revision has already left behind', async () => {
    const { stream } = await connect();
    const [task] = await store.create('task', assigned());
    await store.clock.advance(5);
    await store.store.update((tx) => tx.remove('task', task!.id));
    await store.clock.advance(5);
    // Both commits are in the one step: what came and went is not sent as if it were there.
    const changes = stream.of('assignments').flatMap((message) => message.changes);
    expect(changes.at(-1)?.action ?? 'remove').toBe('remove');
    expect(stream.of('assignments').at(-1)?.resultsIn).toBe(store.store.revision);
  });

  test('an agent that says that it lacks something gets the whole set', async () => {
    const { stream } = await connect();
    await store.create('task', assigned());
    stream.say({ kind: 'resync' });
    await settle();
    expect(stream.of('assignments').slice(1)).toMatchObject([
      { complete: false, resultsIn: store.store.revision },
      { complete: true, resultsIn: store.store.revision, changes: [{ action: 'set' }] },
    ]);
  });

  test('one that says so again and again gets one each second', async () => {
    const { stream } = await connect();
    const whole = () => stream.of('assignments').filter(({ complete }) => complete).length;
    const before = whole();
    for (let i = 0; i < 5; i++) stream.say({ kind: 'resync' });
    await settle();
    expect(whole() - before).toBe(1);
    await store.clock.advance(990);
    expect(whole() - before).toBe(1);
    await store.clock.advance(10);
    expect(whole() - before).toBe(2);
    await store.clock.advance(1_000);
    expect(whole() - before).toBe(2);
    stream.say({ kind: 'resync' });
    await settle();
    expect(whole() - before).toBe(3);
  });

  test('a reader that fell behind the feed starts over with a whole set', async () => {
    const { stream } = await connect();
    const [task] = await store.create('task', assigned());
    for (let slot = 0; slot <= FEED_COMMITS_MAX; slot++) {
      await store.store.update((tx) => tx.update('task', { ...task!, slot }));
    }
    await store.clock.advance(20);
    expect(stream.of('assignments').at(-1)).toMatchObject({
      complete: true,
      resultsIn: store.store.revision,
    });
  });

  test('an agent that takes nothing is spared the steps, and then gets the whole set', async () => {
    const { stream } = await connect();
    stream.slow = true;
    await store.create('task', assigned());
    await store.clock.advance(10);
    expect(stream.of('assignments')).toHaveLength(2);
    for (let i = 0; i < 3; i++) {
      await store.create('task', assigned());
      await store.clock.advance(10);
    }
    expect(stream.of('assignments')).toHaveLength(2);
    stream.drain();
    await settle();
    expect(stream.of('assignments').slice(2)).toMatchObject([
      { complete: true, resultsIn: store.store.revision },
    ]);
    expect(stream.of('assignments').at(-1)?.changes).toHaveLength(4);
    await store.create('task', assigned());
    await store.clock.advance(10);
    expect(stream.of('assignments').at(-1)).toMatchObject({ complete: false });
  });

  test('one that missed steps gets no other step before the whole set', async () => {
    const { stream } = await connect();
    stream.slow = true;
    for (let i = 0; i < 2; i++) {
      await store.create('task', assigned());
      await store.clock.advance(10);
    }
    expect(stream.of('assignments')).toHaveLength(2);
    // This one is not in a step yet when the agent has taken what it was sent.
    await store.create('task', assigned());
    stream.drain();
    await settle();
    expect(stream.of('assignments').slice(2)).toMatchObject([
      { complete: true, resultsIn: store.store.revision },
    ]);
    expect(stream.of('assignments').at(-1)?.changes).toHaveLength(3);
  });

  test('one that is slow with the whole set that it gets then is waited for again', async () => {
    const { stream } = await connect();
    stream.slow = true;
    for (let i = 0; i < 2; i++) {
      await store.create('task', assigned());
      await store.clock.advance(10);
    }
    const send = stream.send.bind(stream);
    stream.send = (message) => {
      stream.slow ||= message.kind === 'assignments' && message.complete;
      return send(message);
    };
    for (const count of [3, 4]) {
      stream.drain();
      await settle();
      expect(stream.of('assignments')).toHaveLength(count);
      await store.create('task', assigned());
      await store.clock.advance(10);
    }
    expect(stream.of('assignments').slice(2)).toMatchObject([
      { complete: true, changes: { length: 2 } },
      { complete: true, changes: { length: 3 } },
    ]);
  });

  test('one that was slow and missed nothing gets nothing again', async () => {
    const { stream } = await connect();
    stream.slow = true;
    await store.create('task', assigned());
    await store.clock.advance(10);
    stream.drain();
    await settle();
    expect(stream.of('assignments')).toHaveLength(2);
    await store.create('task', assigned());
    await store.clock.advance(10);
    expect(stream.of('assignments').at(-1)).toMatchObject({ complete: false });
  });

  test('a step goes to the nodes that it concerns', async () => {
    await store.create('node', aNode({ id: idOf('other'), description: null, status: DOWN }));
    const here = await connect();
    const there = await connect(aNodeDescription(), idOf('other'));
    const [task] = await store.create('task', assigned());
    await store.clock.advance(10);
    expect(here.stream.of('assignments')).toHaveLength(2);
    expect(there.stream.of('assignments')).toHaveLength(1);
    // A task does not change its node; if one did, both would be told.
    await store.store.update((tx) => tx.update('task', { ...task!, nodeId: idOf('other') }));
    await store.clock.advance(10);
    expect(here.stream.of('assignments').at(-1)?.changes).toMatchObject([{ action: 'remove' }]);
    expect(there.stream.of('assignments').at(-1)?.changes).toMatchObject([{ action: 'set' }]);
    const ipam = [{ subnet: '10.0.0.0/24', gateway: '10.0.0.1', range: '', reserved: {} }];
    await store.create(
      'network',
      aNetwork({ vxlanId: 4096, ipam, spec: aNetworkSpec({ ingress: true }) }),
    );
    await store.clock.advance(10);
    for (const { stream } of [here, there]) {
      expect(stream.of('assignments').at(-1)?.changes).toMatchObject([{ kind: 'network' }]);
    }
  });

  test('a node whose settings changed is told, the others are not', async () => {
    await store.create('node', aNode({ id: idOf('other'), description: null, status: DOWN }));
    const here = await connect();
    const there = await connect(aNodeDescription(), idOf('other'));
    await store.store.update((tx) => {
      const spec = aNodeSpec({ availability: 'drain' });
      tx.update('node', { ...tx.require('node', nodeId), spec });
    });
    await store.clock.advance(10);
    expect(here.stream.of('session')).toHaveLength(2);
    expect(there.stream.of('session')).toHaveLength(1);
  });

  test('a node whose certificate is due is told, and told again when it is no more', async () => {
    const { stream } = await connect();
    const due = async (renewCertificate: boolean): Promise<void> => {
      await store.store.update((tx) => {
        tx.update('node', { ...tx.require('node', nodeId), renewCertificate });
      });
      await store.clock.advance(10);
    };
    await due(true);
    await due(false);
    expect(stream.of('session').map((message) => message.renewCertificate)).toEqual([
      false,
      true,
      false,
    ]);
  });

  test('news of the session are announced to every agent', async () => {
    const { stream } = await connect();
    managers = [...managers, { nodeId: 'm2', address: '192.0.2.2:2377' }];
    managersChanged();
    expect(stream.of('session').at(-1)?.managers).toHaveLength(2);
    await store.store.update((tx) => {
      const spec = aNodeSpec({ desiredRole: 'manager', availability: 'drain' });
      tx.update('node', { ...tx.require('node', nodeId), spec });
    });
    await store.clock.advance(10);
    expect(stream.of('session').at(-1)?.nodeSpec).toMatchObject({
      desiredRole: 'manager',
      availability: 'drain',
    });
  });
});

describe('liveness', () => {
  test('a node is down after three periods of silence, and its session ends', async () => {
    await lead();
    const agent = await connect();
    await beat([agent], 4);
    expect(nodeState()).toBe('ready');
    await store.clock.advance(2 * PERIOD_MS - 200);
    expect(nodeState()).toBe('ready');
    await store.clock.advance(200);
    expect(node().status).toMatchObject({ state: 'down', message: 'heartbeat failure' });
    expect(await agent.ended).toMatchObject({ code: 'deadline-exceeded' });
  });

  test('a node whose connection broke has 2 s to come back', async () => {
    await lead();
    const agent = await connect();
    agent.disconnect();
    await store.clock.advance(1_800);
    expect(nodeState()).toBe('ready');
    const again = await connect();
    await beat([again], 4);
    expect(nodeState()).toBe('ready');
    again.stream.close();
    expect(await again.ended).toBeNull();
    await store.clock.advance(2_200);
    expect(nodeState()).toBe('down');
  });

  test('one that had nothing in force yet may take its time: it backs off', async () => {
    await lead();
    const agent = new Agent(aNodeDescription(), nodeId);
    await settle();
    // What it had in force in an earlier session does not count.
    agent.stream.say({ kind: 'applied', revision: 1 });
    await settle();
    agent.disconnect();
    await store.clock.advance(14_800);
    expect(nodeState()).toBe('ready');
    await store.clock.advance(400);
    expect(nodeState()).toBe('down');
  });

  test('one that said that it pauses has 15 s, as for a restart', async () => {
    await lead();
    const { stream, ended } = await connect();
    stream.say({ kind: 'pause' });
    stream.close();
    expect(await ended).toBeNull();
    await store.clock.advance(14_800);
    expect(nodeState()).toBe('ready');
    await store.clock.advance(400);
    expect(nodeState()).toBe('down');
  });

  test('one whose session this leader ended has as long: it was sent away', async () => {
    await lead();
    const { stream, ended } = await connect();
    stream.full = { from: 0, reason: new SkepError('resource-exhausted', 'slow') };
    await store.create('task', assigned());
    await store.clock.advance(10);
    expect(await ended).toMatchObject({ code: 'resource-exhausted' });
    await store.clock.advance(14_000);
    expect(nodeState()).toBe('ready');
    await store.clock.advance(1_200);
    expect(nodeState()).toBe('down');
  });

  test('a registration that takes long is no silence', async () => {
    await lead();
    store.proposer.hold = true;
    const agent = await connect();
    await store.clock.advance(10 * PERIOD_MS);
    store.proposer.hold = false;
    store.proposer.release();
    await settle();
    await store.clock.advance(2 * PERIOD_MS);
    await beat([agent], 1);
    expect(nodeState()).toBe('ready');
  });

  test('every heartbeat is answered', async () => {
    await lead();
    const agent = await connect();
    await beat([agent], 3);
    expect(agent.stream.of('heartbeat-heard')).toHaveLength(3);
  });

  test('the period grows with the number of nodes, and everybody is told', async () => {
    await lead();
    const agent = await connect();
    for (let i = 0; i < 2_600; i++) {
      await store.create('node', aNode({ id: idOf(`n${i}x`), description: null, status: DOWN }));
      new Agent(aNodeDescription(), idOf(`n${i}x`));
    }
    await store.clock.advance(200);
    expect(agent.stream.of('session').at(-1)?.heartbeatPeriodMs).toBe(3_000);
    await store.clock.advance(3 * PERIOD_MS);
    expect(nodeState()).toBe('ready');
    await store.clock.advance(3_200);
    expect(nodeState()).toBe('down');
  });

  test('the period is that of the cluster', async () => {
    await store.store.update((tx) => {
      const [cluster] = tx.list('cluster');
      const spec = { ...cluster!.spec, dispatcherHeartbeatNanos: 1e9 };
      tx.update('cluster', { ...cluster!, spec });
    });
    await lead();
    const { stream } = await connect();
    expect(stream.of('session')[0]?.heartbeatPeriodMs).toBe(1_000);
    await store.clock.advance(3_500);
    expect(nodeState()).toBe('down');
  });

  test('for a new leader ready nodes are unknown, and down after 20 s', async () => {
    const status = { state: 'ready', message: '', address: '' } as const;
    await store.create('node', aNode({ id: idOf('other'), status }));
    await lead();
    expect(nodeState()).toBe('down');
    expect(store.get('node', idOf('other')).status.state).toBe('unknown');
    await store.clock.advance(19_800);
    expect(store.get('node', idOf('other')).status.state).toBe('unknown');
    await store.clock.advance(400);
    expect(store.get('node', idOf('other')).status.state).toBe('down');
  });

  test('one that registers with the new leader in time is ready', async () => {
    await store.store.update((tx) => tx.update('node', aNode({ id: nodeId })));
    await lead();
    expect(nodeState()).toBe('unknown');
    const agent = await connect();
    await beat([agent], 8);
    expect(nodeState()).toBe('ready');
  });

  test('a node that cannot be marked now is marked later', async () => {
    await lead();
    await connect();
    store.proposer.hold = true;
    await store.clock.advance(3 * PERIOD_MS + 500);
    store.proposer.fail(new SkepError('unavailable', 'busy'));
    await settle();
    expect(nodeState()).toBe('ready');
    store.proposer.hold = false;
    await store.clock.advance(2_400);
    expect(nodeState()).toBe('down');
  });

  test('a node that registers while it is being marked stays ready', async () => {
    await lead();
    await connect();
    store.proposer.hold = true;
    await store.clock.advance(3 * PERIOD_MS + 500);
    expect(store.proposer.held).toBe(1);
    const agent = await connect(aNodeDescription({ hostname: 'again' }));
    store.proposer.hold = false;
    store.proposer.release();
    await settle();
    await beat([agent], 4);
    expect(nodeState()).toBe('ready');
  });

  test('one that says nothing new while it is being marked is ready all the same', async () => {
    await lead();
    const words = aNodeDescription();
    await connect(words);
    store.proposer.hold = true;
    await store.clock.advance(3 * PERIOD_MS + 500);
    const agent = await connect(words); // the store calls it ready: there is nothing to write
    expect(store.proposer.held).toBe(1);
    store.proposer.hold = false;
    store.proposer.release();
    await settle();
    expect(nodeState()).toBe('down');
    await beat([agent], 1);
    expect(nodeState()).toBe('ready');
  });
});

describe('tasks of a lost node', () => {
  const states = ['running', 'failed'] as const;
  const tasks = states.map((state) =>
    aTask({ id: idOf(state), nodeId, status: aTaskStatus({ state }) }),
  );
  const taskStates = () => states.map((state) => store.get('task', idOf(state)).status.state);

  test('are orphaned after it was down for 24 hours; ended ones stay as they are', async () => {
    await store.create('task', ...tasks);
    await lead();
    await store.clock.advance(DAY_MS - 1_000);
    expect(taskStates()).toEqual(['running', 'failed']);
    await store.clock.advance(2_000);
    expect(taskStates()).toEqual(['orphaned', 'failed']);
  }, 30_000);

  test('stay when it came back in time', async () => {
    await store.create('task', ...tasks);
    await lead();
    await store.clock.advance(1_000);
    const agent = await connect();
    const periods = Math.ceil(DAY_MS / PERIOD_MS) + 2;
    await beat([agent], periods);
    expect(taskStates()).toEqual(['running', 'failed']);
  }, 60_000);
});

describe('sessions', () => {
  beforeEach(lead);

  test('a newer one replaces the older', async () => {
    const first = await connect();
    const second = await connect();
    expect(await first.ended).toMatchObject({ code: 'unavailable' });
    await beat([second], 5);
    expect(nodeState()).toBe('ready');
  });

  test('the session of a removed node ends, and nothing is remembered of it', async () => {
    const agent = await connect();
    await store.store.update((tx) => tx.remove('node', nodeId));
    await store.clock.advance(10);
    expect(await agent.ended).toMatchObject({ code: 'permission-denied' });
    const before = store.store.revision;
    await store.clock.advance(10 * PERIOD_MS);
    expect(store.store.revision).toBe(before);
  });

  test('end when the leadership is lost, and none begins after', async () => {
    const agent = await connect();
    await dispatcher.stop();
    expect(await agent.ended).toMatchObject({ code: 'not-leader' });
    expect(await (await connect()).ended).toMatchObject({ code: 'not-leader' });
  });

  test('one that was registering when leadership was lost ends too', async () => {
    store.proposer.hold = true;
    const agent = await connect();
    await dispatcher.stop();
    store.proposer.release();
    expect(await agent.ended).toMatchObject({ code: 'not-leader' });
    expect(agent.stream.sent).toEqual([]);
  });
});

describe('statuses', () => {
  const status = aTaskStatus({ state: 'running' });

  test('are acknowledged after they were committed, with the answer to a heartbeat', async () => {
    await lead();
    const { stream } = await connect();
    const acknowledged = async (): Promise<number[]> => {
      stream.say({ kind: 'heartbeat' });
      await settle();
      return stream.of('heartbeat-heard').map(({ storedSequence }) => storedSequence);
    };
    const [task] = await store.create('task', assigned());
    store.proposer.hold = true;
    stream.say({
      kind: 'statuses',
      sequence: 4,
      updates: [{ taskId: task!.id, status }],
      appliedRevision: 0,
    });
    await store.clock.advance(50);
    expect(await acknowledged()).toEqual([0]);
    store.proposer.hold = false;
    store.proposer.release();
    await settle();
    expect(await acknowledged()).toEqual([0, 4]);
    expect(await acknowledged()).toEqual([0, 4, 0]);
    expect(store.get('task', task!.id).status.state).toBe('running');
  });

  test('that could not be stored end the session without acknowledgement', async () => {
    await lead();
    const { stream, ended } = await connect();
    const [task] = await store.create('task', assigned());
    store.proposer.hold = true;
    stream.say({
      kind: 'statuses',
      sequence: 1,
      updates: [{ taskId: task!.id, status }],
      appliedRevision: 0,
    });
    await store.clock.advance(10);
    store.proposer.fail(new SkepError('unavailable', 'no quorum'));
    stream.say({ kind: 'heartbeat' });
    expect(await ended).toMatchObject({ code: 'unavailable' });
    const acknowledged = stream.of('heartbeat-heard').filter((heard) => heard.storedSequence > 0);
    expect(acknowledged).toEqual([]);
  });
});
