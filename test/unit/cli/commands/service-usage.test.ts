import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import type { Configure } from '../../../../cli/commands/context.ts';
import { serviceExec, stackExec } from '../../../../cli/commands/service-exec.ts';
import {
  serviceStats,
  serviceTop,
  stackStats,
  stackTop,
} from '../../../../cli/commands/service-usage.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';

const task = (ServiceID: string, Slot: number, NodeID: string, State = 'running') => ({
  ID: `${ServiceID}-${Slot}`,
  ServiceID,
  Slot,
  NodeID,
  Status: { State },
  DesiredState: 'running',
});
const services = [
  { ID: 'w', Spec: { Name: 'shop_web' } },
  { ID: 'd', Spec: { Name: 'shop_db' } },
];
const tasks = [
  task('w', 2, 'n1'),
  task('w', 1, 'n2'),
  task('w', 3, 'n1', 'starting'),
  task('d', 1, 'n2'),
];
const sample = {
  cpu_stats: {},
  memory_stats: { usage: 1024 ** 2, limit: 4 * 1024 ** 2 },
  pids_stats: { current: 2 },
  blkio_stats: {},
};
const engine: FakeEngine = {
  service: async (name: string) => services.find(({ Spec }) => Spec.Name === name),
  services: async () => services,
  tasks: async ({ service }: { service?: string[] }) =>
    tasks.filter(({ ServiceID }) => !service || service.includes(ServiceID)),
  nodes: async () => [
    { ID: 'n1', Description: { Hostname: 'host-1' } },
    { ID: 'n2', Description: { Hostname: 'host-2' } },
  ],
  containerStats: async () => sample,
  containerTop: async (_id: string, words: string) => {
    return { Titles: ['PID'], Processes: [[words || '1'], ['2']] };
  },
};
const cells = (text: string): string[][] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/));

test('service stats has a row for each running task, with its node', async () => {
  const { stdout } = await runCommand(serviceStats, ['--no-stream', 'shop_web'], { engine });
  expect(cells(stdout).map((row) => row.slice(0, 2))).toEqual([
    ['NAME', 'NODE'],
    ['shop_web.1', 'host-2'],
    ['shop_web.2', 'host-1'],
  ]);
  const one = await runCommand(serviceStats, ['--no-stream', 'shop_web.2'], { engine });
  expect(cells(one.stdout)[1]).toEqual([
    ...['shop_web.2', 'host-1', '0.00%', '1MiB / 4MiB', '25.00%', '0B / 0B', '0B / 0B', '2'],
  ]);
});

test('stack stats has those of all its services', async () => {
  const argv = ['--no-stream', '--format', '{{.Name}}', 'shop'];
  const { stdout } = await runCommand(stackStats, argv, { engine });
  expect(stdout).toBe('shop_db.1\nshop_web.1\nshop_web.2\n');
});

test('service top says which task each process is of', async () => {
  const { stdout } = await runCommand(serviceTop, ['shop_web', '-o', 'pid'], { engine });
  expect(cells(stdout)).toEqual([
    ['TASK', 'NODE', 'PID'],
    ['shop_web.1', 'host-2', '-o pid'],
    ['shop_web.1', 'host-2', '2'],
    ['shop_web.2', 'host-1', '-o pid'],
    ['shop_web.2', 'host-1', '2'],
  ]);
});

test('stack top has the processes of all its services', async () => {
  const { stdout } = await runCommand(stackTop, ['shop', '-o', 'pid'], { engine });
  expect(cells(stdout).map(([task]) => task)).toEqual([
    'TASK',
    ...['shop_db.1', 'shop_web.1', 'shop_web.2'].flatMap((task) => [task, task]),
  ]);
});

test('what runs nowhere is told', async () => {
  const none = { ...engine, tasks: async () => [] };
  expect((await runCommand(serviceTop, ['shop_db'], { engine: none })).stderr).toBe(
    'shop_db has no running task\n',
  );
  expect((await runCommand(stackStats, ['shop'], { engine: none })).stderr).toBe(
    'nothing runs in stack: shop\n',
  );
});

test('a node that does not answer does not hide the others', async () => {
  const half: FakeEngine = {
    ...engine,
    containerTop: async () => {
      calls++;
      if (calls === 1) throw new ApiError(503, 'no answer');
      return { Titles: ['PID'], Processes: [['7']] };
    },
  };
  let calls = 0;
  const result = await runCommand(serviceTop, ['shop_web'], { engine: half });
  expect([result.status, result.stderr]).toEqual([
    1,
    'shop_web.1: Error response from daemon: no answer\n',
  ]);
  expect(cells(result.stdout)[1]).toEqual(['shop_web.2', 'host-1', '7']);
});

test.each([
  ['in a pipe once', undefined, 1],
  ['below each table that is drawn over the last', { columns: 80, rows: 24 }, 3],
])('what a node does not say is told %s', async (_, terminal, times) => {
  const ended = new AbortController();
  let samples = 0;
  const silent: FakeEngine = {
    ...engine,
    services: async () => [services[1]],
    containerStats: async () => {
      if (++samples > 3) ended.abort(new Error('the end'));
      throw new ApiError(503, 'no answer');
    },
  };
  const world = { engine: silent, signal: ended.signal, ...(terminal && { terminal }) };
  const { stderr } = await runCommand(serviceStats, ['shop_db'], world);
  expect(stderr).toBe(
    `${'shop_db.1: Error response from daemon: no answer\n'.repeat(times)}the end\n`,
  );
});

describe('at a node that does not know the services', () => {
  const REFUSAL = 'This node is not a swarm manager. And so on.';
  const HOW =
    ' From a worker this works where managers and workers are started with --api-exec-on-workers.';
  const ask = async (command: Configure, argv: readonly string[], Swarm: object) => {
    const refused = async () => {
      throw new ApiError(503, REFUSAL);
    };
    const fake = { ...engine, service: refused, services: refused, info: async () => ({ Swarm }) };
    const { status, stderr } = await runCommand(command, argv, { engine: fake });
    expect(status).toBe(1);
    return stderr;
  };

  test.each([
    ['service exec', serviceExec, ['web', '--', 'true']],
    ['service exec --all', serviceExec, ['--all', 'web', '--', 'true']],
    ['stack exec', stackExec, ['shop', 'web', '--', 'true']],
    ['service top', serviceTop, ['web']],
    ['stack top', stackTop, ['shop']],
    ['service stats', serviceStats, ['--no-stream', 'web']],
    ['stack stats', stackStats, ['--no-stream', 'shop']],
  ])(
    '%s says by what flag a worker would, and elsewhere no more than the daemon',
    async (...[, command, argv]) => {
      const error = `Error response from daemon: ${REFUSAL}`;
      const worker = { LocalNodeState: 'active', ControlAvailable: false };
      expect(await ask(command, argv, worker)).toBe(`${error}${HOW}\n`);
      for (const other of [{ LocalNodeState: 'inactive' }, { ...worker, ControlAvailable: true }]) {
        expect(await ask(command, argv, other)).toBe(`${error}\n`);
      }
    },
  );
});
