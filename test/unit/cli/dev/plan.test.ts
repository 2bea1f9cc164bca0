import { describe, expect, test } from 'vitest';
import {
  checkClusterName,
  chooseSubnet,
  planCluster,
  preferredSubnet,
} from '../../../../cli/dev/plan.ts';

const request = {
  name: 'try',
  managers: 2,
  workers: 1,
  subnet: 7,
  stateRoot: '/var/lib/skep-dev',
  socketRoot: '/run/skep-dev',
  logLevel: 'info',
  insecureRegistries: [],
};

describe('plan of a development cluster', () => {
  test('managers come first, addresses follow in order', () => {
    const plan = planCluster(request);
    expect(plan.bridgeAddress).toBe('172.30.7.1');
    expect(
      plan.hosts.map(({ name, role, address, netns }) => [name, role, address, netns]),
    ).toEqual([
      ['manager-1', 'manager', '172.30.7.11', 'skep-try-manager-1'],
      ['manager-2', 'manager', '172.30.7.12', 'skep-try-manager-2'],
      ['worker-1', 'worker', '172.30.7.13', 'skep-try-worker-1'],
    ]);
    expect(plan.hosts[2]).toMatchObject({
      socket: '/run/skep-dev/try/worker-1.sock',
      dir: '/var/lib/skep-dev/try/worker-1',
      cgroupParent: 'skep-try-worker-1',
    });
  });

  test('interface names fit the kernel and differ between clusters', () => {
    const big = planCluster({
      ...request,
      name: 'a-name-of-20-letters',
      managers: 3,
      workers: 197,
    });
    const names = [big.bridge, ...big.hosts.map((host) => host.link)];
    expect(Math.max(...names.map((name) => name.length))).toBeLessThanOrEqual(15);
    expect(new Set(names).size).toBe(names.length);
    expect(planCluster(request).bridge).not.toBe(big.bridge);
    expect(big.hosts.at(-1)?.address).toBe('172.30.7.210');
  });

  test('a taken subnet is passed over, all taken is an error', () => {
    const first = preferredSubnet('try');
    expect(chooseSubnet('try', new Set())).toBe(first);
    expect(chooseSubnet('try', new Set([first]))).toBe((first + 1) % 256);
    const all = new Set(Array.from({ length: 256 }, (_, subnet) => subnet));
    expect(() => chooseSubnet('try', all)).toThrow(/no free subnet/);
  });

  test.each(['', 'Big', '-a', 'a-', 'a_b', 'a/b', '..', 'x'.repeat(21)])(
    '%j is no name of a cluster',
    (name) => expect(() => checkClusterName(name)).toThrow(/cluster name/),
  );

  test('further flags of the daemons are kept for their next start', () => {
    const daemonFlags = ['--registry-mirror', 'http://mirror:5000'];
    expect(planCluster({ ...request, daemonFlags }).settings.daemonFlags).toEqual(daemonFlags);
  });

  test.each([
    [{ managers: 0 }, /at least 1/],
    [{ workers: 300 }, /at most 200 hosts/],
    [{ daemonFlags: ['worker-1'] }, /flags of skepd after --: worker-1 is none/],
    [{ daemonFlags: ['--label', 'a=b', '--data-dir=/x'] }, /skep dev sets --data-dir=\/x itself/],
  ])('%j is refused', (change, why) => {
    expect(() => planCluster({ ...request, ...change })).toThrow(why);
  });
});
