// The trust root changes while managers die and links are cut: by our command and by docker's.
import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type { SwarmJson } from '../../common/model/engine-json/swarm.ts';
import {
  clusterTestsCanRun,
  eventually,
  run,
  succeeded,
  type TestCluster,
} from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const ROOT_LIMIT_MS = 30_000;
const TEST_LIMIT_MS = 120_000;

interface Seen {
  readonly root: string;
  readonly isRotating: boolean;
  readonly tokens: string;
}

describe.skipIf(!clusterTestsCanRun)(
  'a cluster of 3 managers and a worker',
  { timeout: TEST_LIMIT_MS },
  () => {
    const shared = useCluster('ca', { managers: 3, workers: 1 });

    async function get(cluster: TestCluster, path: string): Promise<unknown> {
      const { socket } = cluster.managers[1]!;
      const { stdout } = await run([
        'curl',
        '-s',
        '--unix-socket',
        socket,
        `http://d/v1.41${path}`,
      ]);
      return JSON.parse(stdout);
    }

    async function seen(cluster: TestCluster): Promise<Seen> {
      const swarm = (await get(cluster, '/swarm')) as SwarmJson;
      return {
        root: swarm.TLSInfo!.TrustRoot!,
        isRotating: swarm.RootRotationInProgress!,
        tokens: JSON.stringify(swarm.JoinTokens),
      };
    }

    async function allReady(cluster: TestCluster): Promise<void> {
      await eventually(
        'four nodes are ready, three managers reach each other',
        async () => {
          const format = '{{.Status}} {{.ManagerStatus}}';
          const text = await cluster.skep(['node', 'ls', '--format', format], {
            host: cluster.managers[1]!.name,
          });
          expect(
            text
              .trim()
              .split('\n')
              .map((line) => line.trim())
              .sort(),
          ).toEqual(['Ready', 'Ready Leader', 'Ready Reachable', 'Ready Reachable']);
        },
        { withinMs: ROOT_LIMIT_MS },
      );
    }

    test('goes over to another root, which all nodes report', async () => {
      const cluster = shared.current;
      const before = await seen(cluster);
      const said = await cluster.skep(['swarm', 'ca', '--rotate']);
      const after = await seen(cluster);
      expect(after).toMatchObject({ isRotating: false, root: said.slice(said.indexOf('-----')) });
      expect(after.root).not.toBe(before.root);
      expect(after.tokens).not.toBe(before.tokens);
      await allReady(cluster);
    });

    test.skipIf(!hasDocker)('and again for docker swarm ca --rotate', async () => {
      const cluster = shared.current;
      const before = await seen(cluster);
      const host = `unix://${cluster.managers[1]!.socket}`;
      succeeded(await run(['docker', '-H', host, 'swarm', 'ca', '--rotate']));
      const after = await seen(cluster);
      expect(after.isRotating).toBe(false);
      expect(after.root).not.toBe(before.root);
    });

    test('waits for a node that is cut off, and ends under another leader when it is back', async () => {
      const cluster = shared.current;
      const { name: worker } = cluster.hosts.find(({ role }) => role === 'worker')!;
      const before = await seen(cluster);
      await cluster.dev('cut', worker);
      await cluster.skep(['swarm', 'ca', '--rotate', '--detach']);
      const leader = cluster.managers[0]!.name;
      await cluster.dev('kill', leader);
      await cluster.dev('start', leader);
      await allManagersRenewed(cluster);
      const during = await seen(cluster);
      await cluster.dev('heal', worker);
      expect(during).toEqual({ ...before, isRotating: true });
      await eventually(
        'the rotation is over',
        async () => expect((await seen(cluster)).isRotating).toBe(false),
        { withinMs: ROOT_LIMIT_MS },
      );
      await allReady(cluster);
      expect((await seen(cluster)).root).not.toBe(before.root);
    });

    /** Who issued their certificates is the same for all, and another one than for the worker. */
    async function allManagersRenewed(cluster: TestCluster): Promise<void> {
      await eventually(
        'managers have other certificates than the worker',
        async () => {
          const nodes = (await get(cluster, '/nodes')) as readonly NodeJson[];
          const issuerOf = ({ Description }: NodeJson): string | undefined =>
            Description?.TLSInfo?.CertIssuerPublicKey;
          const ofManagers = nodes.filter(({ ManagerStatus }) => ManagerStatus).map(issuerOf);
          expect([new Set(ofManagers).size, new Set(nodes.map(issuerOf)).size]).toEqual([1, 2]);
        },
        { withinMs: ROOT_LIMIT_MS },
      );
    }

    test('admits nobody by a token of before', async () => {
      const cluster = shared.current;
      const { name: worker } = cluster.hosts.find(({ role }) => role === 'worker')!;
      const { name: manager, address } = cluster.managers[1]!;
      const old = (
        await cluster.skep(['swarm', 'join-token', '-q', 'worker'], { host: manager })
      ).trim();
      await cluster.skep(['swarm', 'ca', '--rotate'], { host: manager });
      await cluster.skep(['swarm', 'leave'], { host: worker });
      const join = (token: string): Promise<string> =>
        cluster.skep(['swarm', 'join', '--token', token, `${address}:2377`], { host: worker });
      await expect(join(old)).rejects.toThrow('remote CA does not match fingerprint');
      const token = await cluster.skep(['swarm', 'join-token', '-q', 'worker'], { host: manager });
      expect(await join(token.trim())).toBe('This node joined a swarm as a worker.\n');
    });
  },
);
