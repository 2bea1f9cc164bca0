// Networks of one node, with the real docker command as a black box.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, run, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const title = hasDocker
  ? 'docker network and its kin'
  : 'docker network and its kin (skipped: docker is not installed)';
const SOON = { withinMs: 10_000 };
const SLEEP = ['box', 'sleep', '1000'];

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, { timeout: 60_000 }, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('networks', { managers: 1, workers: 0 }, (cluster) =>
    cluster.image({ name: 'box:latest', cmd: ['sh', '-c', 'echo default'] }),
  );
  afterEach(async () => {
    const ids = (await docker('ps', '-aq', '--filter', 'is-task=false'))
      .split('\n')
      .filter(Boolean);
    if (ids.length > 0) await docker('rm', '-f', ...ids);
    await docker('network', 'prune', '-f');
    expect(await docker('network', 'ls', '--format', '{{.Name}}', '--filter', 'scope=local')).toBe(
      'bridge\nhost\nnone',
    );
    // Bridges, ports and rules go with the last container.
    const left = await shared.current.dev('run', host().name, '--', 'sh', '-c', LEFT);
    expect(left.trim()).toBe('');
  });

  const LEFT =
    "ip -br link | grep -oE '^(skb|skl|skep0|skep1|br-front)[^@ ]*'; nft list tables | grep skep_local; true";
  const host = () => shared.current.hosts[0]!;
  const environment = () => ({
    DOCKER_HOST: `unix://${shared.current.hosts[0]!.socket}`,
    DOCKER_CONFIG: dir,
  });
  const tryDocker = (...args: readonly string[]) =>
    run(['docker', ...args], { limitMs: 30_000, env: environment() });
  const docker = async (...args: readonly string[]): Promise<string> =>
    succeeded(await tryDocker(...args)).stdout.trim();
  const refusal = async (...args: readonly string[]): Promise<string> => {
    const result = await tryDocker(...args);
    expect(result.code).not.toBe(0);
    return result.stderr;
  };
  const inspect = (name: string, format: string) => docker('inspect', '-f', format, name);
  const onHost = (script: string) =>
    shared.current.dev('run', host().name, '--', 'sh', '-c', script);
  const addressIn = (name: string, network: string) =>
    inspect(name, `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`);
  const reaches = async (from: string, to: string): Promise<boolean> =>
    (await tryDocker('exec', from, 'ping', '-c', '1', '-W', '1', to)).code === 0;

  test('containers of a bridge know one another by name, host name, alias and id, and reach the host', async () => {
    await docker('network', 'create', '--subnet', '10.77.0.0/24', '--label', 'a=b', 'front');
    const id = await docker(
      'run',
      '-d',
      '--name',
      'web',
      '--hostname',
      'box',
      '--network',
      'front',
      '--network-alias',
      'www',
      ...SLEEP,
    );
    await docker('run', '-d', '--name', 'db', '--network', 'front', '--ip', '10.77.0.9', ...SLEEP);
    expect(await addressIn('db', 'front')).toBe('10.77.0.9');
    for (const name of ['web', 'box', 'www', 'web.front', id.slice(0, 12)]) {
      expect([name, await reaches('db', name)]).toEqual([name, true]);
    }
    expect(await reaches('db', '10.77.0.1')).toBe(true);
    expect(await reaches('db', 'nobody')).toBe(false);
    await docker('rename', 'web', 'shop');
    expect(await reaches('db', 'shop')).toBe(true);
    expect(await reaches('db', 'web')).toBe(false);
    const shown = JSON.parse(await docker('network', 'inspect', 'front'))[0];
    expect(shown).toMatchObject({
      Driver: 'bridge',
      Scope: 'local',
      Labels: { a: 'b' },
      IPAM: { Config: [{ Subnet: '10.77.0.0/24', Gateway: '10.77.0.1' }] },
      Containers: { [id]: { Name: 'shop', IPv4Address: `${await addressIn('shop', 'front')}/24` } },
    });
    expect(await refusal('network', 'rm', 'front')).toContain('has active endpoints');
    expect(await docker('network', 'ls', '-q', '--filter', 'label=a=b')).toBe(
      shown.Id.slice(0, 12),
    );
  });

  test('bridges are apart, and published ports are the way between them', async () => {
    // Another firewall, which drops what is forwarded.
    const drops = '{ type filter hook forward priority 0; policy drop; }';
    await onHost(`nft add table inet strict; nft add chain inet strict forward '${drops}'`);
    await docker('network', 'create', 'one');
    await docker('network', 'create', 'two');
    await docker(
      'run',
      '-d',
      '--name',
      'ca',
      '--network',
      'one',
      '-p',
      '18080:80',
      'box',
      'sh',
      '-c',
      'while true; do echo hello | nc -l -p 80; done',
    );
    await docker('run', '-d', '--name', 'cb', '--network', 'two', ...SLEEP);
    expect(await reaches('cb', await addressIn('ca', 'one'))).toBe(false);
    expect(await reaches('cb', 'ca')).toBe(false);
    const gateway = await inspect('cb', '{{.NetworkSettings.Networks.two.Gateway}}');
    await eventually(
      'the port answers',
      async () => {
        expect(await docker('exec', 'cb', 'nc', '-w', '2', gateway, '18080')).toBe('hello');
      },
      SOON,
    );
    // What claims another's address gets nowhere.
    await docker(
      'run',
      '-d',
      '--name',
      'cc',
      '--network',
      'one',
      '--cap-add',
      'NET_ADMIN',
      ...SLEEP,
    );
    const victim = await addressIn('ca', 'one');
    const other = `${victim.split('.').slice(0, 3).join('.')}.200`;
    const spoof = `ip address add ${other}/16 dev eth0; ping -c 1 -W 1 -I ${other}`;
    expect((await tryDocker('exec', 'cc', 'sh', '-c', `${spoof} ${victim}`)).code).not.toBe(0);
    // With its own address it is, when it has asked for the neighbour anew.
    await eventually('cc is heard', async () => expect(await reaches('cc', 'ca')).toBe(true), SOON);
    const strict = () => onHost('nft list table inet strict');
    expect(await strict()).toContain('comment "skep_local skb');
    await docker('rm', '-f', 'ca', 'cb', 'cc');
    expect(await strict()).not.toContain('skep_local');
    await onHost('nft delete table inet strict');
  });

  test('a container that runs is connected and disconnected', async () => {
    await docker('network', 'create', 'one');
    await docker('network', 'create', '--subnet', '10.78.0.0/24', 'two');
    await docker('run', '-d', '--name', 'ca', '--network', 'one', ...SLEEP);
    await docker('run', '-d', '--name', 'cb', '--network', 'two', ...SLEEP);
    expect(await reaches('cb', 'ca')).toBe(false);
    await docker('network', 'connect', '--alias', 'aa', '--ip', '10.78.0.7', 'two', 'ca');
    expect(await addressIn('ca', 'two')).toBe('10.78.0.7');
    expect(await reaches('cb', 'aa')).toBe(true);
    expect(await reaches('ca', 'cb')).toBe(true);
    expect(await refusal('network', 'connect', 'two', 'ca')).toContain(
      'already exists in network two',
    );
    await docker('network', 'disconnect', 'one', 'ca');
    expect(await inspect('ca', '{{len .NetworkSettings.Networks}}')).toBe('1');
    // The way out is now by the network that is left.
    expect(await docker('exec', 'ca', 'ip', 'route')).toContain('default via 10.78.0.1');
    expect(await refusal('network', 'disconnect', 'one', 'ca')).toContain(
      'is not connected to network one',
    );
    await docker('restart', '-t', '0', 'ca');
    expect(await reaches('cb', 'aa')).toBe(true);
    await docker('network', 'disconnect', 'two', 'ca');
    expect(await reaches('cb', 'aa')).toBe(false);
  });

  test('options of a bridge are kept to', async () => {
    await docker(
      ...['network', 'create', '--subnet', '10.79.0.0/24', '--ip-range', '10.79.0.64/26'],
      ...['--gateway', '10.79.0.254', '--aux-address', 'router=10.79.0.65'],
      ...['-o', 'com.docker.network.bridge.name=br-front'],
      ...['-o', 'com.docker.network.bridge.enable_icc=false'],
      ...['-o', 'com.docker.network.bridge.host_binding_ipv4=127.0.0.1'],
      ...['-o', 'com.docker.network.driver.mtu=1400', 'front'],
    );
    await docker(
      'run',
      '-d',
      '--name',
      'ca',
      '--network',
      'front',
      '--mac-address',
      '02:42:00:00:00:07',
      '-p',
      '18081:80',
      ...SLEEP,
    );
    await docker('run', '-d', '--name', 'cb', '--network', 'front', ...SLEEP);
    expect(await addressIn('ca', 'front')).toBe('10.79.0.64');
    expect(await addressIn('cb', 'front')).toBe('10.79.0.66');
    expect(
      await docker('exec', 'ca', 'cat', '/sys/class/net/eth0/address', '/sys/class/net/eth0/mtu'),
    ).toBe('02:42:00:00:00:07\n1400');
    expect(await docker('exec', 'ca', 'ip', 'route')).toContain('default via 10.79.0.254');
    expect(await reaches('ca', 'cb')).toBe(false);
    expect(await reaches('ca', '10.79.0.254')).toBe(true);
    expect(await docker('port', 'ca')).toContain('127.0.0.1:18081');
    expect(await onHost('ip -br link show br-front')).toContain('br-front');
  });

  test('an internal network leads nowhere', async () => {
    await docker('network', 'create', '--internal', 'inner');
    await docker('run', '-d', '--name', 'ca', '--network', 'inner', ...SLEEP);
    await docker('run', '-d', '--name', 'cb', '--network', 'inner', ...SLEEP);
    expect(await reaches('ca', 'cb')).toBe(true);
    expect(await docker('exec', 'ca', 'ip', 'route')).not.toContain('default');
    expect(await reaches('ca', host().address)).toBe(false);
    expect(
      await refusal('run', '-d', '--name', 'cc', '--network', 'inner', '-p', '80', ...SLEEP),
    ).toContain('the container is on no bridge with a way out');
  });

  test('what cannot be is told', async () => {
    const create = (...args: string[]) => refusal('network', 'create', ...args);
    await docker('network', 'create', '--subnet', '10.80.0.0/24', 'front');
    expect(await create('front')).toContain('network with name front already exists');
    expect(await create('bridge')).toContain(
      'operation is not permitted on predefined bridge network',
    );
    expect(await create('--subnet', '10.80.0.128/25', 'x')).toContain(
      'Pool overlaps with other one',
    );
    const route = `${host().address.split('.').slice(0, 3).join('.')}.0/25`;
    expect(await create('--subnet', route, 'x')).toContain(`subnet ${route} overlaps route`);
    expect(await create('--subnet', '10.81.0.0/24', '--gateway', '10.82.0.1', 'x')).toContain(
      '10.82.0.1',
    );
    expect(await create('-d', 'macvlan', 'x')).toContain('option "parent" must name a link');
    expect(await create('-d', 'weave', 'x')).toContain('network driver "weave" is not supported');
    expect(await refusal('run', '--network', 'nowhere', ...SLEEP)).toContain(
      'network nowhere not found',
    );
    expect(await refusal('run', '--network-alias', 'ca', ...SLEEP)).toContain('alias');
    expect(await refusal('run', '--network', 'front', '--ip', '10.81.0.9', ...SLEEP)).toContain(
      'no configured subnet contains IP address 10.81.0.9',
    );
    await docker('run', '-d', '--name', 'ca', '--network', 'front', '--ip', '10.80.0.9', ...SLEEP);
    expect(await refusal('run', '--network', 'front', '--ip', '10.80.0.9', ...SLEEP)).toContain(
      'Address already in use',
    );
    expect(await refusal('network', 'rm', 'bridge')).toContain(
      'is a pre-defined network and cannot be removed',
    );
    await docker('run', '-d', '--name', 'ch', '--network', 'host', ...SLEEP);
    expect(await refusal('network', 'connect', 'front', 'ch')).toContain(
      'cannot be connected to any other network',
    );
    await docker('network', 'create', '--subnet', '10.83.0.0/30', 'tiny');
    await docker('run', '-d', '--name', 'ct', '--network', 'tiny', ...SLEEP);
    expect(await refusal('run', '--network', 'tiny', ...SLEEP)).toContain(
      'all addresses of 10.83.0.0/30 are in use',
    );
  });

  test('a port has one holder, who is named', async () => {
    const service = [
      'service',
      'create',
      '-d',
      '--name',
      'mesh',
      '-p',
      '18090:80',
      'box',
      'sleep',
      '1000',
    ];
    await docker('run', '-d', '--name', 'first', '-p', '18091:80', ...SLEEP);
    await docker(...service);
    try {
      await eventually(
        'the port is published',
        async () => {
          const words = await refusal('run', '-d', '--name', 'late', '-p', '18090:80', ...SLEEP);
          await docker('rm', 'late');
          expect(words).toContain('port is already allocated: service mesh has it');
        },
        SOON,
      );
      expect(await refusal('run', '-d', '--name', 'late', '-p', '18091:80', ...SLEEP)).toMatch(
        /port is already allocated: container [0-9a-f]{12} has it/,
      );
      await docker('service', 'update', '-d', '--publish-add', '18091:80', 'mesh');
      const verify = async () => (await shared.current.try(['net', 'verify'])).stdout;
      await eventually(
        'the service is told of',
        async () => {
          expect(await verify()).toMatch(/18091\/tcp of service mesh[^\n]*container [0-9a-f]{12}/);
        },
        SOON,
      );
      expect(await refusal('run', '--network', 'ingress', ...SLEEP)).toContain(
        'network ingress not manually attachable',
      );
    } finally {
      await docker('service', 'rm', 'mesh');
    }
  });

  test('networks outlive the daemon, with the containers on them', async () => {
    await docker('network', 'create', '--subnet', '10.84.0.0/24', 'front');
    await docker(
      'run',
      '-d',
      '--name',
      'ca',
      '--network',
      'front',
      '--network-alias',
      'aa',
      '-p',
      '18082:80',
      ...SLEEP,
    );
    await docker('run', '-d', '--name', 'cb', '--network', 'front', ...SLEEP);
    const address = await addressIn('ca', 'front');
    await shared.current.dev('kill', host().name);
    await shared.current.dev('start', host().name);
    await eventually(
      'a is known',
      async () => expect(await addressIn('ca', 'front')).toBe(address),
      SOON,
    );
    expect(await reaches('cb', 'aa')).toBe(true);
    await docker('run', '-d', '--name', 'cc', '--network', 'front', ...SLEEP);
    expect(await addressIn('cc', 'front')).toBe('10.84.0.4');
    expect(await reaches('cc', 'aa')).toBe(true);
  });

  test('what others change in the kernel is put back', async () => {
    await docker(
      'network',
      'create',
      '--subnet',
      '10.85.0.0/24',
      '-o',
      'com.docker.network.bridge.name=br-front',
      'front',
    );
    await docker('run', '-d', '--name', 'ca', '--network', 'front', ...SLEEP);
    await docker('run', '-d', '--name', 'cb', '--network', 'front', ...SLEEP);
    const harms = [
      'ip link set br-front down',
      'ip link del br-front',
      'ip addr flush dev br-front',
      'nft delete table ip skep_local',
      'nft flush chain bridge skep_local guard',
      "ip link del $(ip -br link | grep -oE '^skl[0-9a-f]+' | head -1)",
      "ip link set $(ip -br link | grep -oE '^skl[0-9a-f]+' | head -1) nomaster",
      'sysctl -qw net.ipv4.ip_forward=0',
    ];
    for (const harm of harms) {
      await onHost(harm);
      await eventually(
        `mended: ${harm}`,
        async () => {
          expect(await reaches('ca', 'cb')).toBe(true);
          expect(
            await onHost(
              'nft list table ip skep_local; nft list table bridge skep_local; cat /proc/sys/net/ipv4/ip_forward',
            ),
          ).toMatch(/masquerade[\s\S]*chain guard[\s\S]*drop[\s\S]*\n1\n/);
        },
        SOON,
      );
    }
  });

  shared.testAnswers(100);
});
