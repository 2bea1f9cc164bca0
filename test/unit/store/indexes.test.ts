import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { NetworkId, NodeId, ServiceId } from '../../../common/model/ids.ts';
import { OBJECT_KINDS } from '../../../common/model/object-kinds.ts';
import { type Task, taskName } from '../../../common/model/task.ts';
import type { ReadView, WriteTx } from '../../../manager/store/types.ts';
import {
  aNetwork,
  aNetworkSpec,
  aNode,
  aNodeDescription,
  aTask,
  idOf,
} from '../../support/builders.ts';
import { makeStore } from '../../support/store.ts';

const SERVICES = ['s0', 's1'].map((label) => idOf<ServiceId>(label));
const NODES = ['n0', 'n1'].map((label) => idOf<NodeId>(label));
const NETWORKS = ['w0', 'w1'].map((label) => idOf<NetworkId>(label));
const SLOTS = [0, 1, 2];
const NAMES = ['a', 'A', 'b', ''];

/** One write, on few ids and few keys, so that they meet often. */
const write = fc.oneof(
  fc.record({
    kind: fc.constant('task' as const),
    id: fc.constantFrom('t0', 't1', 't2', 't3'),
    remove: fc.boolean(),
    serviceId: fc.constantFrom(...SERVICES),
    nodeId: fc.constantFrom(null, ...NODES),
    slot: fc.constantFrom(...SLOTS),
    networks: fc.subarray(NETWORKS),
  }),
  fc.record({
    kind: fc.constant('node' as const),
    id: fc.constantFrom('m0', 'm1', 'm2'),
    remove: fc.boolean(),
    hostname: fc.constantFrom(null, ...NAMES),
  }),
  fc.record({
    kind: fc.constant('network' as const),
    id: fc.constantFrom('k0', 'k1', 'k2'),
    remove: fc.boolean(),
    name: fc.constantFrom(...NAMES),
  }),
);
type Write = typeof write extends fc.Arbitrary<infer T> ? T : never;

function objectOf(change: Write) {
  switch (change.kind) {
    case 'task':
      return aTask({
        id: idOf(change.id),
        serviceId: change.serviceId,
        nodeId: change.nodeId,
        slot: change.slot,
        networks: change.networks.map((networkId) => ({ networkId, addresses: [], aliases: [] })),
      });
    case 'node':
      return aNode({
        id: idOf(change.id),
        description:
          change.hostname === null ? null : aNodeDescription({ hostname: change.hostname }),
      });
    case 'network':
      return aNetwork({ id: idOf(change.id), spec: aNetworkSpec({ name: change.name }) });
  }
}

/** Creates, updates or removes, whichever fits; a name that is taken leaves things as they are. */
function perform(tx: WriteTx, change: Write): void {
  const id = idOf(change.id);
  const exists = tx.get(change.kind, id) !== undefined;
  if (change.remove) {
    if (exists) tx.remove(change.kind, id);
    return;
  }
  const object = objectOf(change);
  try {
    if (exists) tx.update(change.kind, object as never);
    else tx.create(change.kind, object as never);
  } catch (err) {
    expect(err).toMatchObject({ code: 'name-conflict' });
    const { name } = change as { name: string };
    const others = tx.list('network').filter((other) => other.id !== id);
    expect(others.map((other) => other.spec.name.toLowerCase())).toContain(name.toLowerCase());
  }
}

function byId<T extends { readonly id: string }>(objects: readonly T[]): T[] {
  return [...objects].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Everything that an index answers is what a look at every object answers. */
function expectIndexesRight(view: ReadView): void {
  const tasks = view.list('task');
  const where = (holds: (task: Task) => boolean) => byId(tasks.filter(holds));
  for (const id of SERVICES) {
    expect(byId(view.tasksByService(id))).toEqual(where((task) => task.serviceId === id));
    for (const slot of SLOTS) {
      expect(byId(view.tasksBySlot(id, slot))).toEqual(
        where((task) => task.serviceId === id && task.slot === slot),
      );
    }
  }
  for (const id of NODES) {
    expect(byId(view.tasksByNode(id))).toEqual(where((task) => task.nodeId === id));
  }
  for (const id of NETWORKS) {
    expect(byId(view.tasksByNetwork(id))).toEqual(
      where((task) => task.networks.some(({ networkId }) => networkId === id)),
    );
  }
  for (const name of ['a', 'b']) {
    const same = (other: string | undefined) => other?.toLowerCase() === name;
    expect(byId(view.byName('node', name))).toEqual(
      byId(view.list('node').filter((node) => same(node.description?.hostname))),
    );
    const networks = byId(view.list('network').filter(({ spec }) => same(spec.name)));
    expect(byId(view.byName('network', name))).toEqual(networks);
    expect(networks.length).toBeLessThanOrEqual(1);
  }
  for (const task of tasks) expect(view.byName('task', taskName(task))).toEqual([task]);
  for (const kind of OBJECT_KINDS) {
    expect(view.count(kind)).toBe(view.list(kind).length);
    for (const object of view.list(kind)) expect(view.get(kind, object.id)).toBe(object);
  }
}

describe('indexes', () => {
  test('agree with a look at every object, inside and after each transaction', async () => {
    const transactions = fc.array(fc.array(write, { maxLength: 8 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(transactions, async (all) => {
        const { store } = makeStore();
        for (const writes of all) {
          const inside = await store.update((tx) => {
            for (const change of writes) perform(tx, change);
            expectIndexesRight(tx);
            return OBJECT_KINDS.map((kind) => byId(tx.list(kind)));
          });
          store.view(expectIndexesRight);
          const after = store.view((view) => OBJECT_KINDS.map((kind) => byId(view.list(kind))));
          expect(after).toEqual(inside);
        }
      }),
      { numRuns: 150 },
    );
  });

  test('replicas that apply the same entries are the same, byte for byte', async () => {
    const transactions = fc.array(fc.array(write, { maxLength: 5 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(transactions, fc.integer({ min: 1, max: 4 }), async (all, together) => {
        const { store, proposer } = makeStore();
        proposer.hold = true;
        const updates = all.map((writes) =>
          store.update((tx) => {
            for (const change of writes) perform(tx, change);
          }),
        );
        const done = Promise.all(updates);
        let finished = false;
        void done.then(() => {
          finished = true;
        });
        while (!finished) {
          proposer.release(together);
          await new Promise((resolve) => setImmediate(resolve));
        }
        const replica = makeStore();
        for (const entry of proposer.entries) replica.proposer.append(entry);
        expect(replica.store.revision).toBe(store.revision);
        expect(Buffer.concat([...replica.store.snapshot()])).toEqual(
          Buffer.concat([...store.snapshot()]),
        );
      }),
      { numRuns: 100 },
    );
  });
});
