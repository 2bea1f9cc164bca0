import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { Node } from '../../../common/model/node.ts';
import { ANYWHERE, type Endpoint, NO_RESOURCES } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { GenericPool } from '../../../manager/scheduler/generic-pool.ts';
import { Scheduler } from '../../../manager/scheduler/scheduler.ts';
import {
  aNode,
  aNodeDescription,
  aPort,
  aService,
  aTask,
  aTaskSpec,
  aTaskStatus,
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
  const setNode = async (id: Node['id'], availability: 'active' | 'pause'): Promise<void> => {
    await t.store.update((tx) => {
      const node = tx.require('node', id);
      tx.update('node', { ...node, spec: { ...node.spec, availability } });
    });
    await rest();
  };

  test.each(WIDE)('gets its place where no node has another: %s', async (_, demand) => {
    await fill(demand);
    const { nodeId, assignedGenericResources } = await successor({
      ...demand,
      assignedGenericResources: [],
    });
    expect(nodeId).toBe(nodes[0]!.id);
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

  test('goes elsewhere where there is room', async () => {
    await fill({ spec: reserving(3e9) });
    const [third] = await t.create('node', aNode({ description }));
    expect((await successor({ spec: reserving(3e9) })).nodeId).toBe(third!.id);
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
    expect(placed.status.state).toBe('assigned');
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
