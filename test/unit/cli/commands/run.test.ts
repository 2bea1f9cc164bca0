import { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { attach, start } from '../../../../cli/commands/container-attach.ts';
import { kill, prune, restart, rm, stop } from '../../../../cli/commands/container-verbs.ts';
import type { Configure } from '../../../../cli/commands/context.ts';
import { create, run } from '../../../../cli/commands/run.ts';
import { frame } from '../../../../daemon/engineapi/frames.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';

/** Remembers what it was asked; a container says `output` and ends with `exitCode`. */
function engine(output: readonly Buffer[] = [], exitCode = 0) {
  const calls: unknown[] = [];
  const fake: FakeEngine = {
    containerCreate: async (name: string | undefined, request: object) => {
      calls.push(['create', name, request]);
      return { Id: 'ID' };
    },
    containerDo: async (ref: string, verb: string, query = {}) => {
      calls.push([verb, ref, query]);
    },
    containerAttach: async (ref: string, stdin: boolean) => {
      calls.push(['attach', ref, stdin]);
      const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
      for (const chunk of output) socket.push(chunk);
      socket.push(null);
      return { socket, head: Buffer.alloc(0), contentType: '' };
    },
    containerWait: async (ref: string, condition: string) => {
      calls.push(['wait', ref, condition]);
      return async () => exitCode;
    },
  };
  return { fake, calls };
}

async function requested(...argv: string[]): Promise<Record<string, object>> {
  const { fake, calls } = engine();
  const result = await runCommand(create, argv, { engine: fake, env: { HOME: '/h' } });
  expect(result).toEqual({ status: 0, stdout: 'ID\n', stderr: '' });
  return (calls[0] as [string, string, Record<string, object>])[2];
}

describe('skep container create', () => {
  test('asks for an image and a command, and nothing that was not said', async () => {
    expect(await requested('box', 'sh', '-c', 'x')).toEqual({
      Image: 'box',
      Cmd: ['sh', '-c', 'x'],
      Volumes: {},
      HostConfig: {},
    });
  });

  test('asks for what its flags say, in the words of the API', async () => {
    const flags = [
      ...['-e', 'A=1', '-e', 'HOME', '-l', 'a=b', '-u', '5', '-w', '/w', '-h', 'box', '-it'],
      ...['--restart', 'on-failure:3', '-m', '64m', '--memory-swap', '-1', '--cpus', '0.5'],
      ...['-v', '/a:/b:ro', '-v', '/anon', '--tmpfs', '/t:size=1m', '--cap-add', 'CHOWN'],
      ...['--network', 'host', '--read-only', '--init', '--entrypoint', 'e', '--privileged'],
      ...['--security-opt', 'no-new-privileges', '--dns', '1.1.1.1', '--add-host', 'h:1.2.3.4'],
      ...['--stop-timeout', '3', '--no-healthcheck', '--ulimit', 'nofile=5', '--sysctl', 'a.b=1'],
    ];
    expect(await requested(...flags, 'box')).toMatchObject({
      Env: ['A=1', 'HOME=/h'],
      Labels: { a: 'b' },
      User: '5',
      WorkingDir: '/w',
      Hostname: 'box',
      Tty: true,
      OpenStdin: true,
      StdinOnce: true,
      Entrypoint: ['e'],
      StopTimeout: 3,
      Healthcheck: { Test: ['NONE'] },
      Volumes: { '/anon': {} },
      HostConfig: {
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
        Memory: 64 * 1024 ** 2,
        MemorySwap: -1,
        NanoCpus: 5e8,
        Binds: ['/a:/b:ro'],
        Tmpfs: { '/t': 'size=1m' },
        CapAdd: ['CHOWN'],
        NetworkMode: 'host',
        ReadonlyRootfs: true,
        Init: true,
        Privileged: true,
        SecurityOpt: ['no-new-privileges'],
        Dns: ['1.1.1.1'],
        ExtraHosts: ['h:1.2.3.4'],
        Ulimits: [{ Name: 'nofile', Soft: 5, Hard: 5 }],
        Sysctls: { 'a.b': '1' },
      },
    });
  });

  test.each<[readonly string[], string | undefined, object | undefined]>([
    [[], undefined, undefined],
    [['--network', 'front'], 'front', undefined],
    [['--network', 'front', '--network', 'back'], 'front', { back: {} }],
    [
      ['--network', 'front', '--network-alias', 'a', '--network-alias', 'b', '--ip', '10.1.0.5'],
      'front',
      { front: { Aliases: ['a', 'b'], IPAMConfig: { IPv4Address: '10.1.0.5' } } },
    ],
    [
      ['--mac-address', '02:42:0a:01:00:05'],
      undefined,
      { bridge: { MacAddress: '02:42:0a:01:00:05' } },
    ],
    [
      [
        '--network',
        'name=front,alias=a,ip=10.1.0.5',
        '--network',
        'name=back,mac-address=02:42:0a:01:00:05',
      ],
      'front',
      {
        front: { Aliases: ['a'], IPAMConfig: { IPv4Address: '10.1.0.5' } },
        back: { MacAddress: '02:42:0a:01:00:05' },
      },
    ],
  ])('%j is in its networks as asked', async (flags, mode, endpoints) => {
    const { HostConfig, NetworkingConfig } = await requested(...flags, 'box');
    expect(HostConfig).toEqual(mode === undefined ? {} : { NetworkMode: mode });
    expect(NetworkingConfig).toEqual(endpoints && { EndpointsConfig: endpoints });
  });

  test.each([
    [['--network', 'a', '--network', 'a'], '--network: network "a" is specified multiple times'],
    [['--network', 'host', '--ip', '1.2.3.4'], '--network host: the mode host goes with no other'],
    [['--network', 'a', '--network', 'none'], '--network none: the mode none goes with no other'],
    [['--network', 'container:x', '--network-alias', 'b'], 'the network of another container goes'],
    [['--network', 'alias=b'], '--network alias=b: name is missing'],
    [['--network', 'name=a,ip6=::1'], '--network name=a,ip6=::1: ip6 is not supported'],
    [['--network', 'name=a,ip'], '--network name=a,ip: ip needs a value'],
    [['--network', 'name=a,ip=1.2.3.4', '--ip', '1.2.3.5'], '--ip: --network a says it too'],
  ])('%j is refused by name', async (flags, message) => {
    const { fake, calls } = engine();
    const result = await runCommand(create, [...flags, 'box'], { engine: fake });
    expect(result.stderr).toContain(message);
    expect(result.status).not.toBe(0);
    expect(calls).toEqual([]);
  });

  test('has what makes it, devices, and what it has of others', async () => {
    const { HostConfig } = await requested(
      ...['--runtime', 'crun', '--gpus', 'all', '--device', 'acme.com/nic=0'],
      ...['--device', '/dev/fuse', '--link', 'db:store', '--link', 'cache'],
      ...['--pid', 'container:db', '--ipc', 'shareable', 'box'],
    );
    expect(HostConfig).toEqual({
      Runtime: 'crun',
      Devices: [
        { PathOnHost: '/dev/fuse', PathInContainer: '/dev/fuse', CgroupPermissions: 'rwm' },
      ],
      DeviceRequests: [
        { Driver: '', Count: -1, DeviceIDs: null, Capabilities: [['gpu']] },
        { Driver: 'cdi', Count: 0, DeviceIDs: ['acme.com/nic=0'], Capabilities: [] },
      ],
      Links: ['db:store', 'cache'],
      PidMode: 'container:db',
      IpcMode: 'shareable',
    });
  });

  test('publishes ports, ranges pairwise, and the first free one of a range', async () => {
    const ports = ['8080:80', '127.0.0.1:53:53/udp', '9000-9010:90', '1-2:1-2', '7'];
    const { HostConfig, ExposedPorts } = await requested(...ports.flatMap((p) => ['-p', p]), 'box');
    expect(HostConfig).toEqual({
      PortBindings: {
        '80/tcp': [{ HostIp: '', HostPort: '8080' }],
        '53/udp': [{ HostIp: '127.0.0.1', HostPort: '53' }],
        '90/tcp': [{ HostIp: '', HostPort: '9000-9010' }],
        '1/tcp': [{ HostIp: '', HostPort: '1' }],
        '2/tcp': [{ HostIp: '', HostPort: '2' }],
        '7/tcp': [{ HostIp: '', HostPort: '' }],
      },
    });
    expect(Object.keys(ExposedPorts ?? {})).toContain('53/udp');
  });

  test.each([['--restart=always:3'], ['--gpus=some'], ['--pid=web'], ['--platform=linux/arm64']])(
    '%s is refused',
    async (flagged) => {
      const { fake, calls } = engine();
      const result = await runCommand(create, [flagged, 'box'], { engine: fake });
      expect(result.status).not.toBe(0);
      expect(calls).toEqual([]);
    },
  );
});

describe('skep run', () => {
  test('attaches and waits before it starts, shows both streams, and ends as the container', async () => {
    const { fake, calls } = engine(
      [frame('stdout', Buffer.from('out\n')), frame('stderr', Buffer.from('err\n'))],
      7,
    );
    const result = await runCommand(run, ['--rm', '--name', 'web', 'box'], { engine: fake });
    expect(result).toEqual({ status: 7, stdout: 'out\n', stderr: 'err\n' });
    expect(calls.slice(1)).toEqual([
      ['attach', 'ID', false],
      ['wait', 'ID', 'removed'],
      ['start', 'ID', {}],
    ]);
    expect(calls[0]).toMatchObject(['create', 'web', { HostConfig: { AutoRemove: true } }]);
  });

  /** One that runs until it is killed, then ends with 137. */
  function endless() {
    const { fake, calls } = engine();
    const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
    fake.containerAttach = async () => ({ socket, head: Buffer.alloc(0), contentType: '' });
    fake.containerWait = async () => async () => 137;
    let isStarted = (): void => {};
    const started = new Promise<void>((done) => {
      isStarted = done;
    });
    fake.containerDo = async (ref: string, verb: string, query = {}) => {
      calls.push([verb, ref, query]);
      if (verb === 'start') isStarted();
      if (verb === 'kill') socket.push(null);
    };
    return { fake, calls, socket, started };
  }

  test('signals are passed on to the container, whose exit status is ours', async () => {
    const { fake, calls, started } = endless();
    let deliver: ((name: NodeJS.Signals) => void) | null = null;
    const takeSignals = (to: (name: NodeJS.Signals) => void) => {
      deliver = to;
      return () => {
        deliver = null;
      };
    };
    const result = runCommand(run, ['--rm', 'box'], { engine: fake, takeSignals });
    await started;
    deliver!('SIGINT');
    expect((await result).status).toBe(137);
    expect(calls.at(-1)).toEqual(['kill', 'ID', { signal: 'INT' }]);
    expect(deliver).toBeNull();
  });

  test.each([
    ['--sig-proxy=false', { sigProxy: false }],
    ['--tty', { tty: true }],
  ])(
    'with %s none are: Ctrl-C leaves the container alone, and ends the command',
    async (_, flags) => {
      const { fake, calls, socket, started } = endless();
      const abort = new AbortController();
      const takeSignals = () => {
        throw new Error('taken');
      };
      const world = { engine: fake, takeSignals, signal: abort.signal };
      const flagged: Configure = (command, context) => {
        run(command, context);
        for (const [name, value] of Object.entries(flags)) command.setOptionValue(name, value);
      };
      const result = runCommand(flagged, ['box'], world);
      await started;
      abort.abort(new Error('interrupted'));
      expect(await result).toEqual({ status: 1, stdout: '', stderr: 'interrupted\n' });
      expect(socket.destroyed).toBe(true);
      expect(calls.at(-1)).toEqual(['start', 'ID', {}]);
    },
  );

  test.each<[string, Configure, readonly string[]]>([
    ['run', run, ['box']],
    ['start', start, ['-a', 'box']],
    ['attach', attach, ['box']],
  ])('%s says of wrong detach keys before it asks for anything', async (_, command, argv) => {
    const { fake, calls } = engine();
    const argvAll = ['--detach-keys', 'ctrl-', ...argv];
    const { status, stderr } = await runCommand(command, argvAll, { engine: fake });
    expect([status, stderr, calls]).toEqual([
      1,
      "invalid detach keys 'ctrl-': unknown key 'ctrl-'\n",
      [],
    ]);
  });

  test('detached it prints the id and does not wait', async () => {
    const { fake, calls } = engine();
    const result = await runCommand(run, ['-d', 'box'], { engine: fake });
    expect(result).toEqual({ status: 0, stdout: 'ID\n', stderr: '' });
    expect(calls.slice(1)).toEqual([['start', 'ID', {}]]);
  });

  test.each([
    [['-m', '-1m'], "'-m, --memory <size>' argument '-1m' is invalid"],
    [['--memory-reservation', '-64m'], "'--memory-reservation <size>' argument '-64m' is invalid"],
  ])('what can be no size of memory (%j) asks nothing of the daemon', async (flags, words) => {
    const { fake, calls } = engine();
    const result = await runCommand(run, [...flags, 'box'], { engine: fake });
    expect(result.status).not.toBe(0);
    expect(result.stderr).toContain(words);
    expect(calls).toEqual([]);
  });

  test.each([
    ['exec: "x": executable file not found in $PATH', 127],
    ['exec: "/etc": permission denied', 126],
    ['network x: not supported', 125],
  ])('what the daemon refuses (%s) is told by status %d', async (words, status) => {
    const { fake } = engine();
    fake.containerDo = async () => {
      throw new ApiError(400, words);
    };
    const result = await runCommand(run, ['-d', 'box'], { engine: fake });
    expect(result).toEqual({
      status,
      stdout: '',
      stderr: `Error response from daemon: ${words}\n`,
    });
  });

  test('an image that is not there is pulled, once', async () => {
    const { fake, calls } = engine();
    const createOf = fake.containerCreate as (...args: unknown[]) => Promise<object>;
    let isPulled = false;
    fake.containerCreate = async (...args: unknown[]) => {
      if (!isPulled) throw new ApiError(404, 'No such image: box:latest');
      return createOf(...args);
    };
    fake.imagePull = async function* (name: string, tag: string) {
      calls.push(['pull', name, tag]);
      isPulled = true;
      yield { status: 'Pulling' };
    };
    const result = await runCommand(run, ['-d', 'box'], { engine: fake });
    expect(result.stdout).toBe('ID\n');
    expect(result.stderr).toContain("Unable to find image 'box' locally");
    expect(calls[0]).toEqual(['pull', 'box', 'latest']);
  });
});

describe('skep attach', () => {
  const running = { Id: 'ID', State: { Running: true }, Config: {} };

  test('ends as a container that is removed at its end, which nobody can ask afterwards', async () => {
    const { fake, calls } = engine([frame('stdout', Buffer.from('out\n'))], 7);
    let isThere = true;
    fake.container = async () => {
      if (!isThere) throw new ApiError(404, 'No such container: box');
      isThere = false;
      return running;
    };
    const result = await runCommand(attach, ['box'], { engine: fake });
    expect(result).toEqual({ status: 7, stdout: 'out\n', stderr: '' });
    expect(calls).toEqual([
      ['wait', 'ID', 'not-running'],
      ['attach', 'ID', false],
    ]);
  });

  test.each<[string, object | null, number]>([
    ['as it ended', { ...running, State: { Running: false, ExitCode: 3 } }, 3],
    ['with 0 while it runs on', running, 0],
    ['with 0 when it is gone', null, 0],
  ])('ends, of the container of a task, %s', async (_, after, status) => {
    const { fake } = engine();
    const answers = [running, after];
    fake.container = async () => {
      const answer = answers.shift();
      if (!answer) throw new ApiError(404, 'No such container: box');
      return answer;
    };
    fake.containerWait = async () => {
      throw new ApiError(409, 'it belongs to a task, whose service decides');
    };
    const result = await runCommand(attach, ['box'], { engine: fake });
    expect(result).toEqual({ status, stdout: '', stderr: '' });
  });
});

describe('verbs of containers', () => {
  test('are tried on each, and each failure is told', async () => {
    const { fake, calls } = engine();
    fake.containerDo = async (ref: string, verb: string, query: object) => {
      if (ref === 'gone') throw new ApiError(404, 'No such container: gone');
      calls.push([verb, ref, query]);
    };
    const argv = ['-t', '3', '-s', 'INT', 'one', 'gone', 'two'];
    expect(await runCommand(stop, argv, { engine: fake })).toEqual({
      status: 1,
      stdout: 'one\ntwo\n',
      stderr: 'Error response from daemon: No such container: gone\n',
    });
    expect(calls).toEqual([
      ['stop', 'one', { t: 3, signal: 'INT' }],
      ['stop', 'two', { t: 3, signal: 'INT' }],
    ]);
    await runCommand(kill, ['-s', 'HUP', 'one'], { engine: fake });
    await runCommand(start, ['one'], { engine: fake });
    expect(calls.slice(2)).toEqual([
      ['kill', 'one', { signal: 'HUP' }],
      ['start', 'one', {}],
    ]);
  });

  test.each([[['-t', '3']], [['--timeout', '3']], [['--timeout=3']], [['--time', '3']]])(
    'stop and restart wait as long as %j says',
    async (argv) => {
      const { fake, calls } = engine();
      for (const command of [stop, restart]) {
        expect((await runCommand(command, [...argv, 'one'], { engine: fake })).status).toBe(0);
      }
      expect(calls).toEqual([
        ['stop', 'one', { t: 3 }],
        ['restart', 'one', { t: 3 }],
      ]);
    },
  );

  test('rm and prune say what is gone', async () => {
    const removed: unknown[] = [];
    const fake: FakeEngine = {
      containerRemove: async (...args: unknown[]) => removed.push(args),
      containersPrune: async (filters: unknown) => {
        removed.push(filters);
        return { ContainersDeleted: ['a', 'b'] };
      },
    };
    expect((await runCommand(rm, ['-f', 'one'], { engine: fake })).stdout).toBe('one\n');
    const pruned = await runCommand(prune, ['-f', '--filter', 'label=x'], { engine: fake });
    expect(pruned.stdout).toBe('Deleted Containers:\na\nb\n');
    expect(removed).toEqual([['one', { force: true }], { label: ['x'] }]);
  });
});
