import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { drain } from '../../../../cli/commands/node-drain.ts';
import type { ServiceId } from '../../../../common/model/ids.ts';
import { ANYWHERE, NO_RESOURCES, type Service } from '../../../../common/model/service.ts';
import type { Task } from '../../../../common/model/task.ts';
import { isTerminal } from '../../../../common/model/task-state.ts';
import { aTaskSpec } from '../../../support/builders.ts';
import { StackWorld } from '../../../support/stack-world.ts';

let world: StackWorld;
beforeEach(async () => {
  world = await StackWorld.start(2);
});
afterEach(() => world.stop());

const replicas = (count: number) => ({ mode: { kind: 'replicated' as const, replicas: count } });
const isOpen = ({ status, desiredState }: Task): boolean =>
  !isTerminal(status.state) && desiredState === 'running';
const hosts = (): string[] => world.rooms.nodes().map(({ description }) => description!.hostname);

describe('node drain', () => {
  test('moves everything, and waits until it runs elsewhere', async () => {
    const web = await world.rooms.deploy({ name: 'web', ...replicas(4) });
    const every = await world.rooms.deploy({ name: 'every', mode: { kind: 'global' } });
    const [node, other] = world.rooms.nodes();
    const { status, stdout } = await world.run(drain, ['--wait', hosts()[0]!]);
    expect(status).toBe(0);
    expect(stdout.split('\n')[0]).toBe(hosts()[0]);
    expect(stdout).toMatch(/\n0 tasks left here, 0 of 2 services not whole\n$/);
    expect(world.rooms.running(web.id).map(({ nodeId }) => nodeId)).toEqual(
      Array(4).fill(other!.id),
    );
    expect(world.rooms.running(every.id)).toHaveLength(1);
    expect(world.rooms.nodes().find(({ id }) => id === node!.id)!.spec.availability).toBe('drain');
  });

  /** The fewest tasks of it that ran at any call. */
  function fewest(id: ServiceId): () => number {
    let least = Number.POSITIVE_INFINITY;
    world.beforeCall = async () => {
      least = Math.min(least, world.rooms.running(id).length);
    };
    return () => least;
  }

  test('ends a task only when another runs in its place, one at a time', async () => {
    const web = await world.rooms.deploy({ name: 'web', ...replicas(6) });
    const least = fewest(web.id);
    let most = 0;
    world.rooms.outcome = (task) => {
      most = Math.max(most, world.rooms.tasks(web.id).filter(isOpen).length);
      return task.desiredState === 'running' ? 'running' : 'ready';
    };
    const { status, stdout } = await world.run(drain, ['--wait', hosts()[0]!]);
    expect([status, least(), most]).toEqual([0, 6, 7]);
    expect(stdout).toContain('3 tasks to move: ');
    expect(world.writes.filter((write) => write.endsWith('/move'))).toHaveLength(3);
    expect(world.rooms.tasks(web.id).filter(({ moving }) => moving !== null)).toHaveLength(3);
  });

  test('or the other way round, when that is said', async () => {
    const web = await world.rooms.deploy({ name: 'web', ...replicas(6) });
    const counts = new Set<number>();
    world.rooms.outcome = (task) => {
      counts.add(world.rooms.tasks(web.id).filter(isOpen).length);
      return task.desiredState === 'running' ? 'running' : 'ready';
    };
    const argv = ['--wait', '--order', 'stop-first', hosts()[0]!];
    expect((await world.run(drain, argv)).status).toBe(0);
    expect(Math.max(...counts)).toBe(6);
    expect(world.rooms.running(web.id)).toHaveLength(6);
  });

  test('stops nothing when no other node takes it, and says how to', async () => {
    const [node] = world.rooms.nodes();
    const constraints = [`node.id==${node!.id}`];
    const task = aTaskSpec({ placement: { ...ANYWHERE, constraints } });
    const web = await world.rooms.deploy({ name: 'web', task });
    const { status, stderr } = await world.run(drain, ['-w', hosts()[0]!]);
    expect([status, stderr]).toEqual([4, expect.stringContaining('skep node drain --wait --now')]);
    expect(world.rooms.running(web.id).map(({ nodeId }) => nodeId)).toEqual([node!.id]);
    expect(world.rooms.nodes()[0]!.spec.availability).toBe('pause');
    await world.rooms.pass(10_000);
    const left = world.rooms.tasks(web.id).filter(isOpen);
    expect(left.map(({ moving, nodeId }) => [moving, nodeId])).toEqual([[null, node!.id]]);
    expect((await world.run(drain, ['-w', '--now', hosts()[0]!])).status).toBe(4);
    expect(world.rooms.running(web.id)).toEqual([]);
  });

  test('tries no second time what fails for good elsewhere', async () => {
    const task = aTaskSpec({
      restart: { condition: 'none', delayNanos: 0, maxAttempts: 0, windowNanos: 0 },
    });
    const web = await world.rooms.deploy({ name: 'web', task });
    const [old] = world.rooms.running(web.id);
    await world.rooms.pass(1_000);
    const name = world.rooms.nodes().find(({ id }) => id === old!.nodeId)!.description!.hostname;
    world.rooms.outcome = () => 'failed';
    const { status } = await world.run(drain, ['-w', '--timeout', '5s', name]);
    expect(status).not.toBe(0);
    expect(world.rooms.running(web.id).map(({ id }) => id)).toEqual([old!.id]);
    expect(world.rooms.tasks(web.id)).toHaveLength(2);
  });

  test('asks of services that were in trouble before no more than they had', async () => {
    const [node, other] = world.rooms.nodes();
    const restart = { condition: 'none' as const, delayNanos: 0, maxAttempts: 0, windowNanos: 0 };
    world.rooms.outcome = ({ slot, spec }) =>
      slot === 3 && spec.restart?.condition === 'none' ? 'failed' : 'running';
    const frail = await world.rooms.deploy({
      ...{ name: 'frail', ...replicas(4), task: aTaskSpec({ restart }) },
    });
    const held = await world.rooms.deploy({ name: 'held', ...replicas(2) });
    await world.rooms.test.store.update((tx) => {
      const service = tx.require('service', held.id);
      const updateStatus = { state: 'paused', startedAtMs: 1, completedAtMs: null, message: 'no' };
      tx.update('service', { ...service, updateStatus } as Service);
    });
    const reserved = (memoryBytes: number) => ({
      ...NO_RESOURCES,
      reservations: { ...NO_RESOURCES.reservations, memoryBytes },
    });
    const there = { ...ANYWHERE, constraints: [`node.id==${other!.id}`] };
    const all = other!.description!.memoryBytes;
    await world.rooms.deploy({
      ...{ name: 'hog', task: aTaskSpec({ placement: there, resources: reserved(all) }) },
    });
    const every = await world.rooms.deploy({
      ...{
        name: 'every',
        mode: { kind: 'global' },
        task: aTaskSpec({ resources: reserved(1024) }),
      },
    });
    expect(world.rooms.running(every.id).map(({ nodeId }) => nodeId)).toEqual([node!.id]);

    const { status, stdout, stderr } = await world.run(drain, ['--wait', hosts()[0]!]);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/\n0 tasks left here, 0 of 3 services not whole\n$/);
    for (const [{ id }, count] of [
      [frail, 3],
      [held, 2],
    ] as const) {
      const places = world.rooms.running(id).map(({ nodeId }) => nodeId);
      expect(places).toEqual(Array(count).fill(other!.id));
    }
  });

  test.each([
    ['running', { kind: 'global-job' }, 1],
    ['complete', { kind: 'global-job' }, 0],
    ['running', { kind: 'replicated-job', maxConcurrent: 3, totalCompletions: 9 }, 3],
  ] as const)('a job that is %s: %o goes on where it can', async (state, mode, runs) => {
    world.rooms.outcome = () => state;
    const { id } = await world.rooms.deploy({ name: 'job', mode });
    expect(world.rooms.tasks(id).length).toBeGreaterThanOrEqual(2);
    const { status, stdout, stderr } = await world.run(drain, ['--wait', hosts()[0]!]);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/\n0 tasks left here, 0 of [01] services not whole\n$/);
    const [, other] = world.rooms.nodes();
    const places = world.rooms.running(id).map(({ nodeId }) => nodeId);
    expect(places).toEqual(Array(runs).fill(other!.id));
  });

  const NEVER = { condition: 'none' as const, delayNanos: 0, maxAttempts: 0, windowNanos: 0 };
  test.each([
    ['global job', { kind: 'global-job' }],
    ['replicated job', { kind: 'replicated-job', maxConcurrent: 2, totalCompletions: 2 }],
    ['service', replicas(2).mode],
  ] as const)('a %s that is never restarted goes on elsewhere all the same', async (_, mode) => {
    const task = aTaskSpec({ restart: NEVER });
    const { id } = await world.rooms.deploy({ name: 'once', mode, task });
    expect(world.rooms.running(id)).toHaveLength(2);
    const { status, stderr } = await world.run(drain, ['--wait', hosts()[0]!]);
    expect([status, stderr]).toEqual([0, '']);
  });

  test('a job that is never restarted, of which a task fails elsewhere, is waited for no longer', async () => {
    const mode = { kind: 'replicated-job', maxConcurrent: 2, totalCompletions: 2 } as const;
    const task = aTaskSpec({ restart: NEVER });
    const { id } = await world.rooms.deploy({ name: 'once', mode, task });
    world.rooms.outcome = () => 'failed';
    const { status, stderr } = await world.run(drain, ['--wait', '--timeout', '5s', hosts()[0]!]);
    expect([status, stderr]).toEqual([0, '']);
    expect(
      world.rooms
        .tasks(id)
        .map(({ status: { state } }) => state)
        .sort(),
    ).toEqual(['failed', 'running', 'shutdown']);
  });

  test('asks of such a service what it had: what finds no other place is told', async () => {
    const restart = { condition: 'none' as const, delayNanos: 0, maxAttempts: 0, windowNanos: 0 };
    const placement = { ...ANYWHERE, maxReplicas: 2 };
    world.rooms.outcome = ({ slot }) => (slot === 3 ? 'failed' : 'running');
    const task = aTaskSpec({ restart, placement });
    const { id } = await world.rooms.deploy({ name: 'frail', ...replicas(4), task });
    expect(world.rooms.running(id)).toHaveLength(3);
    const { status, stderr } = await world.run(drain, ['--wait', hosts()[0]!]);
    expect([status, stderr]).toEqual([4, expect.stringMatching(/^frail: .*1 pending: /)]);
  });

  test('writes again when somebody else has written the node in between', async () => {
    const [node] = world.rooms.nodes();
    let others = 2;
    world.beforeCall = async (_, path) => {
      if (!path.endsWith('/update') || others-- <= 0) return;
      const labels = { zone: String(others) };
      await world.rooms.setNode(node!.id, (one) => ({ ...one, spec: { ...one.spec, labels } }));
    };
    expect((await world.run(drain, [hosts()[0]!])).status).toBe(0);
    expect(world.rooms.nodes()[0]!.spec).toMatchObject({
      availability: 'drain',
      labels: { zone: '0' },
    });
  });

  test('does not wait when it is not told to', async () => {
    await world.rooms.deploy({ name: 'web', ...replicas(4) });
    expect(await world.run(drain, [hosts()[0]!])).toMatchObject({ stdout: `${hosts()[0]}\n` });
  });

  test('of an empty node, and of one that is drained already, is done at once', async () => {
    const [name] = hosts();
    for (let time = 0; time < 2; time++) {
      expect((await world.run(drain, ['-w', name!])).stdout).toBe(
        `${name}\n0 tasks left here, 0 of 0 services not whole\n`,
      );
    }
    expect(world.writes).toHaveLength(1);
  });

  test('ends with 4 when no other node takes a task', async () => {
    const [node] = world.rooms.nodes();
    const constraints = [`node.id==${node!.id}`];
    const task = aTaskSpec({ placement: { ...ANYWHERE, constraints } });
    await world.rooms.deploy({ name: 'web', task });
    const { status, stderr } = await world.run(drain, ['-w', hosts()[0]!]);
    expect([status, stderr]).toEqual([
      4,
      expect.stringMatching(/^web: 1 pending: no suitable node/),
    ]);
  });

  test('ends with 3 when tasks do not stop in time', async () => {
    const { id } = await world.rooms.deploy({ name: 'web', ...replicas(2) });
    for (const task of world.rooms.running(id)) world.rooms.deaf.add(task.id);
    expect((await world.run(drain, ['-w', '--timeout', '5s', hosts()[0]!])).status).toBe(3);
  });
});
