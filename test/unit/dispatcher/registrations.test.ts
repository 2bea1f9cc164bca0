import { beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import { REST_MS, Registrations } from '../../../manager/dispatcher/registrations.ts';
import { aNode, aNodeDescription, idOf } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const words = { peerAddress: '10.0.0.1', description: aNodeDescription({ hostname: 'here' }) };

let store: TestStore;
let registrations: Registrations;
let nodeIds: NodeId[];

beforeEach(async () => {
  store = makeStore();
  registrations = new Registrations(store.store, store.clock);
  const status = { state: 'unknown' as const, message: '', address: '' };
  const nodes = await store.create('node', ...Array.from({ length: 20 }, () => aNode({ status })));
  nodeIds = nodes.map(({ id }) => id);
});

const written = (): number => store.proposer.entries.length;

describe('registrations', () => {
  test('a node that comes alone is stored at once', async () => {
    await registrations.write(nodeIds[0]!, words);
    expect(store.get('node', nodeIds[0]!)).toMatchObject({
      description: { hostname: 'here' },
      status: { state: 'ready', address: '10.0.0.1' },
    });
  });

  test('those that come while one is written share a transaction', async () => {
    const before = written();
    await Promise.all(nodeIds.map((nodeId) => registrations.write(nodeId, words)));
    expect(written()).toBe(before + 2);
    for (const nodeId of nodeIds) expect(store.get('node', nodeId).status.state).toBe('ready');
  });

  test('after a write of several the next one waits for more', async () => {
    const [first, second, third, fourth, fifth] = nodeIds as [
      NodeId,
      NodeId,
      NodeId,
      NodeId,
      NodeId,
    ];
    await Promise.all([first, second, third].map((nodeId) => registrations.write(nodeId, words)));
    const before = written();
    const later = Promise.all([fourth, fifth].map((nodeId) => registrations.write(nodeId, words)));
    await store.clock.advance(REST_MS - 1);
    expect(written()).toBe(before);
    await store.clock.advance(1);
    await later;
    expect(written()).toBe(before + 1);
  });

  test('one that says nothing new is not written', async () => {
    await registrations.write(nodeIds[0]!, words);
    const before = written();
    const again = registrations.write(nodeIds[0]!, { ...words });
    await store.clock.advance(REST_MS);
    await again;
    expect(written()).toBe(before);
  });

  test('a node that is not in the cluster is told so, and the others are stored', async () => {
    await registrations.write(nodeIds[0]!, words);
    const stranger = registrations.write(idOf<NodeId>('stranger'), words);
    const refused = expect(stranger).rejects.toMatchObject({ code: 'not-found' });
    const other = registrations.write(nodeIds[1]!, words);
    await store.clock.advance(REST_MS);
    await refused;
    await other;
    expect(store.get('node', nodeIds[1]!).status.state).toBe('ready');
  });

  test('all of a write that failed are told, and the next ones are written', async () => {
    store.proposer.hold = true;
    const lost = registrations.write(nodeIds[0]!, words);
    await settle();
    store.proposer.fail(new SkepError('not-leader', 'another leads'));
    await expect(lost).rejects.toMatchObject({ code: 'not-leader' });
    store.proposer.hold = false;
    const next = registrations.write(nodeIds[0]!, words);
    await store.clock.advance(REST_MS);
    await next;
    expect(store.get('node', nodeIds[0]!).status.state).toBe('ready');
  });
});
