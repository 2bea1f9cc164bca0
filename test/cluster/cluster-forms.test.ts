// A cluster of three managers and two workers forms, and refuses those who may not join.
import { describe, expect, test } from 'vitest';
import {
  clusterTestsCanRun,
  eventually,
  succeeded,
  type TestCluster,
  tableRows,
} from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

interface NodeRow {
  readonly hostname: string;
  readonly status: string;
  readonly manager: string;
}

async function nodeRows(cluster: TestCluster): Promise<NodeRow[]> {
  const format = '{{.Hostname}}\t{{.Status}}\t{{.ManagerStatus}}';
  const text = await cluster.skep(['node', 'ls', '--format', format]);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [hostname = '', status = '', manager = ''] = line.split('\t');
      return { hostname, status, manager };
    });
}

/** The same token with another secret or digest, of the right form. */
function forged(token: string, part: 'digest' | 'secret'): string {
  const [prefix, version, digest = '', secret = ''] = token.split('-');
  const other = (text: string): string => [...text].reverse().join('');
  return part === 'digest'
    ? [prefix, version, other(digest), secret].join('-')
    : [prefix, version, digest, other(secret)].join('-');
}

describe.skipIf(!clusterTestsCanRun)('a cluster of 3 managers and 2 workers', () => {
  const shared = useCluster('forms', { managers: 3, workers: 2 });
  /** taken out of the cluster by the first test that needs a node which is in none */
  const OUTSIDER = 'worker-2';

  test('has five ready nodes: one leader, two reachable managers, two workers', async () => {
    const cluster = shared.current;
    const rows = await nodeRows(cluster);
    expect(rows.map((row) => row.status)).toEqual(['Ready', 'Ready', 'Ready', 'Ready', 'Ready']);
    const statusOf = (prefix: string): string[] =>
      rows.filter((row) => row.hostname.startsWith(prefix)).map((row) => row.manager);
    expect(statusOf('manager-').sort()).toEqual(['Leader', 'Reachable', 'Reachable']);
    expect(statusOf('worker-')).toEqual(['', '']);
  });

  test('prints its nodes in columns, the asked one marked, a blank for workers', async () => {
    const [head, ...rows] = tableRows(await shared.current.skep(['node', 'ls']));
    expect(head).toEqual([
      'ID',
      'HOSTNAME',
      'STATUS',
      'AVAILABILITY',
      'MANAGER STATUS',
      'ENGINE VERSION',
    ]);
    expect(rows).toHaveLength(5);
    expect(rows.filter((row) => row[0]!.endsWith(' *')).map((row) => row[1])).toEqual([
      'manager-1',
    ]);
    // Two cells, then blanks where a manager's status would stand, then the version.
    for (const row of rows.filter((cells) => cells[1]?.startsWith('worker-'))) {
      expect(row.slice(1, 4)).toEqual([row[1], 'Ready', 'Active']);
      expect(row).toHaveLength(5);
    }
  });

  test('says the same at every manager', async () => {
    const lists = await Promise.all(
      shared.current.managers.map(({ name }) =>
        shared.current.skep(['node', 'ls', '-q'], { host: name }),
      ),
    );
    expect(lists[0]!.trim().split('\n')).toHaveLength(5);
    expect(new Set(lists.map((text) => text.trim().split('\n').sort().join(' '))).size).toBe(1);
  });

  test('is described as JSON, managers first', async () => {
    const status = JSON.parse(await shared.current.dev('status', '--json')) as {
      hosts: Record<string, unknown>[];
    };
    expect(status.hosts.map((host) => host['role'])).toEqual([
      'manager',
      'manager',
      'manager',
      'worker',
      'worker',
    ]);
    for (const host of status.hosts) {
      expect(host['pid']).toBeGreaterThan(1);
      expect(host['address']).toMatch(/^172\.30\.\d+\.\d+$/);
      expect(host['netns']).toContain(shared.current.name);
    }
  });

  test('refuses a second swarm init', async () => {
    for (const host of ['manager-1', 'worker-1']) {
      const result = await shared.current.try(['swarm', 'init'], { host });
      expect(result.code, result.stdout).toBe(1);
      expect(result.stderr).toContain('This node is already part of a swarm');
    }
  });

  test('refuses that a member joins again', async () => {
    const token = (await shared.current.skep(['swarm', 'join-token', '-q', 'worker'])).trim();
    const remote = `${shared.current.host('manager-1').address}:2377`;
    const result = await shared.current.try(['swarm', 'join', '--token', token, remote], {
      host: 'worker-1',
    });
    expect(result.code, result.stdout).toBe(1);
    expect(result.stderr).toContain('This node is already part of a swarm');
  });

  test.each([
    [['node', 'ls']],
    [['service', 'ls']],
    [['service', 'create', '--name', 'here', 'skep-test/none:1']],
    [['swarm', 'join-token', 'worker']],
    [['stack', 'ls']],
  ])('a worker does not answer skep %s', async (args) => {
    const result = await shared.current.try(args, { host: 'worker-1' });
    expect(result.code, result.stdout).toBe(1);
    expect(result.stderr).toContain('This node is not a swarm manager');
    expect(result.stdout).toBe('');
  });

  describe('and a node that left it', () => {
    async function outside(cluster: TestCluster): Promise<void> {
      const rows = await nodeRows(cluster);
      if (rows.length === 4) return;
      await cluster.skep(['swarm', 'leave'], { host: OUTSIDER });
      await eventually(
        `${OUTSIDER} can be removed`,
        async () => succeeded(await cluster.try(['node', 'rm', OUTSIDER])),
        { withinMs: 30_000, everyMs: 500 },
      );
      expect(await nodeRows(cluster)).toHaveLength(4);
    }

    const join = (cluster: TestCluster, token: string, ...flags: string[]) => {
      const manager = `${cluster.host('manager-1').address}:2377`;
      const argv = ['swarm', 'join', '--token', token, ...flags, manager];
      return cluster.try(argv, { host: OUTSIDER });
    };

    const REFUSED: [string, (token: string) => string, RegExp][] = [
      ['a wrong secret', (token) => forged(token, 'secret'), /valid join token is necessary/],
      [
        "another cluster's digest",
        (token) => forged(token, 'digest'),
        /CA does not match fingerprint/,
      ],
      ['half a token', (token) => token.slice(0, 40), /invalid join token/],
      ['no token at all', () => 'open-sesame', /invalid join token/],
    ];
    test.each(REFUSED)('is not let in with %s', { timeout: 60_000 }, async (_, make, words) => {
      const cluster = shared.current;
      await outside(cluster);
      for (const role of ['worker', 'manager']) {
        const token = (await cluster.skep(['swarm', 'join-token', '-q', role])).trim();
        const result = await join(cluster, make(token));
        expect(result.code, result.stdout).toBe(1);
        expect(result.stderr).toMatch(words);
        expect(result.stderr).not.toContain(token.split('-')[3]);
      }
      expect(await nodeRows(cluster)).toHaveLength(4);
      // It is still in no cluster, not half in one.
      const info = await cluster.skep(['info', '--format', '{{.Swarm.LocalNodeState}}'], {
        host: OUTSIDER,
      });
      expect(info.trim()).toBe('inactive');
    });

    /** Hosts have a second address each, in a network of their own. */
    const dataAddress = (cluster: TestCluster, host: string): string =>
      `198.51.100.${cluster.hosts.findIndex(({ name }) => name === host) + 1}`;
    const inHost = (cluster: TestCluster, host: string, script: string): Promise<string> =>
      cluster.dev('run', host, '--', 'sh', '-c', script);

    test('is let in with the right token', { timeout: 60_000 }, async () => {
      const cluster = shared.current;
      await outside(cluster);
      for (const { name, address } of cluster.hosts) {
        const link = `$(ip -o -4 address show to ${address} | awk '{ print $2 }')`;
        await inHost(cluster, name, `ip address add ${dataAddress(cluster, name)}/24 dev ${link}`);
      }
      const token = (await cluster.skep(['swarm', 'join-token', '-q', 'worker'])).trim();
      const flags = ['--data-path-addr', dataAddress(cluster, OUTSIDER)];
      expect(succeeded(await join(cluster, token, ...flags)).stdout).toContain(
        'This node joined a swarm as a worker.',
      );
      await eventually(
        'five ready nodes',
        async () => {
          const rows = await nodeRows(cluster);
          expect(rows.map((row) => row.status)).toEqual(Array(5).fill('Ready'));
        },
        { withinMs: 10_000 },
      );
    });

    test('has the traffic of its tasks at its data path address, and nowhere else', {
      timeout: 90_000,
    }, async () => {
      const cluster = shared.current;
      await cluster.image({ name: 'skep-test/forms:1', cmd: ['sleep', '3600'] });
      const rule = (where: string, what: string): string =>
        `udp dport 4789 ${where} counter comment "${what}"`;
      const data = rule(`ip daddr ${dataAddress(cluster, OUTSIDER)}`, 'data');
      const own = rule(`ip daddr ${cluster.host(OUTSIDER).address}`, 'own');
      const chain = `chain seen { type filter hook input priority -5; ${data}; ${own}; }`;
      await inHost(cluster, OUTSIDER, `nft 'table inet probe { ${chain}; }'`);
      await cluster.skep(['network', 'create', '-d', 'overlay', 'data']);
      const argv = ['service', 'create', '--no-resolve-image', '--mode', 'global', '--name', 'all'];
      await cluster.skep([
        ...argv,
        '--network',
        'data',
        '--stop-grace-period',
        '1s',
        'skep-test/forms:1',
      ]);
      const tasks = await cluster.running('all', 5);
      const there = tasks.find(({ node }) => node === OUTSIDER)!;
      const [from] = tasks.filter(({ node }) => node !== OUTSIDER);
      const { NetworksAttachments: seats = [] } = (await cluster.inspectTask(there)) as unknown as {
        NetworksAttachments?: readonly { readonly Addresses: readonly string[] }[];
      };
      const address = seats[0]!.Addresses[0]!.split('/')[0]!;
      const ping = ['exec', `${from!.name}.${from!.id}`, 'ping', '-c', '2', '-W', '2', address];
      expect(await cluster.skep(ping, { host: from!.node })).toContain(' 0% packet loss');
      const seen = await inHost(cluster, OUTSIDER, 'nft list table inet probe');
      const packets = (what: string): number =>
        Number(new RegExp(`packets (\\d+) bytes \\d+ comment "${what}"`).exec(seen)?.[1]);
      expect(packets('data')).toBeGreaterThanOrEqual(2);
      expect(packets('own')).toBe(0);
      await cluster.skep(['service', 'rm', '-d', 'all']);
    });
  });
});
