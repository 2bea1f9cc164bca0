import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { Node } from '../../../common/model/node.ts';
import { ANYWHERE, NO_RESOURCES } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import type { TaskState } from '../../../common/model/task-state.ts';
import { RETURN_GRACE_MS, Scheduler } from '../../../manager/scheduler/scheduler.ts';
import {
  aNode,
  aNodeDescription,
  aNodeSpec,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

describe('scheduler', () => {
  let t: TestStore;
  let scheduler: Scheduler;
  const failures: unknown[] = [];
  const rest = async (): Promise<void> => {
    for (let i = 0; i < 6; i++) await settle();
  };
  beforeEach(async () => {
    t = makeStore();
    const { store, clock, random } = t;
    const onFailure = (err: unknown): void => void failures.push(err);
    scheduler = new Scheduler({ store, clock, random, log: silentLogger, onFailure });
    await scheduler.start();
  });
  afterEach(async () => {
    await scheduler.stop();
    expect(failures).toEqual([]);
  });

  const one = async (overrides: Partial<Task> = {}): Promise<Task> => {
    const status = aTaskStatus({ state: 'pending' });
    const [task] = await t.create('task', aTask({ status, ...overrides }));
    await rest();
    return t.get('task', task!.id);
  };
  const reserving = (nanoCpus: number) =>
    aTaskSpec({
      resources: { ...NO_RESOURCES, reservations: { nanoCpus, memoryBytes: 0, generic: [] } },
    });
  const half = reserving(2e9);
  const threeQuarters = reserving(3e9);
  const report = async (task: Task, state: TaskState): Promise<void> => {
    await t.store.update((tx) => {
      const now = tx.require('task', task.id);
      tx.update('task', { ...now, status: { ...now.status, state } });
    });
    await rest();
  };

  test('places an allocated task and says so', async () => {
    const [node] = await t.create('node', aNode());
    expect(await one()).toMatchObject({
      nodeId: node!.id,
      status: { state: 'assigned', message: 'scheduler assigned task to node', err: '' },
    });
  });

  test('keeps the place of a task that somebody else wrote to while it was being assigned', async () => {
    const status = aTaskStatus({ state: 'pending' });
    const tasks = [1, 2].map((slot) =>
      aTask({ slot, status, spec: threeQuarters, desiredState: 'ready' }),
    );
    await t.create('task', ...tasks);
    await rest();
    t.proposer.hold = true;
    void t.create('node', aNode({ description: aNodeDescription({ nanoCpus: 4e9 }) }));
    void t.store.update((tx) => {
      tx.update('task', { ...tx.require('task', tasks[0]!.id), desiredState: 'running' });
    });
    t.proposer.release(1);
    await rest(); // there is a node: it decided, and waits for the other writer
    t.proposer.release(1);
    await rest(); // its own write is under way, and it has heard of the other one
    t.proposer.hold = false;
    t.proposer.release();
    await rest();
    const states = tasks.map(({ id }) => t.get('task', id).status.state);
    expect(states).toEqual(['assigned', 'pending']);
  });

  test('confirms a preassigned task', async () => {
    const [, second] = await t.create('node', aNode(), aNode());
    expect(await one({ nodeId: second!.id, slot: null })).toMatchObject({
      nodeId: second!.id,
      status: {
        state: 'assigned',
        message: 'scheduler confirmed task can run on preassigned node',
      },
    });
  });

  test.each([
    ['not allocated yet', { status: aTaskStatus({ state: 'new' }) }],
    ['told to stop', { desiredState: 'shutdown' as const }],
    ['told to go', { desiredState: 'remove' as const }],
  ])('leaves a task alone that is %s', async (_, overrides) => {
    await t.create('node', aNode());
    expect((await one(overrides)).nodeId).toBeNull();
  });

  test('prepares a task whose start must wait', async () => {
    await t.create('node', aNode());
    expect((await one({ desiredState: 'ready' })).status.state).toBe('assigned');
  });

  test('explains why a task waits, once, and places it when a node comes', async () => {
    const waiting = await one();
    expect(waiting.status).toMatchObject({ state: 'pending', err: 'no suitable node' });
    const { revision } = t.store;
    await t.create('node', aNode({ status: { state: 'down', message: '', address: '' } }));
    await t.clock.advance(100);
    await rest();
    expect(t.get('task', waiting.id).status.err).toBe(
      'no suitable node (1 node not available for new tasks)',
    );
    await t.create('node', aNode());
    await t.clock.advance(100);
    await rest();
    expect(t.get('task', waiting.id).status).toMatchObject({ state: 'assigned', err: '' });
    expect(t.store.revision).toBe(revision + 4); // two nodes, one explanation, one placement
  });

  test('places a waiting task when another one ends', async () => {
    await t.create('node', aNode()); // 4 CPUs
    const [first] = [await one({ spec: half }), await one({ spec: half, slot: 2 })];
    const third = await one({ spec: half, slot: 3 });
    expect(third.status.err).toBe('no suitable node (insufficient resources on 1 node)');
    await report(first, 'failed');
    await t.clock.advance(100);
    await rest();
    expect(t.get('task', third.id).status.state).toBe('assigned');
  });

  test('does not try refused tasks again for every commit of a burst', async () => {
    await t.create('node', aNode());
    const spec = aTaskSpec({ placement: { ...ANYWHERE, constraints: ['node.labels.a == b'] } });
    const waiting = await one({ spec });
    const label = (value: string) =>
      t.store.update((tx) => {
        const node = tx.list('node')[0]!;
        tx.update('node', { ...node, spec: { ...node.spec, labels: { a: value } } });
      });
    await label('x');
    await rest();
    await label('b');
    await rest();
    expect(t.get('task', waiting.id).nodeId).toBeNull();
    await t.clock.advance(50);
    await rest();
    expect(t.get('task', waiting.id).nodeId).not.toBeNull();
  });

  test('a node that is drained while the decision is on its way gets nothing', async () => {
    const [node] = await t.create('node', aNode());
    await rest();
    const spec = { ...node!.spec, availability: 'drain' as const };
    // Both commits come before the scheduler sees either: its table still shows the node as active.
    const drained = t.store.update((tx) => {
      const status = aTaskStatus({ state: 'pending' });
      tx.create('task', aTask({ id: idOf('late'), spec: threeQuarters, status }));
    });
    const later = drained.then(() =>
      t.store.update((tx) => tx.update('node', { ...tx.require('node', node!.id), spec })),
    );
    await later;
    await t.clock.advance(100);
    await rest();
    expect(t.get('task', idOf('late')).nodeId).toBeNull();
    await t.store.update((tx) =>
      tx.update('node', { ...tx.require('node', node!.id), spec: node!.spec }),
    );
    await t.clock.advance(100);
    await rest();
    expect(t.get('task', idOf('late')).nodeId).toBe(node!.id);
  });

  test('tasks that failed on a node send the next ones elsewhere', async () => {
    const [node] = await t.create('node', aNode());
    for (let i = 0; i < 5; i++) await report(await one(), i % 2 === 0 ? 'failed' : 'rejected');
    const [other] = await t.create('node', aNode());
    await one({ serviceId: idOf('another'), slot: 1 }); // goes to the first node
    expect((await one()).nodeId).toBe(other!.id);
    expect((await one({ slot: 2 })).nodeId).toBe(other!.id);
    expect((await one({ specVersion: 7, slot: 3 })).nodeId).toBe(node!.id);
  });

  test.each([
    ['the first slot of a replicated job', 'other', 0],
    ['a global service', 'first', null],
  ])(
    'when tasks of %s failed five times, the next goes to the %s node',
    async (_, expected, slot) => {
      const [first] = await t.create('node', aNode());
      const seat: Partial<Task> = { serviceId: idOf('web'), slot };
      for (let i = 0; i < 5; i++) await report(await one(seat), 'failed');
      await t.create('node', aNode());
      for (const other of ['a', 'b']) await one({ serviceId: idOf(other) }); // one on each node
      expect((await one({ ...seat, slot: 1 })).nodeId === first!.id).toBe(expected === 'first');
    },
  );

  test('what one leader placed counts for the next', async () => {
    await t.create('node', aNode());
    await one({ spec: half });
    await scheduler.stop();
    const { store, clock, random } = t;
    const onFailure = (err: unknown): void => void failures.push(err);
    scheduler = new Scheduler({ store, clock, random, log: silentLogger, onFailure });
    await scheduler.start();
    await one({ spec: half, slot: 2 });
    expect((await one({ spec: half, slot: 3 })).nodeId).toBeNull();
  });

  test('a refused task is not looked at again for what cannot help it', async () => {
    const [small, other] = await t.create(
      'node',
      aNode({ description: aNodeDescription({ nanoCpus: 1e9 }) }),
      aNode(),
    );
    const spec = {
      ...half,
      placement: { ...ANYWHERE, constraints: [`node.id==${small!.id}`] },
    };
    const waiting = await one({ spec });
    expect(waiting.status.err).toBe(
      'no suitable node (insufficient resources on 1 node; scheduling constraints not satisfied on 1 node)',
    );
    const elsewhere = await one({ slot: 2 });
    expect(elsewhere.nodeId).toBe(small!.id);
    const there = await one({ slot: 3 });
    expect(there.nodeId).toBe(other!.id);
    const { revision } = t.store;
    await report(there, 'failed');
    await t.clock.advance(2_000);
    await rest();
    expect(t.store.revision).toBe(revision + 1);
    expect(t.get('task', waiting.id).meta.version).toBe(waiting.meta.version);
    await t.store.update((tx) => {
      const node = tx.require('node', small!.id);
      tx.update('node', { ...node, description: { ...node.description!, nanoCpus: 2e9 } });
    });
    await t.clock.advance(100);
    await rest();
    expect(t.get('task', waiting.id).nodeId).toBe(small!.id);
  });

  test('with a new task of their kind, those that were refused get their chance, too', async () => {
    await t.create('node', aNode());
    const first = await one({ spec: threeQuarters });
    const second = await one({ spec: threeQuarters, slot: 2 });
    expect(second.status.state).toBe('pending');
    await report(first, 'failed'); // would be reviewed 50 ms after the last time
    const third = await one({ spec: threeQuarters, slot: 3 });
    await t.clock.advance(100);
    await rest();
    const states = [second, third].map(({ id }) => t.get('task', id).status.state);
    expect(states.sort()).toEqual(['assigned', 'pending']);
  });

  test('a task of a global service waits for its own node and no other', async () => {
    const paused = aNodeSpec({ availability: 'pause' });
    const [home] = await t.create('node', aNode({ spec: paused }), aNode());
    const waiting = await one({ nodeId: home!.id, slot: null });
    expect(waiting.status.err).toBe('1 node not available for new tasks');
    await t.create('node', aNode());
    await t.clock.advance(100);
    await rest();
    expect(t.get('task', waiting.id).status.state).toBe('pending');
    await t.store.update((tx) => {
      const node = tx.require('node', home!.id);
      tx.update('node', { ...node, spec: { ...node.spec, availability: 'active' } });
    });
    await t.clock.advance(100);
    await rest();
    expect(t.get('task', waiting.id).status.state).toBe('assigned');
  });

  describe('after a change of leader', () => {
    const unknown = { state: 'unknown' as const, message: '', address: '' };
    const arrive = async (node: Node, state: 'ready' | 'down' = 'ready'): Promise<void> => {
      await t.store.update((tx) => {
        const status = { ...unknown, state };
        tx.update('node', { ...tx.require('node', node.id), status });
      });
      await t.clock.advance(100);
      await rest();
    };
    const onNode = ({ id }: Node): number => t.store.view((view) => view.tasksByNode(id)).length;
    const four = async (): Promise<Task[]> => {
      const tasks = [1, 2, 3, 4].map((slot) =>
        aTask({ slot, status: aTaskStatus({ state: 'pending' }) }),
      );
      await t.create('task', ...tasks);
      await rest();
      return tasks;
    };

    test('tasks keep their places on nodes that have not registered yet', async () => {
      const [first, second] = await t.create('node', aNode(), aNode({ status: unknown }));
      const tasks = await four();
      expect([onNode(first!), onNode(second!)]).toEqual([2, 0]);
      const errors = tasks.map(({ id }) => t.get('task', id).status.err);
      expect(errors).toEqual(['', '', '', '']);
      await arrive(second!);
      expect([onNode(first!), onNode(second!)]).toEqual([2, 2]);
    });

    test('a change of a task that is held does not make it lose its place', async () => {
      const [first, second] = await t.create('node', aNode(), aNode({ status: unknown }));
      const tasks = await four();
      for (const { id } of tasks) {
        await t.store.update((tx) => {
          tx.update('task', { ...tx.require('task', id), desiredState: 'ready' });
        });
      }
      await t.create('task', aTask({ slot: 5, status: aTaskStatus({ state: 'pending' }) }));
      await rest();
      expect(onNode(first!)).toBe(3);
      await arrive(second!);
      expect([onNode(first!), onNode(second!)]).toEqual([3, 2]);
      expect(tasks.every(({ id }) => t.get('task', id).desiredState === 'ready')).toBe(true);
    });

    test('a node that is found down is not waited for', async () => {
      const [first, second] = await t.create('node', aNode(), aNode({ status: unknown }));
      await four();
      await arrive(second!, 'down');
      expect(onNode(first!)).toBe(4);
    });

    test('nor is any when the grace is over', async () => {
      const [first] = await t.create('node', aNode(), aNode({ status: unknown }));
      await four();
      await t.clock.advance(RETURN_GRACE_MS - 1);
      await rest();
      expect(onNode(first!)).toBe(2);
      await t.clock.advance(100);
      await rest();
      expect(onNode(first!)).toBe(4);
    });

    test('a node that was never here is not waited for', async () => {
      const stranger = aNode({ status: unknown, description: null });
      const [first] = await t.create('node', aNode(), stranger);
      await four();
      expect(onNode(first!)).toBe(4);
    });
  });
});
