import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { drain } from '../../../../cli/commands/node-drain.ts';
import { ANYWHERE } from '../../../../common/model/service.ts';
import { aTaskSpec } from '../../../support/builders.ts';
import { StackWorld } from '../../../support/stack-world.ts';

let world: StackWorld;
beforeEach(async () => {
  world = await StackWorld.start(2);
});
afterEach(() => world.stop());

const replicas = (count: number) => ({ mode: { kind: 'replicated' as const, replicas: count } });
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
