/** Beside other firewalls of the host: published ports answer and tasks get out. Needs root. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  httpFrom,
  inNetns,
  type LabHost,
  type LabTask,
  NetworkLab,
  tryInNetns,
} from '../support/network-lab.ts';
import { endpoint, network, peer, port, set } from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;
const INGRESS = network('ingress', 4126, 0, { ingress: true });

const STRICT = [
  'nft add table inet strict',
  "nft add chain inet strict forward '{ type filter hook forward priority 0; policy drop; }'",
  'nft add rule inet strict forward ip protocol icmp ct state established accept',
].join(' && ');

/** What an administrator set up, and how it is shown. */
const FIREWALLS: readonly (readonly [string, string, string])[] = [
  ['nftables that drop what is forwarded', STRICT, 'nft list table inet strict'],
  ['iptables-nft that drop what is forwarded', 'iptables-nft -P FORWARD DROP', 'iptables-nft -S'],
  [
    'iptables-legacy that drop what is forwarded',
    'iptables-legacy -N MINE && iptables-legacy -A FORWARD -d 198.51.100.0/24 -j MINE && iptables-legacy -A FORWARD -s 203.0.113.0/24 && iptables-legacy -A MINE -p icmp -m limit --limit 5/sec -j RETURN && iptables-legacy -P FORWARD DROP && ip6tables-legacy -P FORWARD DROP',
    'iptables-legacy -S; ip6tables-legacy -S',
  ],
  [
    'iptables-legacy with rules',
    'iptables-legacy -A FORWARD -d 198.51.100.0/24 -j DROP && iptables-legacy -A INPUT -p tcp --dport 99 -j DROP',
    'iptables-legacy -S',
  ],
];

describe.skipIf(!isRoot)('beside other firewalls (root only)', () => {
  let lab: NetworkLab | null = null;
  afterEach(async () => {
    await lab?.close();
    lab = null;
  });

  async function scene(setUp: string): Promise<{ host: LabHost; task: LabTask; made: NetworkLab }> {
    const made = await NetworkLab.create('skf', 1);
    lab = made;
    const [host] = made.hosts as [LabHost];
    await inNetns(host.netns, 'sh', '-c', setUp);
    await host.start();
    const seat = endpoint(INGRESS, 'web', 1, host, '10.0.0.11');
    await host.apply(
      [
        set('network', INGRESS),
        set('peer', peer(INGRESS, host, '10.0.0.2')),
        set('endpoint', seat),
        set('port', port('web', 8080, 80)),
      ],
      true,
    );
    const task = await made.attached(host, 'web', [seat]);
    return { host, task, made };
  }

  test.each(FIREWALLS)('%s', async (_, setUp, show) => {
    const { host, task, made } = await scene(setUp);
    const { outside, outsideAddress } = made;
    const works = async (): Promise<void> => {
      expect(await httpFrom(outside, host.address, 8080)).toBe(`web ${outsideAddress}`);
      const ping = await tryInNetns(task.netns, 'busybox', 'ping', '-c1', '-W2', outsideAddress);
      expect(ping).toContain('1 packets received');
    };
    await works();
    // Its tools read it still.
    const shown = () => inNetns(host.netns, 'sh', '-c', show);
    await shown();
    await task.end();
    await host.detach('task-web-1');
    await host.removeAll();
    // As if we had never been there.
    const after = await shown();
    expect(after).not.toContain('skep');
    await inNetns(
      host.netns,
      'sh',
      '-c',
      `nft flush ruleset; iptables-legacy -F; iptables-legacy -X; ${setUp}`,
    );
    expect(after).toBe(await shown());
  });

  test('a firewall that nobody else may write is told of, and hinders nothing else', async () => {
    const { host, made } = await scene('true');
    // The rules of a table with an owner are its own, for as long as its process lives.
    const owner = spawn('nsenter', [`--net=${host.netns}`, 'nft', '-i'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      owner.stdin.write('add table inet owned { flags owner; }\n');
      owner.stdin.write(
        'add chain inet owned forward { type filter hook forward priority 0; policy drop; }\n',
      );
      const listed = () => tryInNetns(host.netns, 'nft', 'list', 'table', 'inet', 'owned');
      await vi.waitFor(async () => expect(await listed()).toContain('policy drop'), 10_000);
      // The seat in the ingress network is made anew, and with it the rules in others' chains.
      await host.apply([set('peer', peer(INGRESS, host, '10.0.0.3'))]);
      await host.apply([set('port', port('web', 9090, 80))]);
      const { left, failures } = await host.verify(true);
      expect(failures).toEqual([]);
      expect(left).toEqual([
        {
          where: 'host',
          what: 'permits in chain forward of table owned',
          wanted: 'there',
          found: expect.stringMatching(/^refused: /),
        },
      ]);
    } finally {
      owner.stdin.end();
      await once(owner, 'exit');
    }
    expect((await host.verify(true)).left).toEqual([]);
    expect(await httpFrom(made.outside, host.address, 9090)).toBe(`web ${made.outsideAddress}`);
  });

  test('a firewall that is set up or reloaded later is dealt with by the self-proof', async () => {
    const { host, made } = await scene('true');
    const answer = () => httpFrom(made.outside, host.address, 8080);
    expect(await answer()).toBe(`web ${made.outsideAddress}`);
    await inNetns(host.netns, 'sh', '-c', STRICT);
    expect((await host.verify(true)).left).toEqual([]);
    expect(await answer()).toBe(`web ${made.outsideAddress}`);
    await inNetns(host.netns, 'nft', 'flush', 'table', 'inet', 'strict');
    expect((await host.verify(true)).left).toEqual([]);
    expect(await host.verify()).toMatchObject({ drifts: [], failures: [] });
    expect(await answer()).toBe(`web ${made.outsideAddress}`);
    await inNetns(
      host.netns,
      ...['nft', 'insert', 'rule', 'inet', 'strict', 'forward', 'tcp', 'dport', '80', 'drop'],
    );
    expect((await host.verify(true)).left).toEqual([]);
    // A rule of the user that stood first stands behind ours now; one in a table of its own holds.
    expect(await answer()).toBe(`web ${made.outsideAddress}`);
  });
});
