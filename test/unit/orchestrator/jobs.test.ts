import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ServiceId, TaskId } from '../../../common/model/ids.ts';
import type { Availability, Node } from '../../../common/model/node.ts';
import { ANYWHERE, type RestartPolicy, type ServiceSpec } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { applyOrchestration } from '../../../manager/orchestrator/apply.ts';
import { aNode, aTaskSpec, idOf } from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';

const job = (totalCompletions: number, maxConcurrent = totalCompletions) => ({
  mode: { kind: 'replicated-job' as const, maxConcurrent, totalCompletions },
});
const restart = (policy: Partial<RestartPolicy>) => ({
  task: aTaskSpec({
    restart: {
      condition: 'on-failure',
      delayNanos: 5e9,
      maxAttempts: 0,
      windowNanos: 0,
      ...policy,
    },
  }),
});
const again = (spec: ServiceSpec): ServiceSpec => ({
  ...spec,
  task: { ...spec.task, forceUpdate: spec.task.forceUpdate + 1 },
});

let rooms: ControlRooms;
beforeEach(async () => {
  rooms = await ControlRooms.start(3);
});
afterEach(() => rooms.stop());

const complete = async (task: Task | undefined): Promise<void> => {
  await rooms.report(task!.id, 'complete');
  await rooms.rest();
};
const make = async ({ id }: Node, availability: Availability): Promise<void> => {
  await rooms.setNode(id, (it) => ({ ...it, spec: { ...it.spec, availability } }));
  await rooms.rest();
};
const completed = (id: ServiceId): Task[] =>
  rooms.tasks(id).filter(({ status }) => status.state === 'complete');
const slots = (tasks: readonly Task[]): (number | null)[] => tasks.map(({ slot }) => slot);

describe('replicated job', () => {
  test('its tasks are wanted complete, in slots from 0, and carry the iteration', async () => {
    const { id } = await rooms.deploy(job(2));
    expect(slots(rooms.running(id))).toEqual([0, 1]);
    for (const task of rooms.tasks(id)) {
      expect(task).toMatchObject({ desiredState: 'complete', jobIteration: 0 });
    }
  });

  test('only so many run at once, and the next begins when one has completed', async () => {
    const { id } = await rooms.deploy(job(5, 2));
    expect(slots(rooms.running(id))).toEqual([0, 1]);
    await complete(rooms.running(id)[0]);
    expect(slots(rooms.running(id))).toEqual([1, 2]);
    await complete(rooms.running(id)[1]);
    expect(slots(rooms.running(id))).toEqual([1, 3]);
  });

  test('ends when every slot has completed once: nothing more is created', async () => {
    rooms.outcome = () => 'complete';
    const { id } = await rooms.deploy(job(5, 2));
    await rooms.pass(20_000, 1000);
    expect(slots(completed(id))).toEqual([0, 1, 2, 3, 4]);
    expect(rooms.tasks(id)).toHaveLength(5);
    expect(rooms.tasks(id).every(({ desiredState }) => desiredState === 'complete')).toBe(true);
  });

  test('with nothing to complete, or nothing allowed at once, no task is made', async () => {
    const nothing = await rooms.deploy(job(0, 3));
    const stuck = await rooms.deploy(job(3, 0));
    expect([...rooms.tasks(nothing.id), ...rooms.tasks(stuck.id)]).toEqual([]);
  });

  test.each(['any', 'on-failure'] as const)(
    'condition %s: a failed task is tried again in its slot after the delay',
    async (condition) => {
      const { id } = await rooms.deploy({ ...job(2), ...restart({ condition }) });
      const [first] = rooms.running(id);
      await rooms.report(first!.id, 'failed');
      await rooms.pass(4900);
      expect(slots(rooms.running(id))).toEqual([1]);
      await rooms.pass(200);
      expect(rooms.running(id)).toMatchObject([
        { slot: 0, desiredState: 'complete', jobIteration: 0 },
        { slot: 1 },
      ]);
    },
  );

  test.each(['any', 'on-failure'] as const)(
    'condition %s: a completed task is not run again',
    async (condition) => {
      rooms.outcome = () => 'complete';
      const { id } = await rooms.deploy({ ...job(1), ...restart({ condition }) });
      await rooms.pass(20_000, 1000);
      expect(rooms.tasks(id)).toHaveLength(1);
    },
  );

  test('condition none: a failed slot is given up, the others go on', async () => {
    const { id } = await rooms.deploy({ ...job(3, 1), ...restart({ condition: 'none' }) });
    await rooms.report(rooms.running(id)[0]!.id, 'failed');
    await rooms.rest();
    expect(slots(rooms.running(id))).toEqual([1]);
    rooms.outcome = () => 'complete';
    await complete(rooms.running(id)[0]);
    await rooms.pass(20_000, 1000);
    expect(slots(completed(id))).toEqual([1, 2]);
    expect(rooms.tasks(id)).toHaveLength(3);
  });

  test('a slot is given up after max attempts, and a new leader does not begin anew', async () => {
    rooms.outcome = () => 'failed';
    const { id } = await rooms.deploy({
      ...job(1),
      ...restart({ maxAttempts: 2, delayNanos: 1e9 }),
    });
    await rooms.pass(10_000, 500);
    expect(rooms.tasks(id)).toHaveLength(3);
    await rooms.stop();
    await rooms.lead();
    await rooms.pass(10_000, 500);
    expect(rooms.tasks(id)).toHaveLength(3);
  });

  test('a task that fails while it waits for its delay is not tried again before', async () => {
    const { id } = await rooms.deploy({ ...job(1), ...restart({}) });
    await rooms.report(rooms.running(id)[0]!.id, 'failed');
    await rooms.rest();
    await rooms.report(rooms.tasks(id)[1]!.id, 'rejected');
    await rooms.pass(4900);
    expect(rooms.tasks(id)).toHaveLength(2);
    await rooms.pass(200);
    expect(rooms.tasks(id)).toHaveLength(3);
  });

  test('a task that waits for its restart holds its place among the concurrent ones', async () => {
    const { id } = await rooms.deploy({ ...job(3, 1), ...restart({}) });
    await rooms.report(rooms.running(id)[0]!.id, 'failed');
    await rooms.pass(3000);
    expect(slots(rooms.tasks(id))).toEqual([0, 0]);
  });

  test.each<[string, (id: Node) => Promise<void>]>([
    ['is drained', (node) => make(node, 'drain')],
    [
      'is down',
      async ({ id }) => {
        rooms.silent.add(id);
        await rooms.setNode(id, (it) => ({ ...it, status: { ...it.status, state: 'down' } }));
        await rooms.rest();
      },
    ],
  ])('a task whose node %s moves at once, under any policy', async (_, lose) => {
    const { id } = await rooms.deploy({ ...job(1), ...restart({ condition: 'none' }) });
    const [lost] = rooms.running(id);
    await lose(rooms.nodes().find((node) => node.id === lost!.nodeId)!);
    expect(rooms.test.get('task', lost!.id).desiredState).toBe('shutdown');
    const [moved] = rooms.running(id).filter((task) => task.id !== lost!.id);
    expect(moved).toMatchObject({ slot: 0, desiredState: 'complete' });
    expect(moved!.nodeId).not.toBe(lost!.nodeId);
  });

  test('a task whose node no longer meets the constraints moves, under any policy', async () => {
    const placement = { ...ANYWHERE, constraints: ['node.labels.disk == ssd'] };
    const { task } = restart({ condition: 'none' });
    const label = async ({ id }: Node, labels: Record<string, string>): Promise<void> => {
      await rooms.setNode(id, (it) => ({ ...it, spec: { ...it.spec, labels } }));
      await rooms.rest();
    };
    const [first, second] = rooms.nodes();
    await label(first!, { disk: 'ssd' });
    const { id } = await rooms.deploy({ ...job(1), task: { ...task, placement } });
    expect(rooms.running(id).map(({ nodeId }) => nodeId)).toEqual([first!.id]);
    await label(second!, { disk: 'ssd' });
    await label(first!, {});
    await rooms.pass(6000, 1000);
    expect(rooms.running(id).map(({ nodeId }) => nodeId)).toEqual([second!.id]);
  });

  test('a slot keeps its place among the concurrent ones while it moves', async () => {
    const { id } = await rooms.deploy({ ...job(3, 1), ...restart({ condition: 'none' }) });
    const [lost] = rooms.running(id);
    rooms.deaf.add(lost!.id);
    await make(rooms.nodes().find((node) => node.id === lost!.nodeId)!, 'drain');
    expect(slots(rooms.tasks(id))).toEqual([0, 0]);
    expect(rooms.tasks(id)[1]).toMatchObject({ desiredState: 'ready' });
  });

  test('a drain leaves completed tasks alone', async () => {
    rooms.outcome = () => 'complete';
    const { id } = await rooms.deploy(job(3));
    for (const node of rooms.nodes()) await make(node, 'drain');
    expect(completed(id)).toHaveLength(3);
    expect(rooms.tasks(id)).toHaveLength(3);
  });

  test('an update begins a new iteration: what still runs goes, every slot is due again', async () => {
    const { id } = await rooms.deploy(job(2));
    await complete(rooms.running(id)[0]);
    const [left] = rooms.running(id);
    await rooms.change(id, again);
    await rooms.rest();
    expect(rooms.service(id).jobStatus!.iteration).toBe(1);
    expect(rooms.tasks(id).some((task) => task.id === left!.id)).toBe(false);
    expect(rooms.running(id)).toMatchObject([
      { slot: 0, jobIteration: 1 },
      { slot: 1, jobIteration: 1 },
    ]);
    expect(rooms.service(id).updateStatus).toBeNull();
  });

  test('what an old iteration leaves running counts among the concurrent ones', async () => {
    const { id } = await rooms.deploy(job(2, 1));
    const [old] = rooms.running(id);
    rooms.deaf.add(old!.id);
    await rooms.change(id, again);
    await rooms.rest();
    expect(rooms.tasks(id).map((task) => task.id)).toEqual([old!.id]);
    await rooms.report(old!.id, 'shutdown');
    await rooms.rest();
    expect(rooms.running(id)).toMatchObject([{ slot: 0, jobIteration: 1 }]);
  });

  test('completed tasks of past iterations are kept up to the history limit', async () => {
    rooms.outcome = () => 'complete';
    const { id } = await rooms.deploy(job(2));
    for (let i = 0; i < 7; i++) {
      await rooms.change(id, again);
      await rooms.pass(500);
    }
    expect(rooms.tasks(id).map(({ jobIteration }) => jobIteration)).toEqual(
      [0, 1].flatMap(() => [3, 4, 5, 6, 7]),
    );
  });

  test('endless failures do not fill the store', async () => {
    rooms.outcome = () => 'failed';
    const { id } = await rooms.deploy({ ...job(1), ...restart({ delayNanos: 1e8 }) });
    await rooms.pass(20_000, 100);
    expect(rooms.tasks(id).length).toBeLessThanOrEqual(8); // 5, and those of the last 250 ms
  });

  test('a new leader goes on where the last one stopped', async () => {
    const { id } = await rooms.deploy(job(4, 2));
    await complete(rooms.running(id)[0]);
    const before = rooms.tasks(id).map((task) => task.id);
    await rooms.stop();
    await rooms.lead();
    await rooms.rest();
    expect(rooms.tasks(id).map((task) => task.id)).toEqual(before);
  });

  test('the tasks of a removed job stop and vanish, completed ones too', async () => {
    const { id } = await rooms.deploy(job(3));
    await complete(rooms.running(id)[0]);
    await rooms.test.store.update((tx) => tx.remove('service', id));
    await rooms.rest();
    expect(rooms.tasks(id)).toEqual([]);
  });
});

test('a task planned for one iteration is not written into another with the same spec', async () => {
  // As after two rollbacks: the spec version is the old one again, the iteration is not.
  const { id } = await rooms.deploy(job(0));
  const planned = rooms.service(id);
  const taskId = idOf<TaskId>('late');
  await rooms.test.store.update((tx) => {
    tx.update('service', {
      ...tx.require('service', id),
      jobStatus: { iteration: 2, lastExecutionMs: 0 },
    });
    applyOrchestration(
      tx,
      {
        kind: 'create',
        taskId,
        service: planned,
        place: { slot: 0, nodeId: null },
        desiredState: 'complete',
        stops: [],
      },
      0,
    );
  });
  expect(rooms.tasks(id)).toEqual([]);
});

describe('global job', () => {
  const everywhere = { mode: { kind: 'global-job' as const } };
  const nodesOf = (tasks: readonly Task[]) => new Set(tasks.map(({ nodeId }) => nodeId));

  test('runs once on every node', async () => {
    rooms.outcome = () => 'complete';
    const { id } = await rooms.deploy(everywhere);
    await rooms.pass(20_000, 1000);
    expect(nodesOf(completed(id)).size).toBe(3);
    expect(rooms.tasks(id)).toHaveLength(3);
    expect(rooms.tasks(id)).toMatchObject(
      Array(3).fill({ slot: null, desiredState: 'complete', jobIteration: 0 }),
    );
  });

  test('only where constraints hold, and on a node that meets them later', async () => {
    const placement = { ...ANYWHERE, constraints: ['node.labels.disk == ssd'] };
    const { id } = await rooms.deploy({ ...everywhere, task: aTaskSpec({ placement }) });
    expect(rooms.tasks(id)).toEqual([]);
    const [node] = rooms.nodes();
    await rooms.setNode(node!.id, (it) => ({
      ...it,
      spec: { ...it.spec, labels: { disk: 'ssd' } },
    }));
    await rooms.rest();
    expect(rooms.running(id).map(({ nodeId }) => nodeId)).toEqual([node!.id]);
  });

  test('a paused node gets no task, and keeps what it has', async () => {
    const [node] = rooms.nodes();
    const { id } = await rooms.deploy(everywhere);
    await make(node!, 'pause');
    expect(nodesOf(rooms.running(id)).size).toBe(3);
    const later = await rooms.deploy(everywhere);
    expect(nodesOf(rooms.tasks(later.id)).has(node!.id)).toBe(false);
    await make(node!, 'active');
    expect(nodesOf(rooms.running(later.id)).size).toBe(3);
  });

  test('a node that the leader has not heard of gets no task yet', async () => {
    const [node] = rooms.nodes();
    const be = (state: 'unknown' | 'ready') =>
      rooms.setNode(node!.id, (it) => ({ ...it, status: { ...it.status, state } }));
    await be('unknown');
    const { id } = await rooms.deploy(everywhere);
    expect(nodesOf(rooms.tasks(id)).has(node!.id)).toBe(false);
    await be('ready');
    await rooms.rest();
    expect(nodesOf(rooms.running(id)).size).toBe(3);
  });

  test('a node that comes later runs it, too', async () => {
    rooms.outcome = () => 'complete';
    const { id } = await rooms.deploy(everywhere);
    await rooms.test.create('node', aNode());
    await rooms.rest();
    expect(nodesOf(completed(id)).size).toBe(4);
  });

  test('a node that comes back begins only when its old task has stopped', async () => {
    const [node] = rooms.nodes();
    const { id } = await rooms.deploy(everywhere);
    const old = rooms.running(id).find(({ nodeId }) => nodeId === node!.id)!;
    rooms.deaf.add(old.id);
    await make(node!, 'drain');
    await make(node!, 'active');
    const next = () => rooms.tasks(id).find((it) => it.nodeId === node!.id && it.id !== old.id);
    expect(next()).toMatchObject({ desiredState: 'ready' });
    await rooms.report(old.id, 'shutdown');
    await rooms.rest();
    expect(next()).toMatchObject({ desiredState: 'complete', status: { state: 'running' } });
  });

  test('a drained node is stopped, and runs the job when it is back, under any policy', async () => {
    const [node] = rooms.nodes();
    const { id } = await rooms.deploy({ ...everywhere, ...restart({ condition: 'none' }) });
    await make(node!, 'drain');
    expect(nodesOf(rooms.running(id)).has(node!.id)).toBe(false);
    expect(rooms.tasks(id)).toHaveLength(3);
    await make(node!, 'active');
    expect(nodesOf(rooms.running(id)).size).toBe(3);
  });

  test('a node that completed before it was drained does not run the job again', async () => {
    rooms.outcome = () => 'complete';
    const [node] = rooms.nodes();
    const { id } = await rooms.deploy(everywhere);
    await make(node!, 'drain');
    await make(node!, 'active');
    expect(rooms.tasks(id)).toHaveLength(3);
  });

  test('a failed task is tried again on its node, as often as max attempts allow', async () => {
    const [node] = rooms.nodes();
    rooms.outcome = (task) => (task.nodeId === node!.id ? 'failed' : 'complete');
    const policy = restart({ maxAttempts: 2, delayNanos: 1e9 });
    const { id } = await rooms.deploy({ ...everywhere, ...policy });
    await rooms.pass(10_000, 500);
    expect(rooms.tasks(id).filter(({ nodeId }) => nodeId === node!.id)).toHaveLength(3);
    expect(completed(id)).toHaveLength(2);
  });

  test('a task that failed as its node was drained is tried again when the node is back', async () => {
    const [node] = rooms.nodes();
    const { id } = await rooms.deploy({ ...everywhere, ...restart({ delayNanos: 0 }) });
    const task = rooms.running(id).find(({ nodeId }) => nodeId === node!.id)!;
    await rooms.test.store.update((tx) => {
      const spec = { ...node!.spec, availability: 'drain' as const };
      tx.update('node', { ...tx.require('node', node!.id), spec });
      const status = { ...task.status, state: 'failed' as const };
      tx.update('task', { ...tx.require('task', task.id), status });
    });
    await rooms.rest();
    await make(node!, 'active');
    expect(nodesOf(rooms.running(id)).has(node!.id)).toBe(true);
  });

  test.each([
    ['is tried again where it may be', 0, true],
    ['is given up where it was the last', 1, false],
  ])(
    'a task that was lost with its node, and had failed there, %s',
    async (_what, maxAttempts, isAgain) => {
      const [node] = rooms.nodes();
      const { id } = await rooms.deploy({
        ...everywhere,
        ...restart({ delayNanos: 0, maxAttempts }),
      });
      const here = () => rooms.running(id).find(({ nodeId }) => nodeId === node!.id);
      if (maxAttempts > 0) {
        await rooms.report(here()!.id, 'failed');
        await rooms.rest();
      }
      const task = here()!;
      const become = (state: 'down' | 'ready') =>
        rooms.setNode(node!.id, (it) => ({ ...it, status: { ...it.status, state } }));
      await become('down');
      await rooms.rest();
      expect(rooms.tasks(id).find((it) => it.id === task.id)?.desiredState).toBe('shutdown');
      // It is told before its node is ready again.
      await rooms.report(task.id, 'failed');
      await become('ready');
      await rooms.rest();
      expect(here() !== undefined).toBe(isAgain);
    },
  );

  test('an update runs it everywhere again, and nothing of the old iteration stays', async () => {
    rooms.outcome = () => 'complete';
    const { id } = await rooms.deploy(everywhere);
    await rooms.change(id, again);
    await rooms.rest();
    expect(rooms.tasks(id).map(({ jobIteration }) => jobIteration)).toEqual([1, 1, 1]);
  });

  test('history is kept for each node by itself', async () => {
    rooms.outcome = () => 'failed';
    const { id } = await rooms.deploy({ ...everywhere, ...restart({ delayNanos: 1e9 }) });
    await rooms.pass(10_500, 500);
    for (const node of rooms.nodes()) {
      expect(rooms.tasks(id).filter(({ nodeId }) => nodeId === node.id).length).toBe(5);
    }
  });

  test('unfinished tasks of a removed node vanish, completed ones stay', async () => {
    const { id } = await rooms.deploy(everywhere);
    const [first, second] = rooms.running(id);
    await complete(first);
    await rooms.test.store.update((tx) => {
      tx.remove('node', first!.nodeId!);
      tx.remove('node', second!.nodeId!);
    });
    await rooms.rest();
    expect(
      rooms
        .tasks(id)
        .map(({ status }) => status.state)
        .sort(),
    ).toEqual(['complete', 'running']);
  });
});
