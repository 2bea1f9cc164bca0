import { afterEach, describe, expect, test } from 'vitest';
import type { Availability, Node } from '../../../common/model/node.ts';
import { ANYWHERE, NO_RESOURCES } from '../../../common/model/service.ts';
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

  test("the service's present constraints count, not the task's copy", () => {
    const task = aTask({ spec: wanting('node.labels.a == b'), status: running });
    const service = aService({ spec: aServiceSpec() });
    expect(noncompliantTasks(aNode(), [task], () => service)).toEqual([]);
    const strict = aService({ spec: aServiceSpec({ task: wanting('node.labels.a == b') }) });
    expect(noncompliantTasks(aNode(), [aTask({ status: running })], () => strict)).toHaveLength(1);
  });

  test('tasks that no longer fit together are rejected, the later ones first to go', () => {
    const node = aNode({ description: aNodeDescription({ nanoCpus: 3e9 }) });
    const tasks = [2e9, 2e9, 1e9].map((cpus) => aTask({ spec: reserving(cpus), status: running }));
    expect(noncompliantTasks(node, tasks, none)).toEqual([tasks[1]]);
    expect(noncompliantTasks({ ...node, description: null }, tasks, none)).toEqual([]);
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
