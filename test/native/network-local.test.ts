/** Networks of this node alone over restarts of the daemon, in the host's own namespace. Needs root. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import type { NetworkSpec } from '../../common/model/network.ts';
import { Ipv4Forwarding } from '../../worker/network/ipv4-forwarding.ts';
import { LocalNetworkStore } from '../../worker/network/local-network-store.ts';
import { LocalNetworks } from '../../worker/network/local-networks.ts';
import { LocalPorts, type PortWish } from '../../worker/network/local-ports.ts';
import { FakeClock } from '../support/fake-clock.ts';

const isRoot = process.getuid?.() === 0;
/** In a namespace that others have, too. */
const OWN = `skt${process.pid}`;
const [LINK, OTHER_LINK] = [`${OWN}l0`, `${OWN}l1`];
const NAMESPACES = [`${OWN}-a`, `${OWN}-b`] as const;
const [A, B] = [`/run/netns/${NAMESPACES[0]}`, `/run/netns/${NAMESPACES[1]}`];
const FORWARD_FILE = '/proc/sys/net/ipv4/ip_forward';

/** Of packets on bridges: whether they meet the rules of IP. */
const BRIDGED = ['iptables', 'ip6tables'].map(
  (name) => `/proc/sys/net/bridge/bridge-nf-call-${name}`,
);
/** Of a kernel without the filter there is nothing to choose. */
const MEETING = existsSync(BRIDGED[0]!) ? ['0', '1'] : [''];

function bridgedMeetRules(value: string): void {
  if (value !== '') for (const path of BRIDGED) writeFileSync(path, value);
}

const spec = (options: Record<string, string> = {}): NetworkSpec => ({
  name: 'sktlocal',
  labels: {},
  driver: 'bridge',
  driverOptions: { 'com.docker.network.bridge.name': LINK, ...options },
  ...{ internal: false, attachable: false, ingress: false, ipv6: false },
  ...{ configOnly: false, configFrom: '' },
  ipam: {
    driver: 'default',
    options: {},
    configs: [
      { subnet: '10.213.7.0/24', range: '', gateway: '', reserved: { router: '10.213.7.9' } },
    ],
  },
});

/** Without who made them. */
function routesIn(netns: string, table: string): string[] {
  const args = [`--net=${netns}`, 'ip', 'route', 'show', 'table', table];
  const lines = execFileSync('nsenter', args, { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => line.replace(/ proto \w+/, '').trim()).sort();
}

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });

describe.skipIf(!isRoot)('networks of this node alone (root only)', () => {
  let dir: string;
  let made: LocalNetworks[];
  /** of the host, which a daemon changes and leaves */
  let forwarding: string;
  /** whether packets on bridges meet the rules of IP, both families */
  let bridgedBefore: string[];
  beforeAll(() => {
    forwarding = readFileSync(FORWARD_FILE, 'utf8');
    bridgedBefore = BRIDGED.filter(existsSync).map((path) => readFileSync(path, 'utf8'));
  });
  afterAll(() => {
    writeFileSync(FORWARD_FILE, forwarding);
    for (const [i, value] of bridgedBefore.entries()) writeFileSync(BRIDGED[i]!, value);
  });
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-local-'));
    made = [];
    for (const name of NAMESPACES) ip('netns', 'add', name);
  });
  afterEach(async () => {
    for (const name of NAMESPACES) ip('netns', 'del', name);
    for (const one of made) await one.stop();
    const last = daemon();
    try {
      await last.start(new Map());
    } finally {
      await last.stop();
    }
    rmSync(dir, { recursive: true, force: true });
  });

  function daemon(): LocalNetworks {
    const random = new SystemRandom();
    const networks = new LocalNetworks({
      ...{ clock: new FakeClock(), random, log: silentLogger },
      store: new LocalNetworkStore(dir, silentLogger),
      ports: new LocalPorts(random, silentLogger),
      forwarding: new Ipv4Forwarding(join(dir, 'ip_forward')),
    });
    made.push(networks);
    return networks;
  }
  const endpoint = (networkId: string) => ({ networkId, address: '', mac: '' });
  const isThere = () => existsSync(`/sys/class/net/${LINK}`);

  test('a container that ended meanwhile takes nothing from the others', async () => {
    const before = daemon();
    const { id } = await before.create(spec());
    const a = await before.attach('a', A, [endpoint(id)], []);
    const b = await before.attach('b', B, [endpoint(id)], []);
    await before.stop();

    const after = daemon();
    const places = [
      ['a', { ...a, netnsPath: '/proc/4194305/ns/net' }] as const,
      ['b', { ...b, netnsPath: B }] as const,
    ];
    await after.start(new Map(places));
    expect(after.usersOf(id)).toEqual(['b']);
    expect(ip('link', 'show', 'master', LINK).trim().split('\n')).toHaveLength(2);
  });

  test('a repair that comes after the stop leaves what runs as it is', async () => {
    const networks = daemon();
    const { id } = await networks.create(spec());
    await networks.attach('a', A, [endpoint(id)], []);
    const [subject] = networks.subjects();
    await networks.stop();
    await subject?.repair([]);
    expect(isThere()).toBe(true);
  });

  test('a port of 127.0.0.1 is for this host only', async () => {
    const networks = daemon();
    const { id } = await networks.create(spec());
    const wish = { protocol: 'tcp', targetPort: 80, firstHostPort: 0, lastHostPort: 0 } as const;
    const wishes = ['127.0.0.1', '0.0.0.0'].map((hostIp) => ({ ...wish, hostIp }));
    await networks.attach('a', A, [endpoint(id)], wishes);
    const rules = (chain: string) =>
      execFileSync('nft', ['list', 'chain', 'ip', 'skep_local', chain], { encoding: 'utf8' });
    expect(rules('output')).toContain('@ports_127.0.0.1');
    expect(rules('prerouting')).toContain('@ports_0.0.0.0');
    expect(rules('prerouting')).not.toContain('127.0.0.1');
  });

  test('a network whose subnet the host has elsewhere meanwhile is refused', async () => {
    const networks = daemon();
    const { id } = await networks.create(spec());
    ip('link', 'add', OTHER_LINK, 'type', 'bridge');
    try {
      ip('addr', 'add', '10.213.7.9/28', 'dev', OTHER_LINK);
      ip('link', 'set', OTHER_LINK, 'up');
      const attached = networks.attach('a', A, [endpoint(id)], []);
      await expect(attached).rejects.toThrow('10.213.7.0/24 overlaps route 10.213.7.0/28');
      expect(isThere()).toBe(false);
    } finally {
      ip('link', 'del', OTHER_LINK);
    }
  });

  test('a start that fails takes its bridge away again', async () => {
    const networks = daemon();
    const { id } = await networks.create(spec());
    const wish = { protocol: 'tcp', targetPort: 80, hostIp: '192.0.2.1' } as const;
    const wishes = [{ ...wish, firstHostPort: 8080, lastHostPort: 8080 }];
    const attached = networks.attach('a', A, [endpoint(id)], wishes);
    await expect(attached).rejects.toThrow('cannot assign requested address');
    expect(isThere()).toBe(false);
    for (const address of ['10.213.7.1', '10.213.7.9']) {
      const fixed = { ...endpoint(id), address };
      await expect(networks.connect('a', A, fixed)).rejects.toThrow('Address already in use');
    }
    expect(isThere()).toBe(false);
    await networks.remove(id);
  });

  test('macvlan: containers are on the parent link, with MACs of their own, also after a restart', async () => {
    ip('link', 'add', 'sktpar0', 'type', 'veth', 'peer', 'name', 'sktpar1');
    try {
      ip('link', 'set', 'sktpar0', 'up');
      ip('link', 'set', 'sktpar1', 'up');
      ip('addr', 'add', '10.213.7.254/24', 'dev', 'sktpar1'); // a machine on the same wire
      const networks = daemon();
      const driverOptions = { parent: 'sktpar0' };
      const { id } = await networks.create({ ...spec(), driver: 'macvlan', driverOptions });
      const a = await networks.attach('a', A, [endpoint(id)], []);
      const b = await networks.attach('b', B, [endpoint(id)], []);
      const [own = '', address = ''] = [a, b].map(({ seats }) => seats[0]?.address ?? '');
      const reaches = (from: string, to: string) =>
        `${spawnSync('nsenter', [`--net=${from}`, 'busybox', 'ping', '-c1', '-W2', to]).stdout}`;
      expect(reaches(A, address)).toContain('1 packets received');
      expect(reaches(B, own)).toContain('1 packets received');
      expect(reaches(A, '10.213.7.254')).toContain('1 packets received');
      expect(ip('-n', NAMESPACES[0], '-d', 'link', 'show', 'eth0')).toContain(
        'macvlan mode bridge',
      );
      await networks.stop();
      const after = daemon();
      await after.start(new Map([['a', { ...a, netnsPath: A }]]));
      const [subject] = after.subjects();
      expect(await subject?.differences()).toEqual([]);
      ip('-n', NAMESPACES[0], 'link', 'del', 'eth0');
      await subject?.repair(await subject.differences());
      expect(reaches(A, '10.213.7.254')).toContain('1 packets received');
      await after.detach('a');
    } finally {
      ip('link', 'del', 'sktpar0');
    }
  });

  test.each([
    ['flushed', A, 'ip route flush table main'],
    ['flushed, to its own addresses, too', A, 'ip route flush table all'],
    ['removed one by one', A, 'ip route show | while read -r route; do ip route del $route; done'],
    ['of the host to its bridge removed', '/proc/self/ns/net', `ip route flush dev ${LINK}`],
  ])('routes %s are found and put back', async (_what, netns, damage) => {
    const networks = daemon();
    const { id } = await networks.create(spec());
    await networks.attach('a', A, [{ ...endpoint(id), address: '10.213.7.77' }], []);
    const [subject] = networks.subjects();
    const routes = (name: string) => ['main', 'local'].map((table) => routesIn(name, table));
    await subject?.repair([]); // loopback is who makes the namespace's
    expect(await subject?.differences()).toEqual([]);
    const before = routes(netns);
    execFileSync('nsenter', [`--net=${netns}`, 'sh', '-c', damage]);
    expect(routes(netns)).not.toEqual(before);
    const found = (await subject?.differences()) ?? [];
    expect(found.map(({ what }) => what).join()).toContain('route 10.213.7.0/24');
    await subject?.repair(found);
    expect(await subject?.differences()).toEqual([]);
    expect(routes(netns)).toEqual(before);
    const ping = ['busybox', 'ping', '-c1', '-W2', '10.213.7.1'];
    expect(`${spawnSync('nsenter', [`--net=${A}`, ...ping]).stdout}`).toContain('1 packets rec');
  });

  test('a bridge that is left goes with its network', async () => {
    const networks = daemon();
    await networks.start(new Map());
    const { id } = await networks.create(spec());
    ip('link', 'add', LINK, 'type', 'bridge');
    ip('addr', 'add', '10.213.7.1/24', 'dev', LINK);
    await networks.remove(id);
    expect(isThere()).toBe(false);
  });

  test('a connection over UDP does not outlive the container that answers it', async () => {
    const networks = daemon();
    const { id } = await networks.create(spec());
    const wish = { protocol: 'udp', targetPort: 53, hostIp: '', firstHostPort: 0, lastHostPort: 0 };
    const place = await networks.attach('a', A, [endpoint(id)], [wish as PortWish]);
    await networks.attach('b', B, [endpoint(id)], []); // with the last one the bridge goes, and all of it
    const client = createSocket('udp4');
    try {
      const port = place.ports[0]?.hostPort ?? 0;
      await new Promise((sent) => client.send('?', port, '127.0.0.1', sent));
      const tracked = () => readFileSync('/proc/net/nf_conntrack', 'utf8');
      expect(tracked()).toContain(`src=${place.seats[0]?.address} `);
      await networks.detach('a');
      expect(tracked()).not.toContain(`src=${place.seats[0]?.address} `);
    } finally {
      client.close();
    }
  });

  test.each(
    MEETING.flatMap((values) => [
      ['that are kept apart do not meet, by way of the host either', 'false', values] as const,
      ['of a network that lets them meet do so', 'true', values] as const,
    ]),
  )('containers %s (%s, %s)', async (_what, isLet, bridged) => {
    const words = isLet === 'true' ? '1 packets received' : '0 packets received';
    bridgedMeetRules(bridged);
    const networks = daemon();
    const { id } = await networks.create(spec({ 'com.docker.network.bridge.enable_icc': isLet }));
    const a = await networks.attach('a', A, [endpoint(id)], []);
    const b = await networks.attach('b', B, [endpoint(id)], []);
    const [own = '', address = ''] = [a, b].map(({ seats }) => seats[0]?.address ?? '');
    const ping = () =>
      `${spawnSync('nsenter', [`--net=${A}`, 'busybox', 'ping', '-c1', '-W1', address]).stdout}`;
    expect(ping()).toContain(words);
    ip('-n', NAMESPACES[0], 'route', 'add', `${address}/32`, 'via', '10.213.7.1');
    ip('-n', NAMESPACES[1], 'route', 'add', `${own}/32`, 'via', '10.213.7.1');
    expect(ping()).toContain(words);
  });

  test.each(MEETING.flatMap((values) => [['true', values] as const, ['false', values] as const]))(
    'a published port answers its own container and its neighbours (icc %s, %s)',
    async (isLet, bridged) => {
      bridgedMeetRules(bridged);
      const networks = daemon();
      const { id } = await networks.create(spec({ 'com.docker.network.bridge.enable_icc': isLet }));
      const wish = {
        protocol: 'tcp',
        targetPort: 80,
        hostIp: '',
        firstHostPort: 0,
        lastHostPort: 0,
      };
      const place = await networks.attach('a', A, [endpoint(id)], [wish as PortWish]);
      await networks.attach('b', B, [endpoint(id)], []);
      const script = new URL('../support/network-echo.mjs', import.meta.url).pathname;
      const server = spawn('nsenter', [`--net=${A}`, process.execPath, script, 'here']);
      try {
        const at = `http://10.213.7.1:${place.ports[0]?.hostPort}/`;
        for (const netns of [A, B]) {
          const asked = () =>
            `${spawnSync('nsenter', [`--net=${netns}`, 'curl', '-sS', '-m', '1', at]).stdout}`;
          await expect.poll(asked, { timeout: 15_000 }).toMatch(/^here /);
        }
      } finally {
        server.kill('SIGKILL');
      }
    },
  );
});
