// skep doctor on hosts: what is in order, and one trouble after the other, each with what to do about it.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, run, SKEP, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

interface Finding {
  readonly check: string;
  readonly level: 'ok' | 'warn' | 'fail';
  readonly text: string;
  readonly remedy: string;
}

const LIMIT = { timeout: 90_000 };
const hasPing = spawnSync('ping', ['-V']).status === 0;

describe.skipIf(!clusterTestsCanRun)('skep doctor', () => {
  let dir: string;
  const pids: number[] = [];
  const shared = useCluster('doctor', { managers: 1, workers: 1 });
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => {
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });

  /** On a host, with its network; `as` = what the command is run by. */
  async function findings(
    host: string,
    { as = [], more = [] }: { readonly as?: string[]; readonly more?: string[] } = {},
  ): Promise<readonly Finding[]> {
    const { name } = shared.current;
    const { daemonSocket } = shared.current.host(host);
    const doctor = [...as, SKEP, '-H', `unix://${daemonSocket}`, 'doctor', '--json', ...more];
    const { stdout, stderr } = await run(
      [SKEP, 'dev', 'run', '--name', name, host, '--', ...doctor],
      { limitMs: 60_000 },
    );
    const at = stdout.indexOf('[');
    if (at < 0) throw new Error(`no findings: ${stdout}\n${stderr}`);
    return JSON.parse(stdout.slice(at, stdout.lastIndexOf(']') + 1)) as Finding[];
  }
  const of = (all: readonly Finding[], check: string): Finding[] =>
    all.filter((finding) => finding.check === check);
  const within = (host: string, ...command: string[]): Promise<string> =>
    shared.current.dev('run', host, '--', ...command);
  const linkOf = async (host: string): Promise<string> =>
    /dev (\S+)/.exec(await within(host, 'ip', '-o', 'route', 'get', '192.0.2.1'))?.[1] ??
    (JSON.parse(await within(host, 'ip', '-j', 'link')) as { ifname: string }[])
      .map(({ ifname }) => ifname)
      .find((ifname) => ifname.startsWith('eth'))!;

  test('finds a whole cluster in order, and every trouble has a remedy', LIMIT, async () => {
    const all = await findings('manager-1');
    for (const check of ['bridge', 'veth', 'vxlan', 'nftables', 'namespaces', 'cgroups', 'ports']) {
      expect(of(all, check), check).toMatchObject([{ level: 'ok' }]);
    }
    expect(of(all, 'firewall')).toMatchObject([{ level: 'ok' }]);
    expect(of(all, 'mtu')).toMatchObject([{ level: 'ok' }]);
    expect(of(all, 'network')).toMatchObject([{ level: 'ok' }]);
    expect(of(all, 'paths')).toMatchObject(
      hasPing
        ? [{ level: 'ok', text: 'whole packets and connections reach all 1 other nodes' }]
        : [{ level: 'warn', remedy: 'install iputils-ping' }],
    );
    expect(of(all, 'nodes')).toMatchObject([{ level: 'ok', text: 'all 2 are ready' }]);
    for (const { level, remedy, check } of all) {
      expect([check, remedy !== '']).toEqual([check, level !== 'ok']);
    }
  });

  test('a firewall that drops: at its host, and at the far end of the path', LIMIT, async () => {
    const rules = [
      'add table inet try',
      'add chain inet try input { type filter hook input priority 0; policy drop; }',
      'add rule inet try input ct state established,related accept',
      'add rule inet try input meta l4proto icmp accept',
      'add rule inet try input iifname lo accept',
    ];
    await within('worker-1', 'nft', rules.join('; '));
    try {
      expect(of(await findings('worker-1'), 'firewall')).toEqual([
        expect.objectContaining({
          level: 'warn',
          text: 'inet try input drops what it does not know',
          remedy: expect.stringContaining('let 2377/tcp, 4789/udp and 4790/udp in'),
        }),
      ]);
      const { address } = shared.current.host('worker-1');
      expect(of(await findings('manager-1'), 'paths')).toContainEqual(
        expect.objectContaining({
          level: 'warn',
          text: `nobody takes connections at ${address}, 2377/tcp`,
          remedy: expect.stringContaining('let 2377/tcp in'),
        }),
      );
    } finally {
      await within('worker-1', 'nft', 'delete table inet try');
    }
  });

  test('a small MTU: at its host, and on the way to it', LIMIT, async () => {
    const link = await linkOf('worker-1');
    await within('worker-1', 'ip', 'link', 'set', 'dev', link, 'mtu', '1300');
    try {
      expect(of(await findings('worker-1'), 'mtu')).toEqual([
        expect.objectContaining({
          level: 'warn',
          text: '1300: overlay networks would have 1250',
          remedy: 'raise it to 1330 at least',
        }),
      ]);
      if (!hasPing) return;
      const { address } = shared.current.host('worker-1');
      expect(of(await findings('manager-1'), 'paths')).toEqual([
        expect.objectContaining({
          level: 'warn',
          text: expect.stringContaining(`whole packets do not reach ${address}`),
          remedy: expect.stringContaining('com.docker.network.driver.mtu=N'),
        }),
      ]);
    } finally {
      await within('worker-1', 'ip', 'link', 'set', 'dev', link, 'mtu', '1500');
    }
  });

  test('a process that may make no namespaces', LIMIT, async () => {
    const as = ['setpriv', '--bounding-set', '-sys_admin', '--inh-caps', '-sys_admin'];
    const all = await findings('manager-1', { as });
    for (const check of ['namespaces', 'overlayfs', 'bridge']) {
      expect(of(all, check), check).toEqual([
        expect.objectContaining({ level: 'fail', remedy: expect.stringMatching(/\S/) }),
      ]);
    }
  });

  test('a disk that is full', LIMIT, async () => {
    succeeded(await run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', dir]));
    try {
      const all = await findings('manager-1', { more: ['--data-dir', dir] });
      expect(of(all, 'disk')).toEqual([
        expect.objectContaining({
          level: 'fail',
          text: expect.stringContaining(`free at ${dir}`),
          remedy: expect.stringContaining('image prune -a'),
        }),
      ]);
    } finally {
      succeeded(await run(['umount', dir]));
    }
  });

  test('a node whose daemon is gone, and the host that it was on', LIMIT, async () => {
    await shared.current.dev('kill', 'worker-1');
    await eventually(
      'the node to be down',
      async () =>
        expect(of(await findings('manager-1'), 'nodes')).toEqual([
          expect.objectContaining({
            level: 'warn',
            text: 'worker-1 is down',
            remedy: expect.stringContaining('look at skepd there'),
          }),
        ]),
      { withinMs: 60_000 },
    );
    expect(of(await findings('worker-1'), 'daemon')).toEqual([
      expect.objectContaining({
        level: 'warn',
        remedy: 'start skepd, or name another one by -H or --context',
      }),
    ]);
  });

  test('a port that somebody else has, where no daemon runs', LIMIT, async () => {
    const { name } = shared.current;
    // It says its pid: what runs it goes first when it is told to.
    const listen =
      "require('node:net').createServer().listen(2377, () => console.log(process.pid))";
    const within = ['dev', 'run', '--name', name, 'worker-1', '--'];
    const child = spawn(SKEP, [...within, process.execPath, '-e', listen], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const said = once(child.stdout, 'data') as Promise<[Buffer]>;
    const pid = Number(String((await said)[0]));
    pids.push(pid);
    expect(of(await findings('worker-1'), 'ports')).toEqual([
      expect.objectContaining({
        level: 'warn',
        text: expect.stringMatching(/^2377\/tcp .*taken by somebody else$/),
        remedy: 'ss -ltnp sport = :2377 says by whom',
      }),
    ]);
    process.kill(pid, 'SIGTERM');
    pids.length = 0;
    await once(child, 'close');
  });
});
