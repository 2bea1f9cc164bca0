import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { EngineEvent } from '../../../common/model/engine-event.ts';
import type { ServiceSpec } from '../../../common/model/service.ts';
import { ClusterEvents } from '../../../manager/cluster-events.ts';
import {
  aConfig,
  aContainerSpec,
  aNetwork,
  aNode,
  aNodeDescription,
  aNodeSpec,
  aSecret,
  aService,
  aServiceSpec,
  aTask,
  aTaskSpec,
} from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore } from '../../support/store.ts';

let running: ClusterEvents | null = null;
afterEach(() => running?.stop());

async function begin() {
  const test = makeStore();
  const told: (EngineEvent & { readonly timeMs: number })[] = [];
  running = new ClusterEvents({
    ...test,
    log: silentLogger,
    onFailure: (err) => {
      throw err;
    },
    tell: (event, timeMs) => told.push({ ...event, timeMs }),
  });
  await running.start();
  await settle();
  return { ...test, told };
}

/** The attributes, beside the name, of the event that a change of a service's spec makes. */
async function onChange(patch: (spec: ServiceSpec) => Partial<ServiceSpec>): Promise<object> {
  const it = await begin();
  const [service] = await it.create('service', aService({ spec: aServiceSpec({ name: 'web' }) }));
  const spec = { ...service!.spec, ...patch(service!.spec) };
  await it.store.update((tx) => tx.update('service', { ...service!, spec }));
  await settle();
  const { name, ...rest } = it.told.at(-1)!.attributes;
  expect([it.told.at(-1)!.action, name]).toEqual(['update', 'web']);
  return rest;
}

describe('events of the cluster', () => {
  test('tell what is created, changed and removed, and nothing of tasks', async () => {
    const it = await begin();
    const [network] = await it.create('network', aNetwork());
    await it.create('secret', aSecret());
    await it.create('config', aConfig());
    await it.create('task', aTask());
    const [node] = await it.create(
      'node',
      aNode({ description: aNodeDescription({ hostname: 'h1' }) }),
    );
    await it.store.update((tx) => tx.remove('network', network!.id));
    await settle();
    expect(it.told.map(({ type, action }) => `${type} ${action}`)).toEqual([
      'network create',
      'secret create',
      'config create',
      'node create',
      'network remove',
    ]);
    expect(it.told[3]).toMatchObject({ id: node!.id, attributes: { name: 'h1' } });
    expect(it.told[4]).toMatchObject({ attributes: { name: network!.spec.name } });
  });

  test('have the time of the change, the present for a removal', async () => {
    const it = await begin();
    const [secret] = await it.create('secret', aSecret());
    const createdMs = it.clock.wallMs();
    await settle();
    await it.clock.advance(1000);
    await it.store.update((tx) => tx.remove('secret', secret!.id));
    await settle();
    expect(it.told.map(({ timeMs }) => timeMs - createdMs)).toEqual([0, 1000]);
  });

  test('begin with what comes: nothing that was there before is told', async () => {
    const it = await begin();
    await it.create('secret', aSecret());
    await running?.stop();
    it.told.length = 0;
    const again = new ClusterEvents({
      ...it,
      log: silentLogger,
      onFailure: () => {},
      tell: (event, timeMs) => it.told.push({ ...event, timeMs }),
    });
    running = again;
    await again.start();
    await settle();
    expect(it.told).toEqual([]);
  });

  test('of a scaled service say from how many to how many', async () => {
    expect(await onChange(() => ({ mode: { kind: 'replicated', replicas: 7 } }))).toEqual({
      'replicas.old': '1',
      'replicas.new': '7',
    });
  });

  test('of a service with another image name both', async () => {
    const container = aContainerSpec({ image: 'web:2' });
    expect(await onChange(() => ({ task: aTaskSpec({ container }) }))).toEqual({
      'image.old': 'docker.io/library/busybox:1.36',
      'image.new': 'web:2',
    });
  });

  test('of another change of a service say no more than its name', async () => {
    expect(await onChange(() => ({ labels: { a: 'b' } }))).toEqual({});
  });

  test('of an update under way give its states', async () => {
    const it = await begin();
    const [service] = await it.create('service', aService());
    const status = { startedAtMs: 1, completedAtMs: null, message: '' };
    const states = ['updating', 'updating', 'completed'] as const;
    for (const state of states) {
      await it.store.update((tx) => {
        const now = tx.require('service', service!.id);
        tx.update('service', { ...now, updateStatus: { ...status, state } });
      });
    }
    await settle();
    expect(it.told.slice(1).map(({ attributes: { name: _, ...rest } }) => rest)).toEqual([
      { 'updatestate.new': 'updating' },
      {},
      { 'updatestate.old': 'updating', 'updatestate.new': 'completed' },
    ]);
  });

  test('of a node tell availability, role and state', async () => {
    const it = await begin();
    const [node] = await it.create('node', aNode({ spec: aNodeSpec({ name: 'n1' }) }));
    await it.store.update((tx) =>
      tx.update('node', {
        ...node!,
        spec: { ...node!.spec, availability: 'drain' },
        role: 'manager',
        status: { ...node!.status, state: 'down' },
      }),
    );
    await settle();
    expect(it.told.at(-1)!.attributes).toEqual({
      name: 'n1',
      'availability.old': 'active',
      'availability.new': 'drain',
      'role.old': 'worker',
      'role.new': 'manager',
      'state.old': 'ready',
      'state.new': 'down',
    });
  });
});
