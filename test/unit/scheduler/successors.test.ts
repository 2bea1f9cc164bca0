import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import type { Node } from '../../../common/model/node.ts';
import {
  ANYWHERE,
  DEFAULT_UPDATE_CONFIG,
  type Endpoint,
  NO_RESOURCES,
} from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { applyDecision } from '../../../manager/scheduler/apply.ts';
import { GenericPool } from '../../../manager/scheduler/generic-pool.ts';
import { NodeTable } from '../../../manager/scheduler/node-table.ts';
import { Scheduler } from '../../../manager/scheduler/scheduler.ts';
import { Successors } from '../../../manager/scheduler/successors.ts';
import {
  aNode,
  aNodeDescription,
  aPort,
  aService,
  aServiceSpec,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const GPU = [{ kind: 'gpu', value: 'a' }];
const PORTS = [aPort({ publishedPort: 80, publishMode: 'host' })];
const ENDPOINT: Endpoint = { spec: { mode: 'vip', ports: PORTS }, ports: PORTS, virtualIps: [] };
const reserving = (nanoCpus: number) =>
  aTaskSpec({
    resources: { ...NO_RESOURCES, reservations: { nanoCpus, memoryBytes: 0, generic: [] } },
  });
/** Of each of these no node can have two. */
const WIDE: [string, Partial<Task>][] = [
  ['cores', { spec: reserving(3e9) }],
  ['a host-mode port', { endpoint: ENDPOINT }],
  ['a limit of tasks', { spec: aTaskSpec({ placement: { ...ANYWHERE, maxReplicas: 1 } }) }],
  [
    'a named resource',
    {
      spec: aTaskSpec({
        resources: {
          ...NO_RESOURCES,
          reservations: { nanoCpus: 0, memoryBytes: 0, generic: [{ kind: 'gpu', value: 1 }] },
        },
      }),
      assignedGenericResources: GPU,
    },
  ],
];

/** What becomes of one of a few tasks. */
const STEP = fc.record({
  at: fc.nat(5),
  slot: fc.integer({ min: 1, max: 2 }),
  node: fc.nat(1),
  desiredState: fc.constantFrom<Task['desiredState']>('ready', 'running', 'shutdown', 'remove'),
  status: fc
    .constantFrom<Task['status']['state']>('pending', 'running', 'failed')
    .map((state) => aTaskStatus({ state })),
  moving: fc.constantFrom<Task['moving']>(null, null, 'stop-first'),
  looks: fc.boolean(),
});

describe('a task that waits for another of its seat to end', () => {
  const { id: serviceId } = aService();
  const description = aNodeDescription({ nanoCpus: 4e9, generic: GPU });
  let t: TestStore;
  let scheduler: Scheduler;
  let nodes: Node[];
  const rest = async (): Promise<void> => {
    await t.clock.advance(100);
    for (let i = 0; i < 6; i++) await settle();
  };
  beforeEach(async () => {
    t = makeStore();
    const { store, clock, random } = t;
    const onFailure = (err: unknown): void => expect.unreachable(String(err));
    scheduler = new Scheduler({ store, clock, random, log: silentLogger, onFailure });
    await scheduler.start();
    nodes = await t.create('node', aNode({ description }), aNode({ description }));
  });
  afterEach(() => scheduler.stop());

  const add = async (overrides: Partial<Task>): Promise<Task> => {
    const [task] = await t.create('task', aTask({ serviceId, slot: 1, ...overrides }));
    await rest();
    return t.get('task', task!.id);
  };
  /** One that runs on each node, in slots of their own; that of slot 1 is on the first. */
  const fill = async (overrides: Partial<Task>): Promise<Task[]> => {
    const status = aTaskStatus({ state: 'running' });
    const tasks: Task[] = [];
    for (const [at, { id: nodeId }] of nodes.entries()) {
      tasks.push(await add({ slot: at + 1, nodeId, status, ...overrides }));
    }
    return tasks;
  };
  const pending = aTaskStatus({ state: 'pending' });
  /** For the task of slot 1. */
  const successor = (overrides: Partial<Task>): Promise<Task> =>
    add({ status: pending, specVersion: 2, ...overrides, desiredState: 'ready' });
  const setTask = async ({ id }: Task, changes: Partial<Task>): Promise<void> => {
    await t.store.update((tx) => tx.update('task', { ...tx.require('task', id), ...changes }));
    await rest();
  };
  const setNode = async (id: Node['id'], availability: 'active' | 'pause'): Promise<void> => {
    await t.store.update((tx) => {
      const node = tx.require('node', id);
      tx.update('node', { ...node, spec: { ...node.spec, availability } });
    });
    await rest();
  };

  test.each(WIDE)('gets its place where no node has another: %s', async (_, demand) => {
    await fill(demand);
    const { nodeId, assignedGenericResources, hasForerunnersPlace } = await successor({
      ...demand,
      assignedGenericResources: [],
    });
    expect([nodeId, hasForerunnersPlace]).toEqual([nodes[0]!.id, true]);
    expect(assignedGenericResources).toEqual(demand.assignedGenericResources ?? []);
  });

  test.each(WIDE)(
    'no other task gets that place, now or when it is left: %s',
    async (_, demand) => {
      const [old] = await fill(demand);
      await successor({ ...demand, assignedGenericResources: [] });
      const other = await add({
        ...demand,
        ...{ slot: 3, status: pending, assignedGenericResources: [] },
      });
      expect(other.nodeId).toBeNull();
      await t.store.update((tx) => {
        const now = tx.require('task', old!.id);
        const status = aTaskStatus({ state: 'shutdown' });
        tx.update('task', { ...now, desiredState: 'shutdown', status });
      });
      await rest();
      expect(t.get('task', other.id).nodeId).toBeNull();
    },
  );

  describe('start-first', () => {
    const ordered = (order: 'start-first' | 'stop-first') =>
      aService({
        id: serviceId,
        spec: aServiceSpec({ update: { ...DEFAULT_UPDATE_CONFIG, order } }),
      });
    beforeEach(() => t.create('service', ordered('start-first')));

    test.each(WIDE)('has no place beside one that serves on: %s', async (_, demand) => {
      const [old] = await fill(demand);
      const waiting = await successor({ ...demand, assignedGenericResources: [] });
      expect(waiting.nodeId).toBeNull();
      // Both run side by side, until it is told to stop.
      await setTask(old!, { desiredState: 'shutdown' });
      expect(t.get('task', waiting.id).nodeId).toBe(nodes[0]!.id);
    });

    test.each([
      ['any node', false],
      ['its node', true],
    ])('has one when the order changes: of a task for %s', async (_, isGlobal) => {
      const [old] = await fill({ spec: reserving(3e9), ...(isGlobal && { slot: null }) });
      const waiting = await successor({
        ...{ spec: reserving(3e9), slot: isGlobal ? null : 1 },
        nodeId: isGlobal ? nodes[0]!.id : null,
      });
      expect(waiting.status.state).toBe('pending');
      await t.store.update((tx) => {
        const { meta } = tx.require('service', serviceId);
        tx.update('service', { ...ordered('stop-first'), meta });
      });
      await rest();
      expect(t.get('task', waiting.id)).toMatchObject({
        nodeId: old!.nodeId,
        status: { state: 'assigned' },
      });
    });

    test('finds the other one there when tasks are counted', async () => {
      await fill({});
      await add({ slot: 3, nodeId: nodes[0]!.id, status: aTaskStatus({ state: 'running' }) });
      expect((await successor({})).nodeId).toBe(nodes[1]!.id);
    });
  });

  test('counts are those of the seats as they are, whatever happened to them before', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(STEP, { maxLength: 40 }), async (steps) => {
        const { store } = makeStore();
        const [table, kept] = [new NodeTable(), new Successors()];
        for (const node of nodes) table.putNode(node);
        const tasks = new Map<string, Task>();
        for (const { at, slot, node, looks, ...words } of steps) {
          const id = idOf<TaskId>(`t${at}`);
          const known = tasks.get(id);
          await store.update((tx) => {
            if (known && words.desiredState === 'remove') tx.remove('task', id);
            else if (known) tx.update('task', { ...tx.require('task', id), ...words });
            else {
              const nodeId = nodes[node]!.id;
              tx.create('task', aTask({ id, serviceId, slot, nodeId, ...words }));
            }
          });
          const now = store.view((view) => view.get('task', id));
          if (now) {
            tasks.set(id, now);
            table.putTask(now);
            kept.put(now);
          } else {
            tasks.delete(id);
            table.removeTask(id);
            kept.remove(known!);
          }
          if (!looks) continue;
          const afresh = new Successors();
          for (const task of tasks.values()) afresh.put(task);
          const of = (successors: Successors) =>
            store.view((view) => new Map(successors.of(serviceId, view, table).leaving));
          expect(of(kept)).toEqual(of(afresh));
        }
      }),
    );
  });

  test('that was let run before its place was written gets none: the other one may run still', async () => {
    await fill({ spec: reserving(3e9) });
    await setNode(nodes[0]!.id, 'pause');
    const task = await successor({ spec: reserving(3e9) });
    await scheduler.stop();
    await setNode(nodes[0]!.id, 'active');
    const decision = {
      ...{ kind: 'place' as const, task, nodeId: nodes[0]!.id, assignedGenericResources: [] },
      inPlace: true,
    };
    const isWritten = async (): Promise<boolean> => {
      let written = false;
      await t.store.update((tx) => {
        written = applyDecision(tx, decision, 0);
      });
      return written;
    };
    await setTask(task, { desiredState: 'running' });
    expect(await isWritten()).toBe(false);
    await setTask(task, { desiredState: 'ready' });
    expect(await isWritten()).toBe(true);
  });

  test('goes elsewhere where there is room', async () => {
    await fill({ spec: reserving(3e9) });
    const [third] = await t.create('node', aNode({ description }));
    const placed = await successor({ spec: reserving(3e9) });
    expect([placed.nodeId, placed.hasForerunnersPlace]).toEqual([third!.id, false]);
  });

  test('finds the other one gone when tasks are counted', async () => {
    await fill({});
    await add({ slot: 3, nodeId: nodes[0]!.id, status: aTaskStatus({ state: 'running' }) });
    // One and one of the service; of equals the first is taken.
    expect((await successor({})).nodeId).toBe(nodes[0]!.id);
  });

  test('finds the other one gone when tasks are counted by a preference', async () => {
    await fill({});
    await add({ slot: 3, nodeId: nodes[0]!.id, status: aTaskStatus({ state: 'running' }) });
    const preferences = [{ spreadOver: 'node.labels.zone' }];
    const spec = aTaskSpec({ placement: { ...ANYWHERE, preferences } });
    await t.store.update((tx) => {
      for (const { id } of nodes) {
        const node = tx.require('node', id);
        tx.update('node', { ...node, spec: { ...node.spec, labels: { zone: id } } });
      }
    });
    expect((await successor({ spec })).nodeId).toBe(nodes[0]!.id);
  });

  test('waits where its node takes nothing, and is asked again when it does', async () => {
    await fill({ spec: reserving(3e9) });
    await setNode(nodes[0]!.id, 'pause');
    const waiting = await successor({ spec: reserving(3e9) });
    expect(waiting.nodeId).toBeNull();
    expect(waiting.status.err).toMatch(/^no suitable node/);
    await setNode(nodes[0]!.id, 'active');
    expect(t.get('task', waiting.id).nodeId).toBe(nodes[0]!.id);
  });

  test('that is to go elsewhere does not stay where that is', async () => {
    await fill({ spec: reserving(3e9), moving: 'stop-first' });
    expect((await successor({ spec: reserving(3e9) })).nodeId).toBeNull();
  });

  test('of a global service comes to the node of the other one', async () => {
    await fill({ endpoint: ENDPOINT, slot: null });
    const placed = await successor({ endpoint: ENDPOINT, slot: null, nodeId: nodes[1]!.id });
    expect([placed.status.state, placed.hasForerunnersPlace]).toEqual(['assigned', true]);
    const alone = await successor({ slot: null, nodeId: nodes[1]!.id });
    expect([alone.status.state, alone.hasForerunnersPlace]).toEqual(['assigned', false]);
    const other = await add({
      ...{ endpoint: ENDPOINT, slot: null, nodeId: nodes[0]!.id, status: pending },
    });
    expect(other.status.state).toBe('pending');
  });
});

test('a named value that two tasks have is free when both gave it back', () => {
  const pool = new GenericPool(GPU);
  pool.take(GPU);
  pool.take(GPU);
  pool.release(GPU);
  expect(pool.free('gpu')).toBe(0);
  pool.release(GPU);
  expect(pool.free('gpu')).toBe(1);
});
