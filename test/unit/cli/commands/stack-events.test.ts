import { describe, expect, test } from 'vitest';
import { events } from '../../../../cli/commands/stack-events.ts';
import { runCommand } from '../../../support/cli-command.ts';

const head = (ID: string) => ({ ID, Version: { Index: 1 }, CreatedAt: 'then', UpdatedAt: 'now' });
const service = (UpdateStatus?: object, Image = 'w') => ({
  ...head('s'),
  Spec: { Name: 'shop_web', TaskTemplate: { ContainerSpec: { Image } } },
  ...(UpdateStatus && { UpdateStatus }),
});
const task = (State: string, more: object = {}) => ({
  ...head('task1234567890'),
  ServiceID: 's',
  Slot: 1,
  NodeID: 'n',
  Status: { State, Timestamp: '' },
  ...more,
});
const update = (Kind: string, now: object, before: object) => ({
  Action: 'update',
  Kind,
  Object: now,
  Previous: before,
});

async function lines(changes: readonly object[], ...argv: string[]): Promise<string[]> {
  const engine = {
    services: async () => [],
    nodes: async () => [{ ...head('n'), Spec: {}, Description: { Hostname: 'host-1' } }],
    async *watch(filters: object) {
      expect(filters).toMatchObject({ label: ['com.docker.stack.namespace=shop'] });
      yield* changes;
    },
  };
  const { status, stdout, stderr } = await runCommand(events, [...argv, 'shop'], { engine });
  expect([status, stderr]).toEqual([0, '']);
  return stdout.trimEnd().split('\n');
}

describe('stack events', () => {
  test('tell what people follow, by names', async () => {
    expect(
      await lines([
        { Action: 'create', Kind: 'service', Object: service() },
        { Action: 'create', Kind: 'task', Object: task('new', { NodeID: '' }) },
        update('task', task('running'), task('starting')),
        update(
          'task',
          task('failed', { Status: { State: 'failed', Err: 'exit 1' } }),
          task('running'),
        ),
        update('service', service(undefined, 'x'), service()),
        update('service', service({ State: 'updating', Message: 'in progress' }), service()),
        { Action: 'create', Kind: 'secret', Object: { ...head('k'), Spec: { Name: 'shop_key' } } },
        {
          Action: 'create',
          Kind: 'config',
          Object: {
            ...head('c'),
            Spec: { Name: 'shop.deployment.3', Labels: { 'com.skep.stack.deployment': '3' } },
          },
        },
        { Action: 'remove', Kind: 'network', Object: { Name: 'shop_default', Created: 'now' } },
      ]),
    ).toEqual([
      '2026-01-15T12:00:00.000Z service shop_web create',
      '2026-01-15T12:00:00.000Z task shop_web.1.task12345678 new',
      '2026-01-15T12:00:00.000Z task shop_web.1.task12345678 running on host-1',
      '2026-01-15T12:00:00.000Z task shop_web.1.task12345678 failed on host-1: exit 1',
      '2026-01-15T12:00:00.000Z service shop_web update',
      '2026-01-15T12:00:00.000Z service shop_web updating: in progress',
      '2026-01-15T12:00:00.000Z secret shop_key create',
      '2026-01-15T12:00:00.000Z stack deployment 3',
      '2026-01-15T12:00:00.000Z network shop_default remove',
    ]);
  });

  test('leave out what changes nothing that people see', async () => {
    const moved = { ...task('running'), DesiredState: 'shutdown' };
    const placed = { ...service(), Endpoint: { VirtualIPs: [] } };
    const changes = [
      update('task', moved, task('running')),
      update('service', placed, service()),
      { Action: 'remove', Kind: 'task', Object: task('shutdown') },
    ];
    expect(await lines(changes)).toEqual(['']);
    const told = await lines(changes, '--format', 'json');
    expect(told.map((line) => JSON.parse(line) as object)).toEqual(changes);
  });
});
