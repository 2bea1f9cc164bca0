import { describe, expect, test } from 'vitest';
import { type ClusterFacts, doctor } from '../../../../cli/commands/doctor.ts';
import { judgeCluster, judgeHost, skewMs } from '../../../../cli/commands/doctor-findings.ts';
import type { HostFacts, PathFacts } from '../../../../cli/commands/doctor-probes.ts';
import type { NetworkProofJson } from '../../../../common/model/engine-json/network.ts';
import type { NodeJson } from '../../../../common/model/engine-json/node.ts';
import type { InfoJson } from '../../../../common/model/engine-json/system.ts';
import type { TaskJson } from '../../../../common/model/engine-json/task.ts';
import { runCommand } from '../../../support/cli-command.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const GIB = 1024 ** 3;
const HEALTHY: HostFacts = {
  isRoot: true,
  nodeVersion: '20.19.0',
  kernel: '6.1.0',
  trials: {
    namespaces: null,
    overlayfs: null,
    bridge: null,
    veth: null,
    vxlan: null,
    wireguard: null,
    nftables: null,
  },
  cgroups: { version: 'v2', controllers: ['cpuset', 'cpu', 'io', 'memory', 'pids'] },
  ports: ['2377/tcp', '4789/udp', '4790/udp'],
  takenPorts: [],
  dropping: [],
  mtu: 1500,
  mtus: { eth0: 1500 },
  isClockSynchronised: true,
  disk: {
    path: '/var/lib',
    freeBytes: 50 * GIB,
    totalBytes: 100 * GIB,
    freeInodesRatio: 0.9,
    type: 'xfs',
  },
  openFilesMax: 1_048_576,
  connectionsMax: 262_144,
  memoryFreeBytes: 4 * GIB,
};
const member = { Swarm: { LocalNodeState: 'active', ControlAvailable: true } } as InfoJson;

describe('a daemon on another machine', () => {
  const engine = {
    host: 'ssh://root@10.0.0.1',
    info: async () => ({ ...member, Name: 'manager-1', ServerVersion: '0.1' }),
    nodes: async () => [],
    tasks: async () => [],
    swarm: async () => ({}),
    networkProofs: async () => [],
  };

  test('says of its cluster, and nothing of the machine where it is asked', async () => {
    const { status, stdout } = await runCommand(doctor, ['--json'], {
      ...{ engine, clock: new FakeClock() },
    });
    const findings = JSON.parse(stdout) as { check: string; level: string; text: string }[];
    expect([status, findings.map(({ check }) => check)]).toEqual([
      0,
      ['host', 'daemon', 'managers', 'nodes'],
    ]);
    expect(findings[0]).toMatchObject({
      level: 'warn',
      text: 'not looked at: the daemon is at ssh://root@10.0.0.1',
      remedy: 'run skep doctor on that machine',
    });
  });

  test('has no directory here', async () => {
    expect(await runCommand(doctor, ['--data-dir', '/x'], { engine })).toEqual({
      status: 1,
      stdout: '',
      stderr: '--data-dir is of this machine, and the daemon is at ssh://root@10.0.0.1\n',
    });
  });
});

describe('a host', () => {
  test('that has everything has no finding but good ones', () => {
    const levels = new Set(judgeHost(HEALTHY, null).map(({ level }) => level));
    expect([...levels]).toEqual(['ok']);
  });

  test.each<[string, Partial<HostFacts>, string, string, string]>([
    ['an old node.js', { nodeVersion: '20.18.3' }, 'node.js', 'fail', 'install 20.19'],
    ['another user', { isRoot: false }, 'user', 'fail', 'as root'],
    [
      'no VXLAN',
      { trials: { ...HEALTHY.trials, vxlan: 'Unknown device type' } },
      'vxlan',
      'fail',
      'modprobe vxlan',
    ],
    [
      'no WireGuard',
      { trials: { ...HEALTHY.trials, wireguard: 'Unknown device type' } },
      'wireguard',
      'warn',
      'modprobe wireguard',
    ],
    [
      'no memory groups',
      { cgroups: { version: 'v2', controllers: ['cpu', 'cpuset', 'io', 'pids'] } },
      'cgroups',
      'warn',
      'cgroup_enable=memory',
    ],
    ['no groups', { cgroups: { version: 'none', controllers: [] } }, 'cgroups', 'fail', 'mount -t'],
    ['a busy port', { takenPorts: ['4789/udp'] }, 'ports', 'warn', 'ss -lunp sport = :4789'],
    [
      'a firewall',
      { dropping: ['inet filter input'] },
      'firewall',
      'warn',
      'let 2377/tcp, 4789/udp and 4790/udp in',
    ],
    [
      'a firewall and another data path',
      { dropping: ['inet filter input'], ports: ['2377/tcp', '7777/udp', '7778/udp'] },
      'firewall',
      'warn',
      'let 2377/tcp, 7777/udp and 7778/udp in',
    ],
    ['a small MTU', { mtu: 1300 }, 'mtu', 'warn', 'raise it to 1330'],
    ['a free clock', { isClockSynchronised: false }, 'clock', 'warn', 'chrony'],
    ['an overlay', { disk: { ...HEALTHY.disk, type: 'overlayfs' } }, 'file system', 'fail', 'ext4'],
    ['a full disk', { disk: { ...HEALTHY.disk, freeBytes: GIB } }, 'disk', 'warn', 'system df'],
    ['no disk', { disk: { ...HEALTHY.disk, freeBytes: 1 } }, 'disk', 'fail', 'system df'],
    ['no inodes', { disk: { ...HEALTHY.disk, freeInodesRatio: 0.01 } }, 'disk', 'warn', 'more'],
    ['few files', { openFilesMax: 1024 }, 'limits', 'warn', 'LimitNOFILE'],
    ['few connections', { connectionsMax: 1024 }, 'limits', 'warn', 'nf_conntrack_max'],
    ['little memory', { memoryFreeBytes: 1 }, 'limits', 'warn', 'memory'],
  ])('with %s is told what to do', (_, facts, check, level, remedy) => {
    const bad = judgeHost({ ...HEALTHY, ...facts }, null).filter((one) => one.level !== 'ok');
    expect(bad).toEqual([
      { check, level, text: expect.any(String), remedy: expect.stringContaining(remedy) },
    ]);
  });

  test('has its own ports', () => {
    const taken = { ...HEALTHY, takenPorts: ['2377/tcp', '4789/udp', '4790/udp'] };
    expect(judgeHost(taken, member).every(({ level }) => level === 'ok')).toBe(true);
  });
});

const node = (ID: string, more: Partial<NodeJson> = {}): NodeJson =>
  ({
    ID,
    Description: { Hostname: `host-${ID}` },
    Status: { State: 'ready', Addr: `10.0.0.${ID}` },
    ...more,
  }) as NodeJson;
const manager = (ID: string, Reachability = 'reachable') =>
  node(ID, { ManagerStatus: { Reachability } });
/** Seconds at which it was made, said that it runs, and was written. */
const report = (NodeID: string, made: number, said: number, written: number): TaskJson =>
  ({
    NodeID,
    CreatedAt: new Date(made * 1000).toISOString(),
    UpdatedAt: new Date(written * 1000).toISOString(),
    Status: { State: 'running', Timestamp: new Date(said * 1000).toISOString() },
  }) as TaskJson;

const proof = (more: Partial<NetworkProofJson> = {}): NetworkProofJson =>
  ({
    ...{
      NodeID: '2',
      Hostname: 'host-2',
      State: 'compared',
      LeftCount: 0,
      Failures: [],
      Error: '',
    },
    ...more,
  }) as NetworkProofJson;

describe('a cluster', () => {
  const judge = (facts: Partial<ClusterFacts & { readonly paths: readonly PathFacts[] }>) =>
    judgeCluster({
      ...{ info: member, silence: '', tasks: [], proofs: [], paths: [], dataPathPort: 4789 },
      nodes: [manager('1'), manager('2'), manager('3')],
      ...facts,
    });
  const path = (address: string, answers: boolean | null, passesWhole = true): PathFacts => ({
    ...{ address, answers, passesWhole, port: '2377/tcp', isServed: true },
  });

  test('that is whole has no finding but good ones', () => {
    const paths = [path('10.0.0.2', true), path('10.0.0.3', true)];
    const tasks = [report('2', 10, 11, 12)];
    const proofs = [proof(), proof({ State: 'down' })];
    expect(judge({ paths, tasks, proofs }).map(({ check, level }) => [check, level])).toEqual([
      ['daemon', 'ok'],
      ['managers', 'ok'],
      ['nodes', 'ok'],
      ['clock skew', 'ok'],
      ['network', 'ok'],
      ['paths', 'ok'],
    ]);
  });

  test.each<[string, Parameters<typeof judge>[0], string, string]>([
    ['no daemon', { info: null, silence: 'Cannot connect' }, 'daemon', 'start skepd'],
    [
      'a lock',
      { info: { Swarm: { LocalNodeState: 'locked' } } as InfoJson },
      'cluster',
      'swarm unlock',
    ],
    [
      'a lost manager',
      { nodes: [manager('1'), manager('2', 'unreachable'), manager('3')] },
      'managers',
      'bring back host-2',
    ],
    ['two managers', { nodes: [manager('1'), manager('2')] }, 'managers', 'an odd number'],
    [
      'a node that is down',
      { nodes: [manager('1'), node('2', { Status: { State: 'down' } })] },
      'nodes',
      'skepd there',
    ],
    ['a clock ahead', { tasks: [report('2', 10, 30, 12)] }, 'clock skew', 'the clock of host-2'],
    [
      'a network that is not as it ought to be',
      { proofs: [proof({ Failures: [{ Where: 'host', Reason: 'no link skep0' }] })] },
      'network',
      'skep net verify',
    ],
    ['a drifted one', { proofs: [proof({ LeftCount: 2 })] }, 'network', '--repair'],
    ['silence', { paths: [path('10.0.0.2', false)] }, 'paths', 'a firewall between'],
    ['a narrow way', { paths: [path('10.0.0.2', true, false)] }, 'paths', 'driver.mtu=N'],
    [
      'a shut port',
      { paths: [{ ...path('10.0.0.2', true), isServed: false }] },
      'paths',
      'let 2377/tcp in from the other nodes',
    ],
    ['no ping', { paths: [path('10.0.0.2', null)] }, 'paths', 'iputils-ping'],
  ])('with %s is told what to do', (_, facts, check, remedy) => {
    const bad = judge(facts).filter(({ level }) => level !== 'ok');
    expect(bad.map((one) => one.check)).toEqual([check]);
    expect(bad[0]!.remedy).toContain(remedy);
  });

  test('knows a skew from reports that cannot be', () => {
    expect(skewMs([])).toBe(null);
    expect(skewMs([report('1', 10, 11, 12)])).toBe(0);
    expect(skewMs([report('1', 10, 11, 900)])).toBe(0); // written again later
    expect(skewMs([report('1', 10, 15, 12), report('1', 10, 11, 12)])).toBe(3000);
    expect(skewMs([report('1', 100, 40, 102)])).toBe(-60_000);
  });
});
