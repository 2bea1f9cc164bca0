import { beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { containerIdOf } from '../../../common/model/container-id.ts';
import type { NodeId, TaskId } from '../../../common/model/ids.ts';
import { taskName } from '../../../common/model/task.ts';
import { containerApi } from '../../../common/rpc/node-methods.ts';
import { RemoteContainers } from '../../../manager/remote-containers.ts';
import { aNode, aNodeDescription, aTask, idOf } from '../../support/builders.ts';
import { streamPair } from '../../support/rpc-stream-pair.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const SELF = idOf<NodeId>('self');
const OTHER = idOf<NodeId>('other');
const ADDRESS = '192.0.2.2:2377';
const task = aTask({ id: idOf<TaskId>('taskone'), nodeId: OTHER, slot: 1 });
const mine = aTask({ id: idOf<TaskId>('taskmine'), nodeId: SELF, slot: 2 });
const waiting = aTask({ id: idOf<TaskId>('taskwait'), nodeId: null, slot: 3 });
const CONTAINER = containerIdOf(task.id);

let it: TestStore;
let calls: unknown[];
let failure: unknown;
let containers: RemoteContainers;

beforeEach(async () => {
  it = makeStore();
  calls = [];
  failure = null;
  const description = aNodeDescription({ hostname: 'worker-1', address: ADDRESS });
  await it.store.update((tx) => {
    tx.create('node', aNode({ id: OTHER, description }));
    tx.create('node', aNode({ id: SELF, description: aNodeDescription({ hostname: 'me' }) }));
    for (const each of [task, mine, waiting]) tx.create('task', each);
  });
  const session = (address: string, expected?: unknown) => ({
    duplex: async (method: unknown) => {
      calls.push([address, expected, method]);
      if (failure) throw failure;
      return streamPair(1)[0];
    },
  });
  containers = new RemoteContainers({
    store: it.store,
    pool: { session } as unknown as ConstructorParameters<typeof RemoteContainers>[0]['pool'],
    self: SELF,
  });
});

describe('a container of another node', () => {
  test.each([
    ['its id', CONTAINER],
    ['the start of its id', CONTAINER.slice(0, 12)],
    ['its task', task.id],
    ["the start of its task's id", task.id.slice(0, 7)],
    ['its name', taskName(task)],
    ['its name as Docker writes it', `/${taskName(task)}`],
  ])('is found by %s', (_what, reference) => {
    expect(containers.find(reference)).toEqual({
      containerId: CONTAINER,
      nodeId: OTHER,
      hostname: 'worker-1',
      address: ADDRESS,
    });
  });

  test.each([
    ['a start of fewer than 6 characters', CONTAINER.slice(0, 5)],
    ['a word that is no id', 'web'],
    ['nothing', ''],
    ['a task of this node', mine.id],
    ['a task that has no node yet', waiting.id],
  ])('is not found by %s', (_what, reference) => {
    expect(containers.find(reference)).toBeNull();
  });

  test('is not found when its node was removed', async () => {
    await it.store.update((tx) => tx.remove('node', OTHER));
    expect(containers.find(task.id)).toBeNull();
  });

  test('is refused when the start of an id is that of several', async () => {
    await it.store.update((tx) => {
      tx.create('task', aTask({ id: 'taskone1'.padEnd(25, '0') as TaskId, nodeId: OTHER }));
    });
    expect(() => containers.find('taskone')).toThrow(/taskone is ambiguous \(2 matches found\)/);
  });
});

describe('nodes that may have what begins so', () => {
  const other = { nodeId: OTHER, hostname: 'worker-1', address: ADDRESS };
  test.each([
    ['the start of an id', CONTAINER.slice(0, 8), [other]],
    ["the start of a task's id", task.id.slice(0, 7), [other]],
    ['fewer than 6 characters', CONTAINER.slice(0, 5), []],
    ['a task of this node', mine.id, []],
    ['a name', taskName(task), []],
  ])('are those of %s', (_what, start, nodes) => {
    expect(containers.holders(start)).toEqual(nodes);
  });

  test('are each told once', async () => {
    await it.store.update((tx) => {
      tx.create('task', aTask({ id: 'taskone1'.padEnd(25, '0') as TaskId, nodeId: OTHER }));
    });
    expect(containers.holders('taskone')).toEqual([other]);
  });
});

describe('a connection to it', () => {
  test('is a call to that node and no other', async () => {
    const found = containers.find(task.id)!;
    const connection = await containers.connect(found, 'it', new AbortController().signal);
    connection.destroy();
    expect(calls).toEqual([[ADDRESS, { nodeId: OTHER }, containerApi]]);
  });

  test('that fails names container and node', async () => {
    failure = new SkepError('unavailable', 'no answer within 3000 ms');
    const { signal } = new AbortController();
    const failed = containers.connect(containers.find(task.id)!, 'container abc', signal);
    await expect(failed).rejects.toMatchObject({
      code: 'unavailable',
      message: 'reach container abc on node worker-1',
      cause: failure,
    });
  });
});
