import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { Random } from '../../../common/base/random.ts';
import type { DispatcherMessage } from '../../../common/model/session.ts';
import { Agent } from '../../../worker/agent/agent.ts';
import { StatusReporter } from '../../../worker/agent/status-reporter.ts';
import { TaskDatabase } from '../../../worker/agent/task-database.ts';
import { TaskManager } from '../../../worker/agent/task-manager.ts';
import { assignments, checksumOf, set, step } from '../../support/assignments.ts';
import { aNodeDescription, aTask, aTaskStatus } from '../../support/builders.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { FakeDialer } from '../../support/fake-dispatcher.ts';
import { FakeExecutor } from '../../support/fake-executor.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

type SessionMessage = Extract<DispatcherMessage, { kind: 'session' }>;

const folder = temporaryFolders();
/** Half of every bound: back-off delays are half their limit, heartbeats without jitter. */
const MIDDLE: Random = {
  bytes: (length) => new Uint8Array(length),
  below: (bound) => Math.floor(bound / 2),
  unit: () => 0.5,
};

const running: Agent[] = [];
afterEach(async () => {
  for (const agent of running.splice(0)) await agent.stop();
});

async function scene() {
  const clock = new FakeClock();
  const dialer = new FakeDialer();
  const executor = new FakeExecutor();
  const reporter = new StatusReporter();
  const heard: SessionMessage[] = [];
  const failures: unknown[] = [];
  const onFailure = (err: unknown): void => void failures.push(err);
  const tasks = new TaskManager({
    executor,
    database: new TaskDatabase(await folder(), silentLogger),
    reporter,
    clock,
    log: silentLogger,
    onFailure,
  });
  const agent = new Agent({
    dialer,
    tasks,
    reporter,
    describe: () => executor.describe(),
    onSession: (message) => heard.push(message),
    clock,
    random: MIDDLE,
    log: silentLogger,
    onFailure,
  });
  running.push(agent);
  return { clock, dialer, executor, reporter, tasks, agent, heard, failures };
}

async function started() {
  const it = await scene();
  await it.agent.start();
  await settle();
  return it;
}

function sessionMessage(overrides: Partial<SessionMessage> = {}): SessionMessage {
  return {
    kind: 'session',
    heartbeatPeriodMs: 5_000,
    managers: [{ nodeId: 'm1', address: '10.0.0.1:2377' }],
    rootCaPem: 'root',
    nodeSpec: { desiredRole: 'worker', availability: 'active', labels: {} },
    renewCertificate: false,
    ...overrides,
  };
}

describe('agent session', () => {
  test('begins with the description of the node', async () => {
    const it = await started();
    expect(it.dialer.session.sent).toEqual([
      { kind: 'hello', description: it.executor.description, reports: 0 },
    ]);
  });

  test('passes on what the session message says', async () => {
    const it = await started();
    const message = sessionMessage();
    it.dialer.session.push(message);
    await settle();
    expect(it.heard).toEqual([message]);
    expect(it.dialer.learned).toEqual([['10.0.0.1:2377']]);
  });

  test('tells who waits for it of the first greeting, and lets others go', async () => {
    const it = await started();
    const told: string[] = [];
    const { signal } = new AbortController();
    const gone = new AbortController();
    const waiting = it.agent.whenGreeted(signal).then(() => told.push('greeted'));
    const lost = it.agent.whenGreeted(gone.signal);
    gone.abort(new Error('too long'));
    await expect(lost).rejects.toThrow('too long');
    expect(told).toEqual([]);
    it.dialer.session.push(sessionMessage());
    await waiting;
    expect(told).toEqual(['greeted']);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    await it.agent.whenGreeted(signal);
  });

  test('says when a set is in force', async () => {
    const it = await started();
    const task = aTask({ status: aTaskStatus({ state: 'assigned' }) });
    it.dialer.session.push(assignments({ resultsIn: 7, changes: [set(task)] }));
    await it.clock.advance(10);
    expect(it.tasks.list()).toHaveLength(1);
    expect(it.dialer.session.sent.slice(1)).toMatchObject([
      { kind: 'statuses', updates: [{ taskId: task.id }], appliedRevision: 7 },
    ]);
    // Without any status to go with it, by itself.
    it.dialer.session.push(assignments({ complete: false, appliesTo: 7, resultsIn: 8 }));
    await it.clock.advance(10);
    expect(it.dialer.session.sent.at(-1)).toEqual({ kind: 'applied', revision: 8 });
  });

  test('puts a set in parts in force once, with its last part', async () => {
    const it = await started();
    const [a, b] = [aTask(), aTask()];
    it.dialer.session.push(assignments({ last: false, changes: [set(a)] }));
    await settle();
    expect(it.tasks.list()).toEqual([]);
    it.dialer.session.push(assignments({ changes: [set(b)] }));
    await it.clock.advance(10);
    expect(it.tasks.list()).toHaveLength(2);
    expect(it.dialer.session.sent.slice(1)).toMatchObject([
      { kind: 'statuses', appliedRevision: 1 },
    ]);
  });

  test('asks for the whole set when it lacks something, and puts nothing in force before that is there', async () => {
    const it = await started();
    const [kept, lost] = [aTask(), aTask()].map((task) => ({
      ...task,
      status: aTaskStatus({ state: 'assigned' }),
      desiredState: 'ready' as const,
    }));
    const checksum = checksumOf([set(kept!), set(lost!)]);
    const { session } = it.dialer;
    session.push(assignments({ resultsIn: 1, checksum: checksumOf([]) }));
    await it.clock.advance(10);
    session.push(step({ appliesTo: 1, resultsIn: 2, changes: [set(kept!)], checksum }));
    session.push(step({ appliesTo: 2, resultsIn: 3, checksum }));
    await it.clock.advance(10);
    expect(it.tasks.list()).toEqual([]);
    expect(session.sent.slice(1)).toEqual([{ kind: 'applied', revision: 1 }, { kind: 'resync' }]);
    expect(it.agent.differences).toBe(2);
    const changes = [set(kept!), set(lost!)];
    session.push(assignments({ appliesTo: 3, resultsIn: 3, changes, checksum }));
    await it.clock.advance(10);
    expect(session.sent.at(-1)).toMatchObject({ kind: 'statuses', appliedRevision: 3 });
    expect(it.tasks.list()).toHaveLength(2);
  });

  test('sends the newest statuses of 10 ms together, and again what was not stored, in the next session', async () => {
    const it = await started();
    const task = aTask({ status: aTaskStatus({ state: 'assigned' }), desiredState: 'ready' });
    const other = aTask({ status: aTaskStatus({ state: 'assigned' }) });
    it.dialer.session.push(assignments({ changes: [set(task), set(other)] }));
    const sent = () =>
      it.dialer.session.sent.flatMap((message) =>
        message.kind === 'statuses' ? [message.updates.map(({ status }) => status.state)] : [],
      );
    await it.clock.advance(9);
    expect(sent()).toEqual([]);
    await it.clock.advance(1);
    expect(sent()).toEqual([['ready', 'running']]);
    it.dialer.session.push(null);
    await it.clock.advance(100);
    expect(it.dialer.sessions).toHaveLength(2);
    // With the greeting: before they are stored the node is not ready.
    expect(it.dialer.session.sent[0]).toMatchObject({ kind: 'hello', reports: 1 });
    expect(it.dialer.session.sent[1]).toMatchObject({
      kind: 'statuses',
      updates: [
        { taskId: task.id, status: { state: 'ready' } },
        { taskId: other.id, status: { state: 'running' } },
      ],
    });
  });

  test('an acknowledged status is sent once per session', async () => {
    const it = await started();
    const status = aTaskStatus({ state: 'running' });
    it.reporter.report(aTask().id, status);
    await it.clock.advance(10);
    const message = it.dialer.session.sent.at(-1);
    expect(message).toMatchObject({ kind: 'statuses' });
    if (message?.kind === 'statuses') {
      it.dialer.session.push({ kind: 'heartbeat-heard', storedSequence: message.sequence });
    }
    await settle();
    it.dialer.session.push(null);
    await it.clock.advance(100);
    expect(it.dialer.session.kinds()).toEqual(['hello']);
  });

  test('beats from the first session message on, at the period that it names', async () => {
    const it = await started();
    await it.clock.advance(10_000);
    expect(it.dialer.session.kinds()).toEqual(['hello']);
    it.dialer.session.push(sessionMessage());
    await it.clock.advance(4_999);
    expect(it.dialer.session.kinds()).toEqual(['hello']);
    await it.clock.advance(5_001);
    expect(it.dialer.session.kinds()).toEqual(['hello', 'heartbeat', 'heartbeat']);
    it.dialer.session.push(sessionMessage({ heartbeatPeriodMs: 1_000 }));
    await it.clock.advance(3_000);
    expect(it.dialer.session.kinds().filter((kind) => kind === 'heartbeat')).toHaveLength(5);
  });

  test('ends when the manager answers no heartbeat any more, and another one is asked', async () => {
    const it = await started();
    const { session } = it.dialer;
    session.push(sessionMessage({ heartbeatPeriodMs: 2_000 }));
    await it.clock.advance(6_000);
    session.answers = false;
    await it.clock.advance(5_900);
    expect(session.closed).toBe(false);
    await it.clock.advance(200);
    expect(session.closed).toBe(true);
    expect(it.dialer.sessions).toHaveLength(2);
  });

  test('ends when nobody registers the node for 15 s', async () => {
    const it = await started();
    await it.clock.advance(14_900);
    expect(it.dialer.sessions).toHaveLength(1);
    await it.clock.advance(200);
    expect(it.dialer.sessions).toHaveLength(2);
  });

  test('sends a description that changed at once when it is told so, and only then', async () => {
    const it = await started();
    it.dialer.session.push(sessionMessage());
    await settle();
    it.agent.describeAgain();
    expect(it.dialer.session.kinds()).not.toContain('description');
    const description = aNodeDescription({ engineLabels: { rack: '7' } });
    it.executor.description = description;
    it.agent.describeAgain();
    expect(it.dialer.session.sent).toContainEqual({ kind: 'description', description });
  });

  test('looks at the node every 20 s and sends a description that changed', async () => {
    const it = await started();
    it.dialer.session.push(sessionMessage());
    await it.clock.advance(20_000);
    expect(it.dialer.session.kinds()).not.toContain('description');
    const description = aNodeDescription({ engineLabels: { rack: '7' } });
    it.executor.description = description;
    await it.clock.advance(19_999);
    expect(it.dialer.session.kinds()).not.toContain('description');
    await it.clock.advance(1);
    expect(it.dialer.session.sent).toContainEqual({ kind: 'description', description });
    await it.clock.advance(20_000);
    expect(it.dialer.session.kinds().filter((kind) => kind === 'description')).toHaveLength(1);
  });

  test('nothing of an ended session goes on', async () => {
    const it = await started();
    const { session } = it.dialer;
    it.dialer.failures.push(...Array.from({ length: 100 }, () => new Error('refused')));
    session.push(null);
    await settle();
    const count = session.sent.length;
    it.executor.description = aNodeDescription();
    it.reporter.report(aTask().id, aTaskStatus());
    await it.clock.advance(60_000);
    expect(session.closed).toBe(true);
    expect(session.sent).toHaveLength(count);
  });

  test('a gap in the steps ends it; the next one begins with the whole set', async () => {
    const it = await started();
    it.dialer.session.push(assignments({ resultsIn: 3 }));
    it.dialer.session.push(assignments({ complete: false, appliesTo: 5, resultsIn: 6 }));
    await settle();
    expect(it.dialer.session.closed).toBe(true);
    await it.clock.advance(100);
    expect(it.dialer.sessions).toHaveLength(2);
    expect(it.failures).toEqual([]);
  });

  test('a network that cannot be programmed ends it, without a word that the set is in force', async () => {
    const it = await started();
    it.executor.networkFailure = new Error('netlink: ENOMEM');
    it.dialer.session.push(assignments());
    await settle();
    expect(it.dialer.session.closed).toBe(true);
    expect(it.dialer.session.kinds()).not.toContain('applied');
  });
});

describe('agent between sessions', () => {
  test('doubles its back-off up to 5 s while managers cannot be reached', async () => {
    const it = await scene();
    it.dialer.failures.push(...Array.from({ length: 20 }, () => new Error('refused')));
    await it.agent.start();
    const gapsMs: number[] = [];
    for (let attempt = 1; attempt < 10; attempt++) {
      const fromMs = it.clock.monotonicMs();
      while (it.dialer.attempts === attempt) await it.clock.advance(10);
      gapsMs.push(it.clock.monotonicMs() - fromMs);
    }
    expect(gapsMs).toEqual([50, 100, 200, 400, 800, 1_600, 2_500, 2_500, 2_500]);
  });

  test.each<[string, DispatcherMessage[], number]>([
    ['starts over after a set was applied', [sessionMessage(), assignments()], 50],
    ['goes on growing after a session that applied nothing', [sessionMessage()], 400],
  ])('its back-off %s', async (_what, messages, delayMs) => {
    const it = await scene();
    it.dialer.failures.push(new Error('refused'), new Error('refused'), new Error('refused'));
    await it.agent.start();
    await it.clock.advance(400);
    expect(it.dialer.sessions).toHaveLength(1);
    it.dialer.session.push(...messages, null);
    await it.clock.advance(delayMs - 1);
    expect(it.dialer.sessions).toHaveLength(1);
    await it.clock.advance(1);
    expect(it.dialer.sessions).toHaveLength(2);
  });

  test('goes on asking managers who refuse this node', async () => {
    const it = await scene();
    it.dialer.failures.push(new SkepError('permission-denied', 'node was removed'));
    await it.agent.start();
    await it.clock.advance(100);
    expect(it.dialer.sessions).toHaveLength(1);
    expect(it.failures).toEqual([]);
  });

  test('says that managers refuse this node, and asks them ever more rarely, until they do not', async () => {
    const it = await scene();
    const removed = new SkepError('permission-denied', 'node was removed');
    it.dialer.failures.push(...Array.from({ length: 12 }, () => removed));
    expect(it.agent.refusal).toBe('');
    await it.agent.start();
    await settle();
    expect(it.agent.refusal).toBe('node was removed');
    await it.clock.advance(50_000); // 50 ms, then twice as long each time: 51,150 ms to the eleventh
    expect(it.dialer.attempts).toBe(10);
    it.dialer.failures.splice(0, it.dialer.failures.length, new Error('no manager is reached'));
    await it.clock.advance(1_150);
    expect(it.dialer.attempts).toBe(11);
    expect(it.agent.refusal).toBe('node was removed');
    await it.clock.advance(30_000);
    it.dialer.session.push(sessionMessage());
    await settle();
    expect(it.agent.refusal).toBe('');
  });

  test('tasks go on without a session', async () => {
    const it = await started();
    const task = aTask({ status: aTaskStatus({ state: 'assigned' }) });
    it.executor.onController = (controller) => controller.hold('prepare');
    it.dialer.session.push(assignments({ changes: [set(task)] }));
    await settle();
    it.dialer.failures.push(...Array.from({ length: 50 }, () => new Error('refused')));
    it.dialer.session.push(new Error('reset'));
    await settle();
    it.executor.require(task.id).finish('prepare');
    await settle();
    expect(it.tasks.list()[0]?.status.state).toBe('running');
  });

  test('tells the manager that it will be back when it stops, or ends the session itself', async () => {
    const it = await started();
    const { session } = it.dialer;
    session.push(assignments({ resultsIn: 3 }));
    session.push(assignments({ complete: false, appliesTo: 5, resultsIn: 6 }));
    await settle();
    expect(session.paused).toBe(true);
    await it.clock.advance(100);
    await it.agent.stop();
    expect(it.dialer.session.paused).toBe(true);
  });

  test('says nothing of the kind when the node leaves, or the manager ended the session', async () => {
    const it = await started();
    const { session } = it.dialer;
    session.push(null);
    await it.clock.advance(100);
    expect(session.paused).toBe(false);
    await it.agent.endSession();
    expect(it.dialer.session).toMatchObject({ paused: false, closed: true });
  });

  test.each(['in a session', 'while it waits for the next one'])('stops %s', async (when) => {
    const it = await started();
    if (when !== 'in a session') {
      it.dialer.session.push(null);
      await settle();
    }
    await it.agent.stop();
    const { attempts } = it.dialer;
    expect(it.clock.pending).toBe(0);
    await it.clock.advance(60_000);
    expect(it.dialer.attempts).toBe(attempts);
    expect(it.failures).toEqual([]);
  });
});
