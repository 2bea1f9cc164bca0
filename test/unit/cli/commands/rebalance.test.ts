import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { drain } from '../../../../cli/commands/node-drain.ts';
import { rebalance } from '../../../../cli/commands/rebalance.ts';
import type { Availability } from '../../../../common/model/node.ts';
import { StackWorld } from '../../../support/stack-world.ts';

let world: StackWorld;
beforeEach(async () => {
  world = await StackWorld.start(3);
});
afterEach(() => world.stop());

const replicas = (count: number) => ({ mode: { kind: 'replicated' as const, replicas: count } });
const hosts = (): string[] => world.rooms.nodes().map(({ description }) => description!.hostname);

/** Tasks of a service by node, in the nodes' order. */
function spread(name: string): number[] {
  const running = world.rooms.running(world.service(name).id);
  return world.rooms.nodes().map(({ id }) => running.filter(({ nodeId }) => nodeId === id).length);
}

async function setAvailability(at: number, availability: Availability): Promise<void> {
  const { id } = world.rooms.nodes()[at]!;
  await world.rooms.setNode(id, (node) => ({ ...node, spec: { ...node.spec, availability } }));
  await world.rooms.rest();
}

describe('swarm rebalance', () => {
  beforeEach(async () => {
    await world.rooms.deploy({ name: 'web', ...replicas(6) });
    await world.rooms.deploy({ name: 'every', mode: { kind: 'global' } });
    await world.run(drain, [hosts()[0]!]);
    await world.rooms.pass(10_000);
    await setAvailability(0, 'active');
    await world.rooms.pass(10_000);
    expect(spread('web')).toEqual([0, 3, 3]);
  });

  test('says what would move, and moves nothing', async () => {
    world.writes.length = 0;
    const { stdout } = await world.run(rebalance, ['--plan']);
    const [heading, ...rows] = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(heading).toEqual(['TASK', 'FROM', 'TO']);
    expect(rows).toHaveLength(2);
    expect(new Set(rows.map(([, from]) => from))).toEqual(new Set(hosts().slice(1)));
    expect(rows.map(([, , to]) => to)).toEqual([hosts()[0], hosts()[0]]);
    expect([world.writes, spread('web')]).toEqual([[], [0, 3, 3]]);
    const json = JSON.parse((await world.run(rebalance, ['--plan', '--json'])).stdout) as object[];
    expect(json).toHaveLength(2);
  });

  test('moves as it said, and never has less running', async () => {
    const { id } = world.service('web');
    let least = 6;
    world.beforeCall = async () => {
      least = Math.min(least, world.rooms.running(id).length);
    };
    const { status, stdout } = await world.run(rebalance, ['--apply']);
    expect([status, least, spread('web')]).toEqual([0, 6, [2, 2, 2]]);
    expect(stdout).toMatch(/2 of 2 tasks moved\n$/);
    expect((await world.run(rebalance, ['--apply'])).stdout).toMatch(/^Nothing to move/);
  });

  test('says which task is not moved, and moves the others', async () => {
    let isFirst = true;
    world.beforeCall = async (_, path) => {
      if (!path.endsWith('/move') || !isFirst) return;
      isFirst = false;
      throw new ApiError(400, 'it is not wanted any more');
    };
    const { status, stdout, stderr } = await world.run(rebalance, ['--apply']);
    expect([status, stderr]).toEqual([0, 'it is not wanted any more\n']);
    expect(stdout).toMatch(/1 of 1 tasks moved\n$/);
    expect(spread('web').sort()).toEqual([1, 2, 3]);
  });

  test('prints nothing but JSON when JSON is asked for', async () => {
    const { stdout } = await world.run(rebalance, ['--apply', '--json']);
    expect(JSON.parse(stdout)).toHaveLength(2);
    expect(spread('web')).toEqual([2, 2, 2]);
  });

  test('calls off what did not move in time', async () => {
    world.rooms.outcome = () => 'preparing';
    const { status, stderr } = await world.run(rebalance, ['--apply', '--timeout', '5s']);
    expect([status, stderr]).toEqual([3, expect.stringContaining('stays where it is')]);
    await world.rooms.pass(10_000);
    const tasks = world.rooms.tasks(world.service('web').id);
    const open = tasks.filter((task) => task.desiredState === 'running');
    expect(open.filter(({ moving }) => moving !== null)).toEqual([]);
    expect(spread('web')).toEqual([0, 3, 3]);
  });

  test('keeps to its budget', async () => {
    await world.run(rebalance, ['--apply', '--budget', '1']);
    expect(spread('web').sort()).toEqual([1, 2, 3]);
  });

  test('leaves a service alone that is being updated, and tasks where they must be', async () => {
    await world.rooms.change(world.service('web').id, (spec) => ({
      ...spec,
      task: { ...spec.task, container: { ...spec.task.container, image: 'w:2' } },
    }));
    await world.rooms.rest();
    expect(world.service('web').updateStatus?.state).toBe('updating');
    expect((await world.run(rebalance, ['--plan'])).stdout).toMatch(/^Nothing to move/);
  });

  test('must be told what to do', async () => {
    for (const argv of [[], ['--plan', '--apply']]) {
      expect((await world.run(rebalance, argv)).stderr).toBe('rebalance: say --plan, or --apply\n');
    }
    expect((await world.run(rebalance, ['--plan', '--budget', '0'])).stderr).toContain('1 to 1000');
  });
});
