import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { NodeRole } from '../../../common/model/node.ts';
import { RoleManager } from '../../../manager/role-manager.ts';
import { aNode, aNodeSpec, idOf } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const nodeId = idOf<NodeId>('nod');

let store: TestStore;
let roles: RoleManager;
let failures: unknown[];
let members: Set<NodeId>;
let removals: { readonly id: NodeId; readonly roleThen: NodeRole }[];
/** why a removal is refused; null = it is not */
let refusal: SkepError | null;
/** a removal takes until this resolves */
let gate: Promise<void>;

beforeEach(() => {
  store = makeStore();
  failures = [];
  members = new Set();
  removals = [];
  refusal = null;
  gate = Promise.resolve();
});

afterEach(async () => {
  await roles.stop();
  expect(store.clock.pending).toBe(0);
});

async function lead(): Promise<void> {
  roles = new RoleManager({
    ...store,
    group: {
      has: (id) => members.has(id),
      nodeIds: () => new Set(members),
      remove: async (id) => {
        removals.push({ id, roleThen: store.get('node', id).role });
        await gate;
        if (refusal) throw refusal;
        members.delete(id);
      },
    },
    log: silentLogger,
    onFailure: (err) => failures.push(err),
  });
  await roles.start();
  await settle();
}

async function want(desiredRole: NodeRole): Promise<void> {
  await store.store.update((tx) => {
    tx.update('node', { ...tx.require('node', nodeId), spec: aNodeSpec({ desiredRole }) });
  });
  await settle();
}

const roleOf = (): NodeRole => store.get('node', nodeId).role;
const aManager = () =>
  aNode({ id: nodeId, role: 'manager', spec: aNodeSpec({ desiredRole: 'manager' }) });

describe('the role manager', () => {
  test('gives a promoted node its role at once', async () => {
    await store.create('node', aNode({ id: nodeId }));
    await lead();
    await want('manager');
    expect(roleOf()).toBe('manager');
    expect(removals).toEqual([]);
  });

  test('does what was wanted before it led', async () => {
    const spec = aNodeSpec({ desiredRole: 'manager' });
    await store.create('node', aNode({ id: nodeId, spec }));
    await lead();
    expect(roleOf()).toBe('manager');
  });

  test('takes a demoted node out of the Raft group before its role changes', async () => {
    await store.create('node', aManager());
    members.add(nodeId);
    await lead();
    await want('worker');
    expect(removals).toEqual([{ id: nodeId, roleThen: 'manager' }]);
    expect(roleOf()).toBe('worker');
  });

  test('a demoted node that was no member yet only loses its role', async () => {
    await store.create('node', aManager());
    await lead();
    await want('worker');
    expect([removals, roleOf()]).toEqual([[], 'worker']);
  });

  test('a worker that is still a member leaves the group', async () => {
    await store.create('node', aNode({ id: nodeId }));
    members.add(nodeId);
    await lead();
    expect(members.has(nodeId)).toBe(false);
  });

  test.each(['failed-precondition', 'unavailable', 'conflict'] as const)(
    'a demotion that fails with %s waits five seconds and is tried again',
    async (code) => {
      await store.create('node', aManager());
      members.add(nodeId);
      refusal = new SkepError(code, 'remove member: quorum would be lost');
      await lead();
      await want('worker');
      await store.clock.advance(4_900);
      expect([removals.length, roleOf()]).toEqual([1, 'manager']);
      await store.clock.advance(200);
      expect([removals.length, roleOf()]).toEqual([2, 'manager']);
      refusal = null;
      await store.clock.advance(5_000);
      expect([members.has(nodeId), roleOf()]).toEqual([false, 'worker']);
      expect(failures).toEqual([]);
    },
  );

  test('a demotion that waits is tried again when any node has changed', async () => {
    await store.create('node', aManager());
    const [other] = await store.create('node', aNode());
    members.add(nodeId);
    refusal = new SkepError('failed-precondition', 'remove member: quorum would be lost');
    await lead();
    await want('worker');
    refusal = null;
    await store.store.update((tx) => {
      tx.update('node', {
        ...tx.require('node', other!.id),
        status: { state: 'down', message: '', address: '' },
      });
    });
    await settle();
    expect([members.has(nodeId), roleOf()]).toEqual([false, 'worker']);
    await store.clock.advance(5_000);
  });

  test('a demotion that was taken back while it waited is forgotten', async () => {
    await store.create('node', aManager());
    members.add(nodeId);
    refusal = new SkepError('failed-precondition', 'remove member: quorum would be lost');
    await lead();
    await want('worker');
    refusal = null;
    await want('manager');
    await store.clock.advance(20_000);
    expect([members.has(nodeId), roleOf(), removals.length]).toEqual([true, 'manager', 1]);
  });

  test('stops in the middle of a demotion that has to wait, and leaves no timer behind', async () => {
    await store.create('node', aManager());
    members.add(nodeId);
    await lead();
    refusal = new SkepError('failed-precondition', 'quorum would be lost');
    let open = (): void => {};
    gate = new Promise((resolve) => {
      open = resolve;
    });
    await want('worker');
    expect(removals).toHaveLength(1);
    const stopping = roles.stop();
    open();
    await stopping; // see afterEach
  });

  test('any other failure is told to the owner', async () => {
    await store.create('node', aManager());
    members.add(nodeId);
    refusal = new SkepError('internal', 'broken');
    await lead();
    await want('worker');
    expect(failures).toEqual([refusal]);
  });
});
