import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { Expulsion } from '../../../manager/expulsion.ts';
import { aCluster, aNode } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

let running: Expulsion | null = null;
afterEach(() => running?.stop());

async function expulsionOver(store: TestStore): Promise<string[]> {
  const cut: string[] = [];
  running = new Expulsion({
    ...store,
    log: silentLogger,
    onFailure: (err) => {
      throw err;
    },
    disconnect: (nodeId) => cut.push(nodeId),
    disconnectCalls: (nodeId) => cut.push(`calls of ${nodeId}`),
  });
  await running.start();
  await settle();
  return cut;
}

describe('expulsion', () => {
  test('cuts the connections of a node when it is removed, and of no other', async () => {
    const store = makeStore();
    await store.create('cluster', aCluster());
    const [node] = await store.create('node', aNode(), aNode());
    const cut = await expulsionOver(store);
    await store.store.update((tx) => tx.update('node', { ...node!, role: 'manager' }));
    await settle();
    expect(cut).toEqual([]);
    await store.store.update((tx) => tx.remove('node', node!.id));
    await settle();
    expect(cut).toEqual([node!.id]);
  });

  test('cuts the calls of a manager that becomes a worker, and not its links', async () => {
    const store = makeStore();
    await store.create('cluster', aCluster());
    const [node] = await store.create('node', aNode({ role: 'manager' }));
    const cut = await expulsionOver(store);
    const labelled = { ...node!, spec: { ...node!.spec, labels: { a: 'b' } } };
    await store.store.update((tx) => tx.update('node', labelled));
    await settle();
    expect(cut).toEqual([]);
    await store.store.update((tx) => {
      tx.update('node', { ...tx.require('node', node!.id), role: 'worker' });
    });
    await settle();
    expect(cut).toEqual([`calls of ${node!.id}`]);
  });

  test('a manager that missed the removal finds it in the block list', async () => {
    const store = makeStore();
    await store.create('cluster', aCluster({ blockedNodes: { gone: 1 } }));
    expect(await expulsionOver(store)).toEqual(['gone']);
  });
});
