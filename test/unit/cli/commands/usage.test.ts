import { describe, expect, test } from 'vitest';
import type { ContainerStatsJson } from '../../../../cli/client/container-calls.ts';
import { ApiError } from '../../../../cli/client/transport.ts';
import { commit, port, update } from '../../../../cli/commands/container-change.ts';
import { stats, top } from '../../../../cli/commands/container-stats.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';

const sample = (cpuNanos: number, systemNanos: number): ContainerStatsJson => ({
  name: '/web',
  cpu_stats: {
    cpu_usage: { total_usage: cpuNanos },
    system_cpu_usage: systemNanos,
    online_cpus: 2,
  },
  memory_stats: {
    usage: 3 * 1024 ** 2,
    limit: 64 * 1024 ** 2,
    stats: { inactive_file: 1024 ** 2 },
  },
  pids_stats: { current: 4 },
  networks: {
    eth0: { rx_bytes: 1000, tx_bytes: 2000 },
    eth1: { rx_bytes: 500, tx_bytes: 0 },
  },
  blkio_stats: {
    io_service_bytes_recursive: [
      { op: 'Read', value: 4096 },
      { op: 'Write', value: 1 },
    ],
  },
});

describe('skep stats', () => {
  const idle: ContainerStatsJson = {
    name: '/idle',
    cpu_stats: {},
    memory_stats: {},
    pids_stats: {},
    blkio_stats: {},
  };

  test('counts between two samples, and shows a container at rest with dashes', async () => {
    const samples = [sample(1e9, 10e9), sample(2e9, 14e9)];
    const engine: FakeEngine = {
      containers: async () => [
        { Id: 'a'.repeat(64), Names: ['/web'] },
        { Id: 'b'.repeat(64), Names: ['/idle'] },
      ],
      containerStats: async (id: string) => (id.startsWith('a') ? samples.shift()! : idle),
    };
    const { stdout } = await runCommand(stats, ['--no-stream', '-a'], { engine });
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      [
        'CONTAINER ID',
        'NAME',
        'CPU %',
        'MEM USAGE / LIMIT',
        'MEM %',
        'NET I/O',
        'BLOCK I/O',
        'PIDS',
      ],
      ['aaaaaaaaaaaa', 'web', '50.00%', '2MiB / 64MiB', '3.13%', '1.5kB / 2kB', '4.1kB / 1B', '4'],
      ['bbbbbbbbbbbb', 'idle', '--', '-- / --', '--', '-- / --', '-- / --', '--'],
      [''],
    ]);
  });

  test('asks for the containers that are named, and shows what the template says', async () => {
    const engine: FakeEngine = {
      container: async (ref: string) => ({ Id: `id-of-${ref}`, Name: `/name-of-${ref}` }),
      containerStats: async () => sample(0, 0),
    };
    const argv = ['--no-stream', '--format', '{{.Container}} {{.Name}} {{.PIDs}}', 'one', 'two'];
    const { stdout } = await runCommand(stats, argv, { engine });
    expect(stdout).toBe('one name-of-one 4\ntwo name-of-two 4\n');
  });

  const half = (onSample: () => void = () => {}): FakeEngine => ({
    container: async (ref: string) => ({ Id: ref, Name: `/${ref}` }),
    containerStats: async (id: string) => {
      onSample();
      if (id === 'far') throw new ApiError(503, 'node host-2 does not answer');
      if (id === 'gone') throw new ApiError(404, 'No such container: gone');
      return sample(0, 0);
    },
  });
  const format = ['--format', '{{.Name}} {{.PIDs}}'];

  test('tells of a node that does not answer, beside what the others say', async () => {
    const argv = ['--no-stream', ...format, 'far', 'near', 'gone'];
    expect(await runCommand(stats, argv, { engine: half() })).toEqual({
      status: 1,
      stdout: 'far --\nnear 4\n',
      stderr: 'far: Error response from daemon: node host-2 does not answer\n',
    });
  });

  test('tells it once while it lasts', async () => {
    const abort = new AbortController();
    let samples = 0;
    const engine = half(() => {
      if (++samples === 8) abort.abort(new Error('interrupted'));
    });
    const world = { engine, signal: abort.signal };
    const { stdout, stderr } = await runCommand(stats, [...format, 'far', 'near'], world);
    expect(stdout).toBe('far --\nnear 4\n'.repeat(3));
    expect(stderr.match(/^far: /gm)).toHaveLength(1);
  });
});

test('skep top passes the words for ps on', async () => {
  const engine: FakeEngine = {
    containerTop: async (_ref: string, words: string) => ({
      Titles: ['PID', 'CMD'],
      Processes: [['1', words]],
    }),
  };
  const { stdout } = await runCommand(top, ['c', '-eo', 'pid,comm'], { engine });
  expect(stdout).toBe('PID       CMD\n1         -eo pid,comm\n');
});

describe('skep port', () => {
  const engine: FakeEngine = {
    container: async () => ({
      Id: 'c',
      NetworkSettings: {
        Ports: {
          '80/tcp': [
            { HostIp: '0.0.0.0', HostPort: '8080' },
            { HostIp: '::', HostPort: '8080' },
          ],
          '53/udp': null,
        },
      },
    }),
  };

  test('lists all, or one', async () => {
    expect((await runCommand(port, ['c'], { engine })).stdout).toBe(
      '80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n',
    );
    expect((await runCommand(port, ['c', '80'], { engine })).stdout).toBe(
      '0.0.0.0:8080\n[::]:8080\n',
    );
  });

  test('fails for one that is not published', async () => {
    expect(await runCommand(port, ['c', '53/udp'], { engine })).toEqual({
      status: 1,
      stdout: '',
      stderr: "Error: No public port '53/udp' published for c\n",
    });
  });
});

test('skep update asks for what was said alone', async () => {
  const calls: unknown[] = [];
  const engine: FakeEngine = {
    containerUpdate: async (ref: string, change: object) => {
      calls.push([ref, change]);
      return ['careful'];
    },
  };
  const argv = [
    '-m',
    '64m',
    '--cpus',
    '0.5',
    '--restart',
    'on-failure:2',
    '--memory-swap',
    '-1',
    'a',
  ];
  expect(await runCommand(update, argv, { engine })).toEqual({
    status: 0,
    stdout: 'a\n',
    stderr: 'careful\n',
  });
  expect(calls).toEqual([
    [
      'a',
      {
        Memory: 64 * 1024 ** 2,
        NanoCpus: 5e8,
        MemorySwap: -1,
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 },
      },
    ],
  ]);
  expect((await runCommand(update, ['a'], { engine })).stderr).toContain('one or more flags');
});

test('skep commit names the image', async () => {
  const calls: unknown[] = [];
  const engine: FakeEngine = {
    containerCommit: async (ref: string, query: object) => {
      calls.push([ref, query]);
      return { Id: 'sha256:1' };
    },
  };
  const argv = ['-m', 'why', '-a', 'me', '-c', 'CMD ["x"]', '-c', 'USER 5', 'c', 'reg:5000/x/y:2'];
  expect((await runCommand(commit, argv, { engine })).stdout).toBe('sha256:1\n');
  const changes = ['CMD ["x"]', 'USER 5'];
  const said = {
    repo: 'reg:5000/x/y',
    tag: '2',
    author: 'me',
    comment: 'why',
    changes,
    pause: true,
  };
  expect(calls).toEqual([['c', said]]);
});

test.each(['--cpu-rt-period', '--cpu-rt-runtime'])(
  'skep update refuses %s by name',
  async (name) => {
    const { status, stderr } = await runCommand(update, [name, '1', 'a'], { engine: {} });
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining('limits of real-time work are not supported'),
    ]);
  },
);
