import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { rm as removeService } from '../../../../cli/commands/service.ts';
import { rm } from '../../../../cli/commands/stack.ts';
import { deploy } from '../../../../cli/commands/stack-deploy.ts';
import {
  serviceRestart,
  serviceStart,
  serviceStop,
  stackRestart,
  stackStart,
  stackStop,
} from '../../../../cli/commands/verbs.ts';
import type { ServiceId, TaskId } from '../../../../common/model/ids.ts';
import { StackWorld } from '../../../support/stack-world.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();
let cwd: string;
let world: StackWorld;
const argv = ['-c', 'stack.yml', '--resolve-image', 'never', 'shop'];
beforeEach(async () => {
  cwd = await makeFolder();
  world = await StackWorld.start();
  writeFileSync(
    join(cwd, 'stack.yml'),
    `services:
  web: {image: w, deploy: {replicas: 3}, depends_on: [db]}
  db: {image: d, secrets: [key]}
  every: {image: e, deploy: {mode: global}}
secrets: {key: {file: stack.yml}}
`,
  );
  await world.run(deploy, argv, { cwd });
});
afterEach(() => world.stop());

const running = (name: string): TaskId[] =>
  world.rooms.running(world.service(name).id).map(({ id }) => id);
/** The first node goes down with its tasks, of which it says nothing more. */
async function loseNode(): Promise<void> {
  const { id } = world.rooms.nodes()[0]!;
  world.rooms.silent.add(id);
  await world.rooms.setNode(id, (node) => ({ ...node, status: { ...node.status, state: 'down' } }));
  await world.rooms.rest();
}
const counts = (): number[] => ['shop_web', 'shop_db', 'shop_every'].map((n) => running(n).length);

describe('a service', () => {
  test('that is restarted has other tasks', async () => {
    const before = running('shop_web');
    const { status, stdout } = await world.run(serviceRestart, ['shop_web']);
    expect([status, stdout]).toEqual([
      0,
      expect.stringMatching(/^shop_web\n(.*\n)*.*converged\n$/),
    ]);
    expect(running('shop_web')).toHaveLength(3);
    expect(running('shop_web').filter((id) => before.includes(id))).toEqual([]);
  });

  test.each(['shop_web', 'shop_every'])(
    '%s is stopped, and started with what it had',
    async (name) => {
      expect((await world.run(serviceStop, [name])).stdout).toBe(`${name}\n`);
      expect(running(name)).toEqual([]);
      expect((await world.run(serviceStop, [name])).stdout).toBe(`${name} is stopped already\n`);
      expect((await world.run(serviceStart, ['-q', name])).stdout).toBe(`${name}\n`);
      expect(running(name)).toHaveLength(3);
      expect((await world.run(serviceStart, [name])).stdout).toBe(`${name} is not stopped\n`);
      // It is again what the file says.
      expect((await world.run(deploy, [...argv, '--detach'], { cwd })).stdout).toMatch(
        /^Nothing to do/,
      );
    },
  );

  test('is stopped without the word of a node that is down', async () => {
    await loseNode();
    const { status } = await world.run(serviceStop, ['shop_every']);
    expect([status, running('shop_every')]).toEqual([0, []]);
  });

  /** Tasks that are in the store yet, whatever their state. */
  const left = (id: ServiceId): number => world.rooms.tasks(id).length;

  test('is removed, and waited for, however long its last task takes', async () => {
    const { id } = world.service('shop_web');
    const [last] = running('shop_web');
    world.rooms.deaf.add(last!);
    let looks = 0;
    const seen: number[] = [];
    world.beforeCall = async (_, path) => {
      if (path !== '/tasks') return;
      seen.push(left(id));
      if (++looks === 5) world.rooms.deaf.clear();
    };
    const { status, stdout } = await world.run(removeService, [id.slice(0, 12)]);
    expect([status, stdout, left(id)]).toEqual([0, `${id.slice(0, 12)}\n`, 0]);
    expect(seen.slice(1, 5)).toEqual([1, 1, 1, 1]);
    expect([running('shop_db'), running('shop_every')].map(({ length }) => length)).toEqual([1, 3]);
  });

  test('is removed without waiting when that is said', async () => {
    const { id } = world.service('shop_web');
    expect((await world.run(removeService, ['-d', 'shop_web'])).stdout).toBe('shop_web\n');
    expect(world.names('service')).toEqual(['shop_db', 'shop_every']);
    expect(left(id)).toBe(3);
  });

  test('is removed without the word of a node that is down', async () => {
    await loseNode();
    expect((await world.run(removeService, ['shop_every'])).status).toBe(0);
  });

  test('that is not there fails the command, which waits for the others', async () => {
    const { id } = world.service('shop_every');
    const argv = ['nobody', 'shop_every'];
    const { status, stdout, stderr } = await world.run(removeService, argv);
    expect([status, stdout, left(id)]).toEqual([1, 'shop_every\n', 0]);
    expect(stderr).toContain('service nobody not found');
  });

  test('that has the name of a removed one meanwhile is not waited for', async () => {
    const { id, spec } = world.service('shop_db');
    let again: ServiceId | null = null;
    world.beforeCall = async (_, path) => {
      if (path !== '/tasks' || again) return;
      again = (await world.rooms.deploy({ name: spec.name, task: spec.task })).id;
    };
    expect((await world.run(removeService, ['shop_db'])).status).toBe(0);
    expect([left(id), left(again!)]).toEqual([0, 1]);
  });

  test('that is stopped is started by a deployment', async () => {
    await world.run(serviceStop, ['shop_web']);
    await world.run(deploy, argv, { cwd });
    expect(counts()).toEqual([3, 1, 3]);
  });

  test('that is a job is refused, and the others are told', async () => {
    const mode = { kind: 'replicated-job' as const, maxConcurrent: 1, totalCompletions: 1 };
    await world.rooms.deploy({ name: 'once', mode });
    const { status, stdout, stderr } = await world.run(serviceStop, ['once', 'shop_db']);
    expect([status, stdout, stderr]).toEqual([
      1,
      'shop_db\n',
      'once is a job: it cannot be told to stop\n',
    ]);
  });
});

describe('a stack', () => {
  test('is restarted, stopped and started as a whole, in its order', async () => {
    const before = running('shop_db');
    expect((await world.run(stackRestart, ['-q', 'shop'])).stdout).toBe(
      'shop_db\nshop_every\nshop_web\n',
    );
    expect(running('shop_db')).not.toEqual(before);
    expect((await world.run(stackStop, ['shop'])).stdout).toBe('shop_web\nshop_every\nshop_db\n');
    expect(counts()).toEqual([0, 0, 0]);
    expect((await world.run(stackStart, ['-q', 'shop'])).status).toBe(0);
    expect(counts()).toEqual([3, 1, 3]);
  });

  test('that does not come up again says so by its exit status', async () => {
    await world.run(stackStop, ['shop']);
    world.rooms.outcome = () => 'failed';
    expect((await world.run(stackStart, ['-q', '--timeout', '20s', 'shop'])).status).toBe(3);
  });

  test('that does not stop in time says so by its exit status', async () => {
    for (const { id } of world.rooms.nodes()) world.rooms.silent.add(id);
    const startMs = world.rooms.test.clock.wallMs();
    const { status, stderr } = await world.run(stackStop, ['--timeout', '20s', 'shop']);
    expect([status, stderr]).toEqual([3, 'Stack shop: timed out\n']);
    expect(world.rooms.test.clock.wallMs() - startMs).toBe(20_000);
  });

  test('is stopped without the word of a node that is down', async () => {
    await loseNode();
    expect((await world.run(stackStop, ['--timeout', '20s', 'shop'])).status).toBe(0);
  });

  test('of which a service cannot be removed is not waited for without end', async () => {
    world.beforeCall = async (method, path) => {
      if (method !== 'DELETE' || path !== `/services/${world.service('shop_db').id}`) return;
      throw new ApiError(500, 'no leader');
    };
    const { status, stderr } = await world.run(rm, ['shop']);
    expect(status).toBe(1);
    expect(stderr).toContain('Failed to remove service shop_db: ');
    expect(world.names('service')).toEqual(['shop_db']);
    expect(world.rooms.test.store.view((view) => view.count('task'))).toBe(1);
  });

  test('that is not there is an error', async () => {
    expect(await world.run(stackStop, ['none'])).toMatchObject({
      status: 1,
      stderr: 'Nothing found in stack: none\n',
    });
  });

  test('is removed with all it had, and waited for', async () => {
    const { status, stdout } = await world.run(rm, ['shop']);
    expect([status, stdout]).toEqual([
      0,
      [
        'Removing service shop_db',
        'Removing service shop_every',
        'Removing service shop_web',
        'Removing secret shop_key',
        'Removing network shop_default',
        '',
      ].join('\n'),
    ]);
    const { store } = world.rooms.test;
    expect(store.view((view) => view.count('task'))).toBe(0);
    expect(
      ['service', 'secret', 'config', 'network'].map((k) => world.names(k as 'secret')),
    ).toEqual([[], [], [], []]);
  });
});
