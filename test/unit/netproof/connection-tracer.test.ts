import { describe, expect, test } from 'vitest';
import type { NodeId, ServiceId, TaskId } from '../../../common/model/ids.ts';
import { taskName } from '../../../common/model/task.ts';
import type { RpcClients } from '../../../common/rpc/pool.ts';
import { ConnectionTracer } from '../../../manager/netproof/connection-tracer.ts';
import {
  aNode,
  aNodeDescription,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { makeStore } from '../../support/store.ts';

const HOPS = [{ step: 'name', detail: 'web is here', faults: [] }];

async function scene() {
  const { store, create } = makeStore();
  const web = aService({ id: idOf<ServiceId>('web'), spec: aServiceSpec({ name: 'web' }) });
  const node = (name: string, state: 'ready' | 'down') =>
    aNode({
      id: idOf<NodeId>(name),
      description: aNodeDescription({ hostname: name, address: `${name}:2377` }),
      status: { state, message: '', address: '' },
    });
  const task = (name: string, on: string, state: 'running' | 'failed') => ({
    ...aTaskOf(web, { slot: 1 }),
    id: idOf<TaskId>(name),
    nodeId: idOf<NodeId>(on),
    status: aTaskStatus({ state }),
  });
  const tasks = [task('old', 'b', 'failed'), task('new', 'a', 'running')] as const;
  await create('service', web);
  await create('node', node('a', 'ready'), node('b', 'ready'), node('c', 'down'));
  await create('task', ...tasks);
  const asked: unknown[] = [];
  const client = (address: string) => ({
    unary: async (_method: unknown, request: unknown) => {
      asked.push([address, request]);
      return HOPS;
    },
  });
  const tracer = new ConnectionTracer({ store, pool: { client } as unknown as RpcClients });
  const { signal } = new AbortController();
  const fail = (id: TaskId) =>
    store.update((tx) => {
      const status = aTaskStatus({ state: 'failed' });
      tx.update('task', { ...tx.require('task', id), status });
    });
  const trace = (from: string, name = 'web') => tracer.trace(name, from, signal);
  return { asked, tasks, trace, fail, create };
}

describe('where a connection starts', () => {
  test('at a node, by its name or id', async () => {
    const { asked, trace } = await scene();
    expect(await trace('b')).toMatchObject({ task: null, hops: HOPS });
    await trace(idOf<NodeId>('b'));
    expect(asked).toEqual(
      Array.from({ length: 2 }, () => ['b:2377', { service: 'web', taskId: '' }]),
    );
  });

  test('at a task, by its id, name or slot: the running one of its slot', async () => {
    const { asked, tasks, trace } = await scene();
    const [old, running] = tasks;
    for (const from of ['web.1', running.id, taskName(running)]) {
      expect((await trace(from)).task?.id).toBe(running.id);
    }
    expect((await trace(old.id)).task?.id).toBe(old.id);
    expect(asked.at(-1)).toEqual(['b:2377', { service: 'web', taskId: old.id }]);
  });

  test('at the one that ended last, where none of its slot runs', async () => {
    const { tasks, trace, fail, create } = await scene();
    const [old, running] = tasks;
    await fail(running.id);
    expect((await trace('web.1')).task?.id).toBe(running.id);
    await create('task', { ...old, id: idOf<TaskId>('aaa') });
    expect((await trace('web.1')).task?.id).toBe(idOf<TaskId>('aaa'));
  });

  test('at a task of a global service, by the name or id of its node', async () => {
    const { trace, create } = await scene();
    const agent = aService({ id: idOf<ServiceId>('agent'), spec: aServiceSpec({ name: 'agent' }) });
    const nodeId = idOf<NodeId>('node-of-d');
    const description = aNodeDescription({ hostname: 'd', address: 'd:2377' });
    const status = { state: 'ready', message: '', address: '' } as const;
    const task = (name: string, on: NodeId) => ({
      ...aTaskOf(agent, { slot: null }),
      ...{ id: idOf<TaskId>(name), nodeId: on, status: aTaskStatus({ state: 'running' }) },
    });
    const [there, other] = [task('there', nodeId), task('other', idOf<NodeId>('a'))];
    await create('service', agent);
    await create('node', aNode({ id: nodeId, description, status }));
    await create('task', there, other);
    for (const from of ['agent.d', `agent.${nodeId}`, taskName(there)]) {
      expect((await trace(from)).task?.id, from).toBe(there.id);
    }
    expect((await trace('agent.a')).task?.id).toBe(other.id);
    for (const from of ['agent.', 'agent.b', 'agent.1', 'web.a']) {
      await expect(trace(from)).rejects.toThrow(`'${from}' is neither a node nor a task`);
    }
  });

  test('what is not there, or not up, is named', async () => {
    const { trace } = await scene();
    await expect(trace('a', 'nothing')).rejects.toThrow('service nothing not found');
    await expect(trace('nobody')).rejects.toThrow("'nobody' is neither a node nor a task");
    await expect(trace('c')).rejects.toThrow('trace from c: its node c is not up');
  });
});
