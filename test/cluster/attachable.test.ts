// Containers outside of services in attachable networks of the cluster, with the real docker command.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, http, run, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const title = hasDocker
  ? 'attachable networks'
  : 'attachable networks (skipped: docker is not installed)';
const SOON = { withinMs: 20_000 };
const SLEEP = ['box', 'sleep', '1000'];
const DROPS_QUESTIONS = [
  'add table ip own',
  'add chain ip own out { type filter hook output priority 0; }',
  'add rule ip own out udp dport 53 drop',
];
const SERVE = 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www';

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, { timeout: 90_000 }, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('attachable', { managers: 1, workers: 2 }, async (cluster) => {
    await cluster.image({ name: 'box:latest', cmd: ['sh', '-c', SERVE] });
    await cluster.skep(['network', 'create', '-d', 'overlay', '--attachable', 'front']);
    const flags = ['--network', 'front', '--replicas', '2', '--name', 'web'];
    await cluster.skep(['service', 'create', '-d', ...flags, 'box']);
    await cluster.running('web', 2, SOON);
  });
  afterEach(async () => {
    for (const { name } of shared.current.hosts) {
      const ids = (await docker(name, 'ps', '-aq', '--filter', 'is-task=false')).split('\n');
      const own = ids.filter(Boolean);
      if (own.length > 0) await docker(name, 'rm', '-f', ...own);
      await eventually('nothing of this node is left', () => nothingOfOwn(name), SOON);
    }
  });

  const tryDocker = (host: string, ...args: readonly string[]) => {
    const { socket } = shared.current.host(host);
    const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: dir };
    return run(['docker', ...args], { limitMs: 40_000, env });
  };
  const docker = async (host: string, ...args: readonly string[]): Promise<string> =>
    succeeded(await tryDocker(host, ...args)).stdout.trim();
  const addressIn = (host: string, name: string, network: string) =>
    docker(
      host,
      ...['inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name],
    );
  const reaches = async (host: string, from: string, to: string): Promise<boolean> =>
    (await tryDocker(host, 'exec', from, 'ping', '-c', '1', '-W', '1', to)).code === 0;
  const asks = (host: string, from: string, url: string): Promise<string> =>
    docker(host, 'exec', from, 'wget', '-qO-', url);
  const start = (host: string, name: string, ...flags: readonly string[]) =>
    docker(host, 'run', '-d', '--name', name, ...flags, ...SLEEP);
  const meet = (one: string, from: string, to: string) =>
    eventually(
      `${from} reaches ${to}`,
      async () => expect(await reaches(one, from, to)).toBe(true),
      SOON,
    );

  /** The way out of containers in networks of the cluster alone goes with the last of them. */
  async function nothingOfOwn(host: string): Promise<void> {
    const script = "ip -br link | grep -oE '^(skep1|skl)[^@ ]*'; true";
    expect((await shared.current.dev('run', host, '--', 'sh', '-c', script)).trim()).toBe('');
  }

  test('containers on two nodes, one of them a worker, and a service know one another by name', async () => {
    const id = await start('worker-1', 'ca', '--network', 'front', '--network-alias', 'first');
    await start('manager-1', 'cb', '--network', 'front');
    for (const name of ['ca', 'first', id.slice(0, 12), 'ca.front', 'web', 'tasks.web']) {
      await meet('manager-1', 'cb', name);
    }
    await meet('worker-1', 'ca', 'cb');
    expect(await asks('worker-1', 'ca', 'http://web/')).not.toBe('');
    // From a task of the service, too.
    const [task] = await shared.current.running('web', 2);
    await shared.current.skep(
      ['exec', `${task!.name}.${task!.id}`, 'ping', '-c', '1', '-W', '2', 'first'],
      { host: task!.node },
    );
    const shown = JSON.parse(await docker('manager-1', 'network', 'inspect', 'front'))[0];
    expect(Object.values(shown.Containers)).toContainEqual(
      expect.objectContaining({
        Name: 'cb',
        IPv4Address: `${await addressIn('manager-1', 'cb', 'front')}/24`,
      }),
    );
    const removed = await tryDocker('manager-1', 'network', 'rm', 'front');
    expect(removed.stderr).toContain('in use');
    // Who has ended has no name and no address.
    await docker('worker-1', 'rm', '-f', 'ca');
    await eventually(
      'ca is gone',
      async () => expect(await reaches('manager-1', 'cb', 'first')).toBe(false),
      SOON,
    );
    await shared.current.skep(['net', 'verify']);
  });

  test('a resolver that a container cannot ask is told of', async () => {
    const { current } = shared;
    await docker('worker-1', 'network', 'create', 'own');
    try {
      const target = await start('worker-1', 'target', '--network', 'own');
      for (const name of ['ca', 'cb']) {
        const flags = name === 'ca' ? ['own', '--link', 'target:t'] : ['front'];
        await start('worker-1', name, '--network', ...flags);
      }
      await current.skep(['net', 'verify']);
      for (const name of ['ca', 'cb']) {
        const pid = await docker('worker-1', 'inspect', '-f', '{{.State.Pid}}', name);
        for (const line of DROPS_QUESTIONS) {
          succeeded(await run(['nsenter', `--net=/proc/${pid}/ns/net`, 'nft', line]));
        }
      }
      const { code, stdout } = await current.try(['net', 'verify']);
      expect(code).toBe(1);
      const missing = stdout.split('\n').filter((line) => line.includes('answer of 127.0.0.11'));
      const told = missing.map((line) => /answer of 127\.0\.0\.11 to (\S+)/.exec(line)?.[1]);
      expect(told.sort(), stdout).toEqual(['ca', 'cb', 't']);
      await docker('worker-1', 'rm', '-f', 'ca', 'cb', target);
      await current.skep(['net', 'verify']);
    } finally {
      await tryDocker('worker-1', 'rm', '-f', 'ca', 'cb', 'target');
      await docker('worker-1', 'network', 'rm', 'own');
    }
  });

  test("a fixed address is one container's in the whole cluster", async () => {
    await shared.current.skep([
      ...[
        'network',
        'create',
        '-d',
        'overlay',
        '--attachable',
        '--subnet',
        '10.88.0.0/24',
        'fixed',
      ],
    ]);
    await start('worker-1', 'ca', '--network', 'fixed', '--ip', '10.88.0.77');
    expect(await addressIn('worker-1', 'ca', 'fixed')).toBe('10.88.0.77');
    const taken = await tryDocker(
      'worker-2',
      ...['run', '-d', '--name', 'cb', '--network', 'fixed', '--ip', '10.88.0.77', ...SLEEP],
    );
    expect(taken.code).not.toBe(0);
    expect(taken.stderr).toContain('10.88.0.77');
    expect(taken.stderr).toContain('in use');
    await docker('worker-1', 'rm', '-f', 'ca');
    await eventually('the address is free', () => docker('worker-2', 'start', 'cb'), SOON);
    expect(await addressIn('worker-2', 'cb', 'fixed')).toBe('10.88.0.77');
    await docker('worker-2', 'rm', '-f', 'cb');
    await eventually('it is unused', () => shared.current.skep(['network', 'rm', 'fixed']), SOON);
  });

  test('it has a way out and published ports, and none of an internal network', async () => {
    const serve = ['-p', '18090:80', 'box', 'sh', '-c', SERVE];
    await docker('worker-1', 'run', '-d', '--name', 'ca', '--network', 'front', ...serve);
    const { address } = shared.current.host('worker-1');
    await eventually(
      'the port answers',
      async () => expect((await http(address, 18090)).status).toBe(200),
      SOON,
    );
    await meet('worker-1', 'ca', shared.current.host('manager-1').address);
    const internal = ['--attachable', '--internal', 'shut'];
    await shared.current.skep(['network', 'create', '-d', 'overlay', ...internal]);
    await start('worker-1', 'cb', '--network', 'shut');
    await start('worker-2', 'cc', '--network', 'shut');
    await meet('worker-1', 'cb', 'cc');
    expect(await reaches('worker-1', 'cb', address)).toBe(false);
    await docker('worker-1', 'rm', '-f', 'cb');
    await docker('worker-2', 'rm', '-f', 'cc');
    await eventually('it is unused', () => shared.current.skep(['network', 'rm', 'shut']), SOON);
  });

  test('a container that runs is connected and disconnected', async () => {
    await start('worker-1', 'ca');
    await docker('worker-1', 'network', 'connect', '--alias', 'guest', 'front', 'ca');
    await start('manager-1', 'cb', '--network', 'front');
    await meet('manager-1', 'cb', 'guest');
    await meet('worker-1', 'ca', 'web');
    const twice = await tryDocker('worker-1', 'network', 'connect', 'front', 'ca');
    expect(twice.stderr).toContain('already exists in network front');
    await docker('worker-1', 'network', 'disconnect', 'front', 'ca');
    await eventually(
      'guest is gone',
      async () => expect(await reaches('manager-1', 'cb', 'guest')).toBe(false),
      SOON,
    );
    expect(await reaches('worker-1', 'ca', shared.current.host('manager-1').address)).toBe(true);
    // The other way round: out of its only network of this node it goes by the cluster's.
    await docker('worker-1', 'network', 'connect', 'front', 'ca');
    await docker('worker-1', 'network', 'disconnect', 'bridge', 'ca');
    await meet('worker-1', 'ca', 'cb');
    expect(await reaches('worker-1', 'ca', shared.current.host('manager-1').address)).toBe(true);
  });

  test("networks that are not attachable, and none, are refused in Docker's words", async () => {
    await shared.current.skep(['network', 'create', '-d', 'overlay', 'closed']);
    for (const host of ['manager-1', 'worker-1']) {
      const refused = await tryDocker(host, 'run', '--rm', '--network', 'closed', ...SLEEP);
      expect(refused.stderr).toContain(
        'Could not attach to network closed: rpc error: code = PermissionDenied desc = network closed not manually attachable',
      );
      const absent = await tryDocker(host, 'run', '--rm', '--network', 'nowhere', ...SLEEP);
      expect(absent.stderr).toContain('network nowhere not found');
    }
    await start('worker-1', 'ca');
    const connect = await tryDocker('worker-1', 'network', 'connect', 'closed', 'ca');
    expect(connect.stderr).toContain('network closed not manually attachable');
    await shared.current.skep(['network', 'rm', 'closed']);
  });

  test('it survives its daemon, and one that ended meanwhile is freed', async () => {
    await start('worker-1', 'ca', '--network', 'front');
    await start('worker-1', 'cb', '--network', 'front', '--restart', 'always');
    await start('worker-1', 'cc', '--network', 'front');
    await start('manager-1', 'cd', '--network', 'front');
    await meet('manager-1', 'cd', 'ca');
    const before = await addressIn('worker-1', 'ca', 'front');
    const pids = await docker('worker-1', 'inspect', '-f', '{{.State.Pid}}', 'cb', 'cc');
    await shared.current.dev('kill', 'worker-1');
    for (const pid of pids.split('\n')) process.kill(Number(pid), 'SIGKILL');
    await meet('manager-1', 'cd', before); // it runs on
    await shared.current.dev('start', 'worker-1');
    await meet('manager-1', 'cd', 'ca');
    await meet('manager-1', 'cd', 'cb');
    await meet('worker-1', 'ca', 'web');
    expect(await addressIn('worker-1', 'ca', 'front')).toBe(before);
    await eventually(
      'cc is gone',
      async () => expect(await reaches('manager-1', 'cd', 'cc')).toBe(false),
      SOON,
    );
    await shared.current.skep(['net', 'verify']);
  });

  test('when its node is lost it has no name, and its address goes with the node', async () => {
    const subnet = ['--subnet', '10.89.0.0/24', 'lost'];
    await shared.current.skep(['network', 'create', '-d', 'overlay', '--attachable', ...subnet]);
    const place = ['--network', 'lost', '--ip', '10.89.0.77'];
    await start('worker-2', 'ca', ...place);
    await start('manager-1', 'cb', '--network', 'lost');
    await meet('manager-1', 'cb', 'ca');
    await shared.current.dev('kill', 'worker-2');
    await eventually(
      'the name is gone',
      async () => expect(await reaches('manager-1', 'cb', 'ca')).toBe(false),
      SOON,
    );
    const taken = await tryDocker('worker-1', 'run', '-d', ...place, ...SLEEP);
    expect(taken.stderr).toContain('in use');
    await shared.current.dev('start', 'worker-2');
    await meet('manager-1', 'cb', 'ca');
    // A node that leaves takes its containers out of the cluster's networks.
    await docker('worker-2', 'swarm', 'leave');
    await start('worker-1', 'cc', ...place);
    expect(await docker('worker-2', 'inspect', '-f', '{{.State.Running}}', 'ca')).toBe('true');
  });
});
