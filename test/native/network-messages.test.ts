/** Our netlink messages as nft and ip read them back. Needs root. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ipv4Bytes, macOf } from '../../native/ffi/net/address.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import { addressKey, NFT_TYPE, NftTransaction, numberKey } from '../../native/ffi/net/nft.ts';
import {
  connectionDirection,
  destinationIn,
  destinationTranslated,
  dnatByMap,
  dnatTo,
  fromInterface,
  l4Protocol,
  masquerade,
  rejectPortUnreachable,
  sourceIn,
  toInterface,
  toLocalAddress,
  verdict,
} from '../../native/ffi/net/nft-expressions.ts';
import { addAddress } from '../../native/ffi/net/rtnl-address.ts';
import {
  addBridge,
  addVxlan,
  dumpLinks,
  readLinks,
  setLink,
} from '../../native/ffi/net/rtnl-link.ts';
import {
  addRemoteMac,
  deleteRemoteMac,
  dumpForwarding,
  readForwarding,
} from '../../native/ffi/net/rtnl-neighbour.ts';
import {
  addMarkRule,
  addRoute,
  deleteMarkRule,
  dumpRoutes,
  type MarkRule,
  readRoutes,
} from '../../native/ffi/net/rtnl-route.ts';
import {
  closeFd,
  createNetns,
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NetlinkSocket,
  removeNetns,
  visitNetns,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import { findLink } from '../../worker/network/legs.ts';
import { inNetns } from '../support/network-lab.ts';

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('netlink messages in the kernel (root only)', () => {
  const dir = mkdtempSync(join(tmpdir(), 'skep-messages-'));
  const pin = join(dir, 'ns');
  let filter: NetlinkSocket;
  let route: NetlinkSocket;

  beforeAll(async () => {
    await createNetns(pin);
    filter = await NetlinkSocket.open(pin, NETLINK_NETFILTER);
    route = await NetlinkSocket.open(pin, NETLINK_ROUTE);
  });

  afterAll(async () => {
    await filter?.close();
    await route?.close();
    await removeNetns(pin);
    rmSync(dir, { recursive: true, force: true });
  });

  const listed = async (): Promise<string> =>
    (await inNetns(pin, 'nft', 'list', 'ruleset')).replace(/\s+/g, ' ');

  test.each([
    ['fib daddr type local drop', [...toLocalAddress(), ...verdict({ kind: 'drop' })]],
    [
      'iifname "eth9" oifname != "lo" accept',
      [...fromInterface('eth9'), ...toInterface('lo', true), ...verdict({ kind: 'accept' })],
    ],
    [
      'ip saddr 127.0.0.0/8 ip daddr != 10.0.0.0/24 drop',
      [
        ...sourceIn(ipv4Bytes('127.0.0.0'), 0xff000000),
        ...destinationIn(ipv4Bytes('10.0.0.0'), 0xffffff00, true),
        ...verdict({ kind: 'drop' }),
      ],
    ],
    [
      'ct direction original ct status ! dnat drop',
      [
        ...connectionDirection('original'),
        ...destinationTranslated(false),
        ...verdict({ kind: 'drop' }),
      ],
    ],
    ['meta l4proto udp reject', [...l4Protocol(17), ...rejectPortUnreachable()]],
  ])('filter rule: %s', async (text, expressions) => {
    const tx = new NftTransaction('t');
    tx.addTable();
    tx.deleteTable();
    tx.addTable();
    tx.addChain('c', { type: 'filter', hook: 'forward', priority: 0 });
    tx.addRule('c', expressions);
    await tx.commit(filter);
    // Two spellings of one test, and reject's default is what we give it.
    const same = (await listed()).replace(/ct status & dnat == 0(x0)?( dnat)?/, 'ct status ! dnat');
    expect(same).toContain(text);
  });

  test.each([
    ['dnat to numgen inc mod 2 map @m', dnatByMap('m', 2, null)],
    [
      'dnat to jhash ip saddr mod 2 seed 0x7 map @m',
      dnatByMap('m', 2, null, { kind: 'source-hash', seed: 7 }),
    ],
    ['dnat to numgen inc mod 2 map @m:80', dnatByMap('m', 2, 80)],
    ['dnat to 10.0.0.9:8080', dnatTo(ipv4Bytes('10.0.0.9'), 8080)],
  ])('translation: %s', async (text, expressions) => {
    const tx = new NftTransaction('t');
    tx.addTable();
    tx.deleteTable();
    tx.addTable();
    tx.addSet('m', {
      keyType: NFT_TYPE.mark,
      keyBytes: 4,
      data: { type: NFT_TYPE.ipv4Address, bytes: 4 },
    });
    tx.addElements('m', [
      { key: numberKey(0), data: addressKey('10.0.0.1') },
      { key: numberKey(1), data: addressKey('10.0.0.2') },
    ]);
    tx.addChain('c', { type: 'nat', hook: 'output', priority: -100 });
    tx.addChain('p', { type: 'nat', hook: 'postrouting', priority: 100 });
    tx.addRule('c', [...l4Protocol(6), ...expressions]);
    tx.addRule('p', masquerade());
    await tx.commit(filter);
    const rules = await listed();
    expect(rules).toContain(text);
    expect(rules).toContain('masquerade');
    expect(rules).toContain('0x00000001 : 10.0.0.2');
  });

  test('a transaction with one bad step changes nothing and says which step', async () => {
    const before = await listed();
    const tx = new NftTransaction('t');
    tx.addChain('fresh');
    tx.deleteElements('m', [numberKey(77)]);
    await expect(tx.commit(filter)).rejects.toThrow('nft: delete elements of m: ENOENT');
    expect(await listed()).toBe(before);
  });

  test('links, addresses, routes and rules are what ip shows', async () => {
    const links = new MessageBatch();
    addBridge(links, { name: 'br7', mac: macOf('10.9.0.1'), mtu: 1400, up: true });
    addVxlan(links, { name: 'vx7', mtu: 1400 }, { vni: 77, local: '127.0.0.1', port: 4790 });
    await route.transact(links);
    const bridge = (await findLink(route, 'br7'))?.index ?? 0;
    const vxlan = await findLink(route, 'vx7');
    expect(vxlan).toMatchObject({
      kind: 'vxlan',
      vxlan: { vni: 77, local: '127.0.0.1', port: 4790 },
    });
    const batch = new MessageBatch();
    setLink(batch, { byName: 'vx7' }, { master: bridge, up: true });
    addAddress(batch, bridge, '10.9.0.1/24');
    addRoute(batch, { to: '10.8.0.0/16', via: '10.9.0.2', index: bridge, source: '10.9.0.1' });
    addRoute(batch, { to: '0.0.0.0/0', via: '10.9.0.3', index: bridge, table: 0x5ce00001 });
    const rule: MarkRule = {
      family: 'ipv4',
      mark: 0x5ce00001,
      mask: 0xffffffff,
      table: 0x5ce00001,
      priority: 1000,
    };
    addMarkRule(batch, rule);
    addRemoteMac(batch, vxlan?.index ?? 0, macOf('10.9.0.5'), '172.30.0.2');
    await route.transact(batch);
    const show = (...args: string[]) => inNetns(pin, 'ip', ...args);
    expect(await show('-d', 'link', 'show', 'vx7')).toMatch(
      /master br7.*vxlan id 77 local 127.0.0.1.*dstport 4790 nolearning proxy/s,
    );
    expect(await show('link', 'show', 'br7')).toContain('02:42:0a:09:00:01');
    expect(await show('route', 'show', '10.8.0.0/16')).toContain(
      'via 10.9.0.2 dev br7 proto static src 10.9.0.1',
    );
    expect(await show('route', 'show', 'table', `${0x5ce00001}`)).toContain('default via 10.9.0.3');
    expect(await show('rule')).toContain('fwmark 0x5ce00001 lookup');
    const hosts = async () =>
      readForwarding(await route.dump(dumpForwarding())).map(({ host }) => host);
    expect(await hosts()).toContain('172.30.0.2');
    const undo = new MessageBatch();
    deleteRemoteMac(undo, vxlan?.index ?? 0, macOf('10.9.0.5'));
    deleteMarkRule(undo, rule);
    await route.transact(undo);
    expect(await hosts()).not.toContain('172.30.0.2');
    expect(await show('rule')).not.toContain('fwmark');
  });

  test('several dumps at once are each answered by their own', async () => {
    const [routes, links, again] = await route.dumpEach([dumpRoutes(), dumpLinks(), dumpRoutes()]);
    expect(readLinks(links!).map(({ name }) => name)).toContain('lo');
    expect(readRoutes(routes!)).toEqual(readRoutes(await route.dump(dumpRoutes())));
    expect(readRoutes(again!)).toEqual(readRoutes(routes!));
    expect(readLinks(routes!)).toEqual([]);
  });

  test('sysctls are written in the namespace only', async () => {
    await writeNetSysctls(pin, { 'ipv4/ip_forward': '1', 'ipv4/no_such_file': '1' });
    expect(await inNetns(pin, 'cat', '/proc/sys/net/ipv4/ip_forward')).toBe('1\n');
    await expect(writeNetSysctls(pin, { 'ipv4/ip_forward': 'x' })).rejects.toThrow(
      /write .*ip_forward: EINVAL/,
    );
  });

  test('a visit that fails leaves no socket open', async () => {
    const socket = { kind: 'udp', address: '127.0.0.1', port: 5300 } as const;
    const up = { kind: 'up', link: 'lo' } as const;
    await expect(visitNetns(pin, [up, socket, socket])).rejects.toThrow(/bind .*EADDRINUSE/);
    const [fd] = await visitNetns(pin, [socket]);
    closeFd(fd!);
  });

  test('a namespace ends when its pin and our sockets are gone', async () => {
    const other = join(dir, 'other');
    await createNetns(other);
    await expect(createNetns(other)).rejects.toThrow(/EEXIST/);
    await removeNetns(other);
    await removeNetns(other);
    await expect(NetlinkSocket.open(other, NETLINK_ROUTE)).rejects.toThrow(/open .*ENOENT/);
  });
});
