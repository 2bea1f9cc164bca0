/** Places of tasks in networks of the cluster that this node makes by itself, over restarts of the daemon. Needs root. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { asId, type NetworkId, type TaskId } from '../../common/model/ids.ts';
import type { ConfigByName } from '../../worker/network/config-network.ts';
import { Ipv4Forwarding } from '../../worker/network/ipv4-forwarding.ts';
import { NodeMadeNetworks, OldNetworkError } from '../../worker/network/node-made-networks.ts';
import { aNetworkSpec } from '../support/builders.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { network } from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;
/** In a namespace that others have, too. */
const LINK = `skt${process.pid}m`;
const NAMESPACES = ['a', 'b'].map((name) => `skm${process.pid}-${name}`);
const [A, B] = NAMESPACES.map((name) => `/run/netns/${name}`) as [string, string];
const [TASK_A, TASK_B] = ['task-a', 'task-b'].map((id) => asId<TaskId>(id)) as [TaskId, TaskId];
const FORWARD_FILE = '/proc/sys/net/ipv4/ip_forward';

const near = (subnet = '10.214.7.0/24') => ({
  ...network('near', 0, 0, { driver: 'bridge', subnet: '', gateway: '' }),
  local: {
    driverOptions: { 'com.docker.network.bridge.name': LINK },
    configFrom: '',
    ipam: [{ subnet, gateway: '', range: '', reserved: {} }],
  },
});
const wish = (link: string, subnet?: string) => [{ network: near(subnet), link, isWayOut: false }];
const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });

describe.skipIf(!isRoot)('networks of the cluster that this node makes (root only)', () => {
  let dir: string;
  let daemons: NodeMadeNetworks[];
  /** networks that the cluster has no more */
  const removed = new Set<NetworkId>();
  /** of the host, which a daemon changes and leaves */
  let forwarding: string;
  beforeAll(() => {
    forwarding = readFileSync(FORWARD_FILE, 'utf8');
  });
  afterAll(() => writeFileSync(FORWARD_FILE, forwarding));
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-made-'));
    daemons = [];
    for (const name of NAMESPACES) ip('netns', 'add', name);
  });
  afterEach(async () => {
    removed.clear();
    for (const name of NAMESPACES) spawnSync('ip', ['netns', 'del', name]);
    for (const one of daemons) await one.stop();
    await (await daemon()).removeAll();
    rmSync(dir, { recursive: true, force: true });
  });

  async function daemon(config: ConfigByName = () => null): Promise<NodeMadeNetworks> {
    const made = new NodeMadeNetworks({
      ...{ clock: new FakeClock(), random: new SystemRandom(), log: silentLogger },
      dir: join(dir, 'made'),
      forwarding: new Ipv4Forwarding(join(dir, 'ip_forward')),
      own: { config, subnets: [] },
      isTold: (id) => !removed.has(id),
    });
    daemons.push(made);
    await made.start();
    return made;
  }
  const isThere = () => existsSync(`/sys/class/net/${LINK}`);
  const records = () =>
    ['places', 'networks'].flatMap((name) => {
      const path = join(dir, 'made', name);
      return existsSync(path) ? readdirSync(path) : [];
    });
  const reaches = (from: string, to: string): boolean => {
    const args = [`--net=${from}`, 'busybox', 'ping', '-c1', '-W2', to];
    return spawnSync('nsenter', args).status === 0;
  };
  const addressIn = (made: NodeMadeNetworks, id: TaskId): string =>
    made.addressesOf(id)[0]?.address.split('/')[0] ?? '';

  test('a daemon that comes after a kill takes them up: same addresses, no other gets them, nothing stays', async () => {
    const before = await daemon();
    await before.attach(TASK_A, A, wish('eth3'));
    const own = addressIn(before, TASK_A);
    expect(ip('-n', NAMESPACES[0]!, '-o', 'addr', 'show', 'eth3')).toContain(`${own}/24`);

    const after = await daemon();
    expect(addressIn(after, TASK_A)).toBe(own);
    await after.attach(TASK_B, B, wish('eth0'));
    expect(addressIn(after, TASK_B)).not.toBe(own);
    expect(reaches(A, addressIn(after, TASK_B))).toBe(true);
    const [subject] = after.subjects();
    expect(await subject?.differences()).toEqual([]);

    await after.detach(TASK_A);
    await after.detach(TASK_B);
    expect(isThere()).toBe(false);
    expect(records()).toEqual([]);
  });

  test('what ended while no daemon looked is let go, with its bridge', async () => {
    await (await daemon()).attach(TASK_A, A, wish('eth0'));
    ip('netns', 'del', NAMESPACES[0]!);
    const after = await daemon();
    expect(after.addressesOf(TASK_A)).toEqual([]);
    await expect.poll(isThere, { timeout: 10_000 }).toBe(false);
    expect(records()).toEqual([]);
    // Another thing under its name from now on.
    await after.attach(TASK_B, B, wish('eth0', '10.215.7.0/24'));
    expect(addressIn(after, TASK_B)).toMatch(/^10\.215\.7\./);
  });

  test('what a daemon that died on the way had made is made anew', async () => {
    const before = await daemon();
    await before.attach(TASK_A, A, wish('eth0'));
    rmSync(join(dir, 'made', 'places', TASK_A)); // it died before it could write that
    const after = await daemon();
    expect(isThere()).toBe(false);
    expect(records()).toEqual([]);
    await after.attach(TASK_A, A, wish('eth0'));
    await after.attach(TASK_B, B, wish('eth0'));
    expect(addressIn(after, TASK_A)).not.toBe(addressIn(after, TASK_B));
    expect(reaches(A, addressIn(after, TASK_B))).toBe(true);
  });

  test('a damaged record is told, and keeps nothing else from being taken up', async () => {
    const before = await daemon();
    await before.attach(TASK_A, A, wish('eth0'));
    await before.attach(TASK_B, B, wish('eth0'));
    writeFileSync(join(dir, 'made', 'places', TASK_A), '{');
    const after = await daemon();
    expect(after.addressesOf(TASK_A)).toEqual([]);
    expect(addressIn(after, TASK_B)).toBe(addressIn(before, TASK_B));
  });

  test('what was removed and is made again under its name has its place when the last task before has ended', async () => {
    const made = await daemon();
    await made.attach(TASK_A, A, wish('eth0'));
    const again = [{ ...wish('eth0')[0]!, network: { ...near(), id: asId<NetworkId>('again') } }];
    // As long as the cluster has both, it is the one who asks who errs.
    const refusal = made.attach(TASK_B, B, again);
    await expect(refusal).rejects.not.toBeInstanceOf(OldNetworkError);
    await expect(refusal).rejects.toThrow(`bridge name ${LINK} is taken`);
    removed.add(near().id);
    const waits = made.attach(TASK_B, B, again);
    await expect(waits).rejects.toBeInstanceOf(OldNetworkError);
    await expect(waits).rejects.toThrow('tasks are still in network near (net-near), which was');
    await made.detach(TASK_A);
    await made.attach(TASK_B, B, again);
    expect(addressIn(made, TASK_B)).toMatch(/^10\.214\.7\./);
  });

  test('of two with one name, what they do not have in common stands in nobody’s way', async () => {
    const made = await daemon();
    await made.attach(TASK_A, A, wish('eth0'));
    removed.add(near().id);
    const other = { ...near('10.215.7.0/24'), id: asId<NetworkId>('again') };
    const local = { ...other.local, driverOptions: {} };
    await made.attach(TASK_B, B, [{ network: { ...other, local }, link: 'eth0', isWayOut: false }]);
    expect(addressIn(made, TASK_B)).toMatch(/^10\.215\.7\./);
  });

  test('options that do nothing in a network of the cluster are refused of a configuration, too', async () => {
    const driverOptions = { 'com.docker.network.bridge.host_binding_ipv4': '127.0.0.1' };
    const spec = aNetworkSpec({ name: 'conf', driver: 'bridge', driverOptions, configOnly: true });
    const made = await daemon(() => ({ id: 'conf', createdAtMs: 0, spec, ipam: null }));
    const from = { ...near(), local: { driverOptions: {}, configFrom: 'conf', ipam: [] } };
    const wishes = [{ network: from, link: 'eth0', isWayOut: false }];
    await expect(made.attach(TASK_A, A, wishes)).rejects.toThrow(
      'host_binding_ipv4" is not supported in networks of the cluster',
    );
    expect(records()).toEqual([]);
  });

  test('a task that cannot have its place leaves nothing behind', async () => {
    const made = await daemon();
    await made.attach(TASK_A, A, wish('eth0', '10.214.7.0/30'));
    const full = 'attach to network near: all addresses of 10.214.7.0/30 are in use';
    await expect(made.attach(TASK_B, B, wish('eth0'))).rejects.toThrow(full);
    expect(ip('-n', NAMESPACES[1]!, '-o', 'link')).not.toContain('eth0');
    expect(made.addressesOf(TASK_B)).toEqual([]);
    await made.detach(TASK_A);
    expect(isThere()).toBe(false);
    expect(records()).toEqual([]);
  });

  test('a place that cannot be kept is not taken, and that is what is told, whatever taking back comes to', async () => {
    const made = await daemon();
    const places = join(dir, 'made', 'places');
    rmSync(places, { recursive: true, force: true });
    writeFileSync(places, '');
    await expect(made.attach(TASK_A, A, wish('eth0'))).rejects.toThrow(/ENOTDIR.*open/);
    expect(made.addressesOf(TASK_A)).toEqual([]);
    expect(isThere()).toBe(false);
    rmSync(places);
    expect(records()).toEqual([]);
    await made.attach(TASK_A, A, wish('eth0'));
    expect(isThere()).toBe(true);
  });
});
