import { afterEach, describe, expect, test } from 'vitest';
import type { Availability, Node } from '../../../common/model/node.ts';
import {
  ANYWHERE,
  DEFAULT_UPDATE_CONFIG,
  NO_RESOURCES,
  type TaskSpec,
  type UpdateStatus,
} from '../../../common/model/service.ts';
import { noncompliantTasks } from '../../../manager/orchestrator/plan-enforcement.ts';
import {
  aNode,
  aNodeDescription,
  aNodeSpec,
  aService,
  aServiceSpec,
  aTask,
  aTaskSpec,
  aTaskStatus,
} from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';

const wanting = (constraint: string) =>
  aTaskSpec({ placement: { ...ANYWHERE, constraints: [constraint] } });
const reserving = (nanoCpus: number) =>
  aTaskSpec({
    resources: { ...NO_RESOURCES, reservations: { nanoCpus, memoryBytes: 0, generic: [] } },
  });
const running = aTaskStatus({ state: 'running' });
const none = () => undefined;

describe('constraint enforcer', () => {
  test.each<[Availability, number]>([
    ['active', 1],
    ['pause', 0],
    ['drain', 0],
  ])('looks at a node that is %s: %i rejected', (availability, count) => {
    const task = aTask({ spec: wanting('node.labels.a == b'), status: running });
    const node = aNode({ spec: aNodeSpec({ availability }) });
    expect(noncompliantTasks(node, [task], none)).toHaveLength(count);
  });

  const LABELLED = wanting('node.labels.a == b');
  const UNBOUND = aTaskSpec();
  test.each<[string, TaskSpec, TaskSpec, number, UpdateStatus['state'] | null, number]>([
    ['of the present words', LABELLED, LABELLED, 2, null, 1],
    ['of former words that it does not meet', LABELLED, UNBOUND, 1, 'completed', 0],
    ['of former words that it does not meet', LABELLED, UNBOUND, 1, null, 0],
    ['that an update has left', UNBOUND, LABELLED, 1, 'completed', 1],
    ['that a rollback has left', UNBOUND, LABELLED, 1, 'rollback_completed', 1],
    ['that an update may still replace', UNBOUND, LABELLED, 1, null, 0],
    ['that an update may still replace', UNBOUND, LABELLED, 1, 'updating', 0],
    ['that an update may still replace', UNBOUND, LABELLED, 1, 'paused', 0],
    ['that a rollback may still replace', UNBOUND, LABELLED, 1, 'rollback_started', 0],
    ['that meets neither', LABELLED, wanting('node.labels.a == c'), 1, 'updating', 1],
  ])(
    'task %s: constraints of %# are its own and the present ones',
    (_, own, present, specVersion, state, rejected) => {
      const updateStatus = state && { state, startedAtMs: 0, completedAtMs: null, message: '' };
      const spec = aServiceSpec({ task: present });
      const service = aService({ spec, specVersion: 2, updateStatus });
      const task = aTask({ spec: own, specVersion, status: running });
      expect(noncompliantTasks(aNode(), [task], () => service)).toHaveLength(rejected);
    },
  );

  test('tasks that no longer fit together are rejected, the later ones first to go', () => {
    const node = aNode({ description: aNodeDescription({ nanoCpus: 3e9 }) });
    const tasks = [2e9, 2e9, 1e9].map((cpus) => aTask({ spec: reserving(cpus), status: running }));
    expect(noncompliantTasks(node, tasks, none)).toEqual([tasks[1]]);
    expect(noncompliantTasks({ ...node, description: null }, tasks, none)).toEqual([]);
  });

  test('a task that waits for another of its seat to end counts together with that', () => {
    const node = aNode({ description: aNodeDescription({ nanoCpus: 3e9 }) });
    const seat = { spec: reserving(2e9), slot: 1, serviceId: aService().id };
    const old = aTask({ ...seat, status: running });
    const ready = aTaskStatus({ state: 'ready' });
    const successor = aTask({ ...seat, status: ready, desiredState: 'ready' });
    expect(noncompliantTasks(node, [old, successor], none)).toEqual([]);
    expect(noncompliantTasks(node, [successor, old], none)).toEqual([]);
    const beside = aTask({ ...seat, status: ready });
    expect(noncompliantTasks(node, [old, beside], none)).toEqual([beside]);
    const elsewhere = aTask({ ...seat, slot: 2, status: ready, desiredState: 'ready' });
    expect(noncompliantTasks(node, [old, elsewhere], none)).toEqual([elsewhere]);
  });

  test('one of that seat that neither waits nor is waited for counts by itself', () => {
    const node = aNode({ description: aNodeDescription({ nanoCpus: 3e9 }) });
    const seat = { spec: reserving(2e9), slot: 1, serviceId: aService().id };
    const ready = aTaskStatus({ state: 'ready' });
    const old = aTask({ ...seat, status: running });
    const successor = aTask({ ...seat, status: ready, desiredState: 'ready' });
    const servesOn = aTask({ ...seat, status: running, moving: 'start-first' });
    expect(noncompliantTasks(node, [old, successor, servesOn], none)).toEqual([servesOn]);
  });

  test('beside one that serves on until it runs, it counts by itself', () => {
    const update = { ...DEFAULT_UPDATE_CONFIG, order: 'start-first' as const };
    const service = aService({ spec: aServiceSpec({ update }) });
    const node = aNode({ description: aNodeDescription({ nanoCpus: 3e9 }) });
    const seat = { spec: reserving(2e9), slot: 1, serviceId: service.id };
    const old = aTask({ ...seat, status: running });
    const ready = aTaskStatus({ state: 'ready' });
    const successor = aTask({ ...seat, status: ready, desiredState: 'ready' });
    expect(noncompliantTasks(node, [old, successor], () => service)).toEqual([successor]);
  });

  test('of two that run one after the other the larger counts', () => {
    const node = aNode({ description: aNodeDescription({ nanoCpus: 4e9 }) });
    const seat = { slot: 1, serviceId: aService().id };
    const small = aTask({ ...seat, spec: reserving(1e9), status: running });
    const ready = aTaskStatus({ state: 'ready' });
    const large = aTask({ ...seat, spec: reserving(3e9), status: ready, desiredState: 'ready' });
    const other = (cpus: number) => aTask({ spec: reserving(cpus), status: running });
    for (const pair of [
      [small, large],
      [large, small],
    ]) {
      expect(noncompliantTasks(node, [...pair, other(1e9)], none)).toEqual([]);
      const tooMuch = other(2e9);
      expect(noncompliantTasks(node, [...pair, tooMuch], none)).toEqual([tooMuch]);
    }
    const first = other(2e9);
    expect(noncompliantTasks(node, [first, small, large], none)).toEqual([large]);
  });

  test.each([
    ['ended', { status: aTaskStatus({ state: 'failed' }) }],
    ['not placed yet', { status: aTaskStatus({ state: 'pending' }) }],
    ['told to stop', { status: running, desiredState: 'shutdown' as const }],
  ])('a task that is %s is left alone', (_, overrides) => {
    const task = aTask({ spec: wanting('node.labels.a == b'), ...overrides });
    expect(noncompliantTasks(aNode(), [task], none)).toEqual([]);
  });

  test('what a job has completed stays and takes nothing; what it runs is judged', () => {
    const node = aNode({ description: aNodeDescription({ nanoCpus: 3e9 }) });
    const [done, fits, tooMuch] = ['complete', 'running', 'running'].map((state) =>
      aTask({
        spec: reserving(2e9),
        status: aTaskStatus({ state: state as 'complete' | 'running' }),
        desiredState: 'complete',
        jobIteration: 0,
      }),
    );
    expect(noncompliantTasks(node, [done!, fits!, tooMuch!], none)).toEqual([tooMuch]);
  });

  describe('in the cluster', () => {
    let rooms: ControlRooms;
    afterEach(() => rooms.stop());

    test.each(['label', 'drain', 'down'] as const)(
      'a decision that was on its way when the node changed (%s) does not stand',
      async (what) => {
        rooms = await ControlRooms.start(2);
        const [first, second] = rooms.nodes();
        const change = (node: Node): Node => {
          if (what === 'label') return { ...node, spec: { ...node.spec, labels: {} } };
          if (what === 'down') return { ...node, status: { ...node.status, state: 'down' } };
          return { ...node, spec: { ...node.spec, availability: 'drain' } };
        };
        for (const { id } of [first!, second!]) {
          await rooms.setNode(id, (it) => ({ ...it, spec: { ...it.spec, labels: { a: 'b' } } }));
        }
        rooms.silent.add(first!.id);
        await rooms.scheduler.stop();
        const { id } = await rooms.deploy({ task: wanting('node.labels.a == b') });
        const [task] = rooms.tasks(id);
        await rooms.setNode(first!.id, change);
        await rooms.rest();
        await rooms.test.store.update((tx) => {
          const status = { ...task!.status, state: 'assigned' as const };
          tx.update('task', { ...tx.require('task', task!.id), nodeId: first!.id, status });
        });
        await rooms.rest();
        expect(rooms.test.get('task', task!.id).desiredState).toBe('shutdown');
      },
    );

    test.each(['while it leads', 'before it leads'])(
      'a task that came to a node as it was removed (%s) is given up, and replaced',
      async (when) => {
        rooms = await ControlRooms.start(2);
        const [first] = rooms.nodes();
        await rooms.scheduler.stop();
        const { id } = await rooms.deploy();
        const [task] = rooms.tasks(id);
        if (when === 'before it leads') await rooms.stop();
        await rooms.test.store.update((tx) => tx.remove('node', first!.id));
        await rooms.test.store.update((tx) => {
          const status = { ...task!.status, state: 'assigned' as const };
          tx.update('task', { ...tx.require('task', task!.id), nodeId: first!.id, status });
        });
        if (when === 'before it leads') await rooms.lead();
        await rooms.rest();
        expect(rooms.test.get('task', task!.id)).toMatchObject({
          desiredState: 'shutdown',
          status: { state: 'orphaned' },
        });
        expect(rooms.tasks(id)).toHaveLength(2);
      },
    );

    test('a new leader leaves what an update with constraints that fit no node has left', async () => {
      rooms = await ControlRooms.start(3);
      const { id } = await rooms.deploy({ mode: { kind: 'replicated', replicas: 4 } });
      await rooms.change(id, (spec) => ({ ...spec, task: wanting('node.labels.a == b') }));
      await rooms.pass(10_000, 1_000);
      const left = rooms.running(id).map((task) => task.id);
      expect(left).toHaveLength(4);
      await rooms.stop();
      await rooms.lead();
      await rooms.pass(10_000, 1_000);
      expect(rooms.running(id).map((task) => task.id)).toEqual(left);
    });

    test('a changed label moves the task to a node that fits', async () => {
      rooms = await ControlRooms.start(2);
      const label = (index: number, labels: Record<string, string>) =>
        rooms.setNode(rooms.nodes()[index]!.id, (it) => ({ ...it, spec: { ...it.spec, labels } }));
      await label(0, { a: 'b' });
      const { id } = await rooms.deploy({ task: wanting('node.labels.a == b') });
      const old = rooms.running(id)[0]!;
      await label(1, { a: 'b' });
      await label(0, {});
      await rooms.rest();
      expect(rooms.test.get('task', old.id).status).toMatchObject({
        state: 'rejected',
        message: 'task rejected by constraint enforcer',
        err: 'assigned node no longer meets constraints',
      });
      await rooms.pass(6000, 1000);
      expect(rooms.running(id).map(({ nodeId }) => nodeId)).toEqual([rooms.nodes()[1]!.id]);
    });
  });
});
