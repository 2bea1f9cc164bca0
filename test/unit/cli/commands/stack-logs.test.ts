import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { stackLogs } from '../../../../cli/commands/logs.ts';
import { frame } from '../../../../daemon/engineapi/frames.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';

const service = (ID: string, Name: string, TTY = false) => ({
  ID,
  Spec: { Name, TaskTemplate: { ContainerSpec: { TTY } } },
});
const SERVICES = [
  service('w', 'shop_web'),
  service('d', 'shop_db'),
  service('t', 'shop_tty', true),
];

/** Each service said one line on each stream. */
function engine(services = SERVICES) {
  const asked: unknown[] = [];
  const fake: FakeEngine = {
    services: async (filters: object) => {
      expect(filters).toEqual({ label: ['com.docker.stack.namespace=shop'] });
      return services;
    },
    service: async (id: string) => services.find(({ ID }) => ID === id),
    node: async () => ({ Spec: {}, Description: { Hostname: 'host-1' } }),
    task: async () => ({ Slot: 2 }),
    logs: async (kind: string, id: string, query: { details?: boolean }) => {
      asked.push([kind, id, query]);
      const swarm = 'com.docker.swarm.';
      const details = `${swarm}node.id=n,${swarm}service.id=${id},${swarm}task.id=task-of-${id} `;
      const line = (text: string) => Buffer.from(`${query.details ? details : ''}${text} ${id}\n`);
      return Readable.from([frame('stdout', line('out')), frame('stderr', line('err'))]);
    },
  };
  return { fake, asked };
}

describe('stack logs', () => {
  test('are those of all its services, each line with where it comes from', async () => {
    const { fake, asked } = engine();
    expect(await runCommand(stackLogs, ['-n', '5', 'shop'], { engine: fake })).toEqual({
      status: 0,
      stdout: 'shop_web.2.task-of-w@host-1    | out w\nshop_db.2.task-of-d@host-1     | out d\n',
      stderr:
        'shop_tty has a terminal: see skep service logs --raw shop_tty\n' +
        'shop_web.2.task-of-w@host-1    | err w\nshop_db.2.task-of-d@host-1     | err d\n',
    });
    expect(asked).toEqual([
      ['services', 'w', { tail: '5', details: true }],
      ['services', 'd', { tail: '5', details: true }],
    ]);
  });

  test('are of those that are named, by either name, once', async () => {
    const { fake, asked } = engine();
    const argv = ['--raw', '-f', 'shop', 'db', 'shop_db'];
    const { stdout } = await runCommand(stackLogs, argv, { engine: fake });
    expect(stdout).toBe('out d\n');
    expect(asked).toEqual([['services', 'd', { tail: 'all', follow: true }]]);
  });

  test('of services that are not there are refused before any is shown', async () => {
    const { fake, asked } = engine();
    expect(await runCommand(stackLogs, ['shop', 'cache', 'db'], { engine: fake })).toEqual({
      ...{ status: 1, stdout: '', stderr: 'no such service in stack shop: cache\n' },
    });
    expect(asked).toEqual([]);
  });

  test('of an empty stack are none, which is said', async () => {
    expect(await runCommand(stackLogs, ['shop'], { engine: engine([]).fake })).toEqual({
      ...{ status: 1, stdout: '', stderr: 'nothing found in stack: shop\n' },
    });
  });

  test('of more services than there can be connections are not followed', async () => {
    const many = Array.from({ length: 101 }, (_, at) => service(`s${at}`, `shop_s${at}`));
    const { fake, asked } = engine(many);
    const { status, stderr } = await runCommand(stackLogs, ['-f', 'shop'], { engine: fake });
    expect([status, stderr, asked]).toEqual([1, expect.stringContaining('100 services'), []]);
    expect((await runCommand(stackLogs, ['shop'], { engine: fake })).status).toBe(0);
  });
});
