/** What a task cannot do, whatever rights it has in its own namespace. Needs root. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AssignedEndpoint } from '../../common/model/assignment.ts';
import { macOf, macText } from '../../native/ffi/net/address.ts';
import {
  dnsFrom,
  httpFrom,
  inNetns,
  type LabHost,
  type LabTask,
  NetworkLab,
  tryInNetns,
} from '../support/network-lab.ts';
import {
  attachRequest,
  endpoint,
  ingressPeers,
  network,
  port,
  service,
  set,
} from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;

const INGRESS = network('ingress', 4116, 0, { ingress: true });
const SHOP = network('shop', 4117, 1);
/** with the subnet of the other one */
const BANK = network('bank', 4118, 1);

describe.skipIf(!isRoot)('isolation of tasks (root only)', () => {
  let lab: NetworkLab;
  let home: LabHost;
  let away: LabHost;
  let thief: LabTask;
  let web: LabTask;
  let vault: LabTask;
  const seats = () => ({
    thief: [endpoint(SHOP, 'thief', 1, home, '10.0.1.11')],
    web: [
      endpoint(SHOP, 'web', 1, home, '10.0.1.12'),
      endpoint(INGRESS, 'web', 1, home, '10.0.0.12'),
    ],
    far: [endpoint(SHOP, 'far', 1, away, '10.0.1.13')],
    vault: [endpoint(BANK, 'vault', 1, home, '10.0.1.14')],
  });

  beforeAll(async () => {
    lab = await NetworkLab.create('ski', 2);
    [home, away] = lab.hosts as [LabHost, LabHost];
    const tables = [
      ...[INGRESS, SHOP, BANK].map((item) => set('network', item)),
      ...ingressPeers(INGRESS, lab.hosts),
      ...Object.values(seats())
        .flat()
        .map((item) => set('endpoint', item)),
      set('serviceEntry', service(SHOP, 'web', '10.0.1.2')),
      set('serviceEntry', service(BANK, 'vault', '10.0.1.3')),
      set('port', port('web', 8080, 80)),
    ];
    await lab.begin(tables);
    const start = async (host: LabHost, name: 'thief' | 'web' | 'far' | 'vault') => {
      const task = await lab.task(name);
      await host.attach(attachRequest(seats()[name] as AssignedEndpoint[], task));
      return task;
    };
    thief = await start(home, 'thief');
    web = await start(home, 'web');
    await start(away, 'far');
    vault = await start(home, 'vault');
    await lab.server(home.netns, 'host', 7777);
  });

  afterAll(async () => {
    await lab?.close();
  });

  const wayOutOf = async (task: LabTask): Promise<{ link: string; address: string }> => {
    const [route] = JSON.parse(await inNetns(task.netns, 'ip', '-j', 'route', 'get', '192.0.2.1'));
    return { link: route.dev, address: route.prefsrc };
  };

  /** Packets of this source that arrive in a namespace while `work` runs. */
  async function arriving(netns: string, source: string, work: () => Promise<unknown>) {
    await inNetns(netns, 'nft', 'add table ip probe');
    await inNetns(
      netns,
      'nft',
      'add chain ip probe in { type filter hook prerouting priority -400; }',
    );
    await inNetns(netns, 'nft', `add rule ip probe in ip saddr ${source} counter`);
    await work();
    const listed = await inNetns(netns, 'nft', 'list', 'chain', 'ip', 'probe', 'in');
    await inNetns(netns, 'nft', 'delete table ip probe');
    return Number(/counter packets (\d+)/.exec(listed)?.[1]);
  }

  test('tasks of one network reach each other, those of another do not, though they share a subnet', async () => {
    expect(await httpFrom(thief.netns, '10.0.1.12')).toBe('web 10.0.1.11');
    expect(await httpFrom(thief.netns, '10.0.1.13')).toBe('far 10.0.1.11');
    expect(await httpFrom(thief.netns, '10.0.1.14')).toMatch(/failed/);
    const { link, address } = await wayOutOf(vault);
    expect(await httpFrom(vault.netns, '10.0.1.12')).toMatch(/failed/);
    // Nor by the way out: neither the seat nor the gateway address of the other.
    const own = await wayOutOf(thief);
    expect(link).toMatch(/^eth/);
    await inNetns(
      thief.netns,
      'ip',
      'route',
      'add',
      '10.0.1.14/32',
      'dev',
      own.link,
      'via',
      '172.18.0.1',
    );
    expect(await httpFrom(thief.netns, '10.0.1.14')).toMatch(/failed/);
    expect(await httpFrom(thief.netns, address)).toMatch(/failed/);
    await inNetns(thief.netns, 'ip', 'route', 'del', '10.0.1.14/32');
  });

  test('a task cannot send from an address that it was not given', async () => {
    await inNetns(thief.netns, 'ip', 'addr', 'add', '10.0.1.77/32', 'dev', 'lo');
    const honest = await arriving(web.netns, '10.0.1.11', () => httpFrom(thief.netns, '10.0.1.12'));
    expect(honest).toBeGreaterThan(0);
    const forged = await arriving(web.netns, '10.0.1.77', () =>
      tryInNetns(thief.netns, 'curl', '-sS', '-m', '1', '--interface', '10.0.1.77', '10.0.1.12'),
    );
    expect(forged).toBe(0);
    // Nor out of the host.
    const source = '198.51.100.7';
    await inNetns(thief.netns, 'ip', 'addr', 'add', `${source}/32`, 'dev', 'lo');
    const ping = () =>
      tryInNetns(thief.netns, 'busybox', 'ping', '-c1', '-W1', '-I', source, lab.outsideAddress);
    expect(await arriving(home.netns, source, ping)).toBe(0);
    await inNetns(thief.netns, 'ip', 'addr', 'flush', 'dev', 'lo');
    await inNetns(thief.netns, 'ip', 'addr', 'add', '127.0.0.1/8', 'dev', 'lo');
  });

  test('a task cannot claim the address of another by ARP', async () => {
    const claim = (address: string, link: string) =>
      tryInNetns(
        thief.netns,
        'busybox',
        'arping',
        '-U',
        '-c',
        '2',
        '-w',
        '2',
        '-I',
        link,
        '-s',
        address,
        address,
      );
    const macIn = async (netns: string, address: string) =>
      /lladdr (\S+)/.exec(await inNetns(netns, 'ip', 'neigh', 'show', address))?.[1];
    await httpFrom(web.netns, '10.0.1.13');
    await inNetns(thief.netns, 'ip', 'addr', 'add', '10.0.1.13/32', 'dev', 'lo');
    await claim('10.0.1.13', 'eth0');
    expect(await macIn(web.netns, '10.0.1.13')).toBe(macText(macOf('10.0.1.13')));
    expect(await httpFrom(web.netns, '10.0.1.13')).toBe('far 10.0.1.12');
    await inNetns(thief.netns, 'ip', 'addr', 'del', '10.0.1.13/32', 'dev', 'lo');
    // Nor, towards the host, the gateway address of another.
    const { address } = await wayOutOf(web);
    const { link } = await wayOutOf(thief);
    await tryInNetns(web.netns, 'busybox', 'ping', '-c1', '-W1', '172.18.0.1');
    await inNetns(thief.netns, 'ip', 'addr', 'add', `${address}/32`, 'dev', 'lo');
    await claim(address, link);
    expect(await macIn(home.netns, address)).toBe(macText(macOf(address)));
    await inNetns(thief.netns, 'ip', 'addr', 'del', `${address}/32`, 'dev', 'lo');
  });

  test('a task with the address and the MAC of another is heard by nobody', async () => {
    const own = (...args: string[]) => inNetns(thief.netns, 'ip', ...args);
    await own('link', 'add', 'mv0', 'link', 'eth0', 'type', 'macvlan', 'mode', 'bridge');
    await own('link', 'set', 'mv0', 'address', macText(macOf('10.0.1.13')), 'up');
    await own('addr', 'add', '10.0.1.13/32', 'dev', 'mv0');
    await own('route', 'add', '10.0.1.12/32', 'dev', 'mv0');
    const seen = await arriving(web.netns, '10.0.1.13', () =>
      tryInNetns(thief.netns, 'curl', '-sS', '-m', '1', '--interface', 'mv0', '10.0.1.12'),
    );
    expect(seen).toBe(0);
    await own('link', 'del', 'mv0');
    expect(await httpFrom(thief.netns, '10.0.1.12')).toBe('web 10.0.1.11');
  });

  test('by the gateway a task reaches of its host what is published, and no other service', async () => {
    expect(await httpFrom(away.netns, home.address, 7777)).toMatch(/^host/);
    expect(await httpFrom(thief.netns, '172.18.0.1', 7777)).toMatch(/failed/);
    expect(await httpFrom(thief.netns, '172.18.0.1', 8080)).toMatch(/^web/);
    // By its own address the host is to its tasks what it is to other hosts.
    expect(await httpFrom(thief.netns, home.address, 7777)).toMatch(/^host/);
  });

  test('names of other networks are not told', async () => {
    expect((await dnsFrom(thief.netns, 'web')).data).toEqual(['10.0.1.2']);
    for (const name of ['vault', 'tasks.vault', 'vault.bank', 'vault.1', 'vault.1.task-vault-1']) {
      expect((await dnsFrom(thief.netns, name)).data).toEqual([]);
    }
    expect((await dnsFrom(thief.netns, '14.1.0.10.in-addr.arpa', 'PTR')).data).toEqual([]);
  });

  test('rules in a table of the user hold, and stay through repairs and leaving', async () => {
    const rule = (text: string) => inNetns(home.netns, 'nft', text);
    await rule('add table ip skep-user');
    await rule('add chain ip skep-user forward { type filter hook forward priority -1; }');
    await rule(
      `add rule ip skep-user forward oifname { skep_in, skep_gw } ip saddr ${lab.outsideAddress} ct direction original drop`,
    );
    const before = await inNetns(home.netns, 'nft', 'list', 'table', 'ip', 'skep-user');
    await inNetns(home.netns, 'nft', 'delete', 'table', 'ip', 'skep');
    expect((await home.verify(true)).left).toEqual([]);
    expect(await httpFrom(lab.outside, home.address, 8080)).toMatch(/failed/);
    expect(await httpFrom(away.netns, home.address, 8080)).toMatch(/^web/);
    for (const task of [thief, web, vault]) await task.end();
    for (const name of ['thief', 'web', 'vault']) await home.detach(`task-${name}-1`);
    await home.removeAll();
    expect(await inNetns(home.netns, 'nft', 'list', 'tables')).toBe('table ip skep-user\n');
    expect(await inNetns(home.netns, 'nft', 'list', 'table', 'ip', 'skep-user')).toBe(before);
  });
});
