// Services in networks of the cluster whose links each node makes by itself, from the configuration network that it has.
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, http, type TaskRow } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'box:latest';
const SERVE = 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www';
const SOON = { withinMs: 30_000 };
const PORT = 18700;
const HOST_PORT = 18701;

describe.skipIf(!clusterTestsCanRun)(
  'networks that each node makes by itself',
  { timeout: 120_000 },
  () => {
    const shared = useCluster('made', { managers: 1, workers: 1 }, async (cluster) => {
      await cluster.image({ name: IMAGE, cmd: ['sh', '-c', SERVE] });
      for (const [i, { name, netns }] of cluster.hosts.entries()) {
        const parent = await linkOf(cluster.hosts[i]!.address, name);
        expect(netns).not.toBe('');
        const pool = ['--subnet', '10.231.0.0/16', '--ip-range', `10.231.${i + 1}.0/24`];
        const flags = ['--config-only', '-d', 'macvlan', ...pool, '-o', `parent=${parent}`];
        await cluster.skep(['network', 'create', ...flags, 'wire'], { host: name });
      }
      const from = ['-d', 'macvlan', '--scope', 'swarm', '--config-from', 'wire'];
      await cluster.skep(['network', 'create', ...from, 'lan']);
      await cluster.skep(['network', 'create', '-d', 'bridge', '--scope', 'swarm', 'near']);
    });

    /** Of a host, by its address. */
    async function linkOf(address: string, host: string): Promise<string> {
      const text = await shared.current.dev('run', host, '--', 'ip', '-o', '-4', 'addr');
      const line = text.split('\n').find((it) => it.includes(`inet ${address}/`));
      return line?.split(/\s+/)[1] ?? '';
    }

    const create = (name: string, ...flags: readonly string[]) =>
      shared.current.skep(['service', 'create', '-d', '--name', name, ...flags, IMAGE]);
    const inTask = (task: TaskRow, ...argv: readonly string[]) =>
      shared.current.try(['exec', `${task.name}.${task.id}`, ...argv], { host: task.node });
    const asks = async (task: TaskRow, name: string): Promise<string> =>
      (await inTask(task, 'wget', '-qO-', `http://${name}/`)).stdout.trim();
    const addressesOf = async (task: TaskRow): Promise<readonly string[]> => {
      const json = (await shared.current.inspectTask(task)) as unknown as {
        readonly NetworksAttachments: readonly { readonly Addresses: readonly string[] }[];
      };
      return json.NetworksAttachments.flatMap(({ Addresses }) => Addresses);
    };

    /** Number and name of the link that a task has on the wire. */
    async function madeLink(task: TaskRow): Promise<readonly [string, string]> {
      const { stdout } = await inTask(task, 'ip', '-o', '-4', 'addr');
      const found = /^(\d+): (\S+) +inet 10\.231\./m.exec(stdout);
      if (!found) throw new Error(stdout);
      return [found[1]!, found[2]!];
    }

    test('macvlan: tasks have addresses of their node, meet on the wire and have names everywhere', async () => {
      const { current } = shared;
      await create('web', '--mode', 'global', '--network', 'lan', '-p', `${PORT}:80`);
      const tasks = await current.running('web', 2, SOON);
      for (const task of tasks) {
        const at = current.hosts.findIndex(({ name }) => name === task.node) + 1;
        const [own] = (await addressesOf(task)).filter((it) => it.startsWith('10.231.'));
        expect(own).toMatch(new RegExp(`^10\\.231\\.${at}\\.\\d+/16$`));
        const shown = (await inTask(task, 'ip', '-o', '-4', 'addr')).stdout;
        expect(shown).toContain(own);
      }
      const [one, other] = tasks as [TaskRow, TaskRow];
      const far = (await addressesOf(other)).find((it) => it.startsWith('10.231.'))!.split('/')[0]!;
      await eventually(
        'names lead to tasks of both nodes',
        async () => {
          const found = (await inTask(one, 'nslookup', 'web')).stdout;
          expect(found).toContain(far);
        },
        SOON,
      );
      expect(await asks(one, far)).not.toBe('');
      expect(await asks(other, 'tasks.web')).not.toBe('');
      // The mesh goes by its own network.
      for (const { address } of current.hosts) {
        expect((await http(address, PORT)).status).toBe(200);
      }
      await current.skep(['net', 'verify']);
    });

    test('they are taken up by the next daemon, and drift is mended', async () => {
      const { current } = shared;
      const [task] = (await current.running('web', 2, SOON)).filter(
        ({ node }) => node === 'worker-1',
      );
      const before = await addressesOf(task!);
      await current.restart('worker-1');
      const tasks = await current.running('web', 2, SOON);
      const same = tasks.find(({ id }) => id === task!.id);
      expect(same).toBeDefined();
      expect(await addressesOf(same!)).toEqual(before);
      const pid = await current.taskPid(same!);
      const [index, link] = await madeLink(same!);
      const inside = ['nsenter', `--net=/proc/${pid}/ns/net`, 'ip', 'link', 'del', link];
      await current.dev('run', 'worker-1', '--', ...inside);
      await eventually(
        'another link is in its place',
        async () => {
          const [now] = await madeLink(same!);
          expect(now).not.toBe(index);
        },
        SOON,
      );
      await current.skep(['net', 'verify']);
    });

    test('a configuration network that is used stays, and without it a task is rejected', async () => {
      const { current } = shared;
      for (const { name } of current.hosts) {
        const removed = await current.try(['network', 'rm', 'wire'], { host: name });
        expect(removed.stderr).toContain('configuration network "wire" is in use');
      }
      await current.skep(['service', 'rm', 'web']);
      await eventually(
        'links are gone',
        async () => {
          const removed = await current.try(['network', 'rm', 'wire'], { host: 'worker-1' });
          expect(removed.code, removed.stderr).toBe(0);
        },
        SOON,
      );
      await create(
        'lost',
        '--network',
        'lan',
        '--constraint',
        'node.hostname==worker-1',
        '--restart-condition',
        'none',
      );
      await eventually(
        'it is rejected',
        async () => {
          const [task] = await current.tasks('lost');
          expect(task?.current).toBe('Rejected');
          expect(task?.error).toContain('configuration network "wire" does not exist');
        },
        SOON,
      );
      await current.skep(['service', 'rm', 'lost']);
    });

    test('bridge: tasks of one node meet and have names there, with a way out and ports on their host', async () => {
      const { current } = shared;
      await create(
        'pair',
        '--network',
        'near',
        '--replicas',
        '4',
        '--publish',
        'mode=host,target=80',
      );
      const tasks = await current.running('pair', 4, SOON);
      const here = tasks.filter(({ node }) => node === 'worker-1');
      expect(here).toHaveLength(2);
      const own = await Promise.all(
        here.map(async (task) => (await addressesOf(task))[0]!.split('/')[0]!),
      );
      await eventually(
        'names are those of the node',
        async () => {
          const found = (await inTask(here[0]!, 'nslookup', 'pair')).stdout;
          for (const address of own) expect(found).toContain(address);
          expect(found.match(/^Address: /gm)).toHaveLength(2);
        },
        SOON,
      );
      expect(await asks(here[0]!, own[1]!)).not.toBe('');
      const ping = await inTask(here[0]!, 'ping', '-c', '1', '-W', '2', current.hosts[0]!.address);
      expect(ping.stdout).toContain('1 packets received');
      await create(
        'door',
        '--network',
        'near',
        '--mode',
        'global',
        '--publish',
        `mode=host,published=${HOST_PORT},target=80`,
      );
      await current.running('door', 2, SOON);
      for (const { address } of current.hosts) {
        expect((await http(address, HOST_PORT)).status).toBe(200);
      }
      await current.skep(['net', 'verify']);
      await current.skep(['service', 'rm', 'pair', 'door']);
      await eventually(
        'nothing of it is left',
        async () => {
          const text = await current.dev(
            'run',
            'worker-1',
            '--',
            'sh',
            '-c',
            'ip -br link; nft list tables',
          );
          expect(text).not.toMatch(/^(skb|skm)|skep_made/m);
        },
        SOON,
      );
    });
  },
);
