// No request is lost while tasks are replaced, scaled and moved. SKEP_PROOFS=full makes it long: 20 updates,
// 200 requests a second: half of them from outside by the published port of each host in turn, half from tasks by the virtual IP.
import { describe, expect, test } from 'vitest';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { clusterTestsCanRun, eventually, run, succeeded } from '../support/cluster.ts';
import { type AskerRequest, SteadyAsker } from '../support/steady-asker.ts';
import { useCluster } from '../support/use-cluster.ts';

const isFull = process.env['SKEP_PROOFS'] === 'full';
const UPDATES = isFull ? 20 : 3;
const REQUESTS_PER_SECOND = isFull ? 200 : 60;
/** Of those that are due; the rest is what a machine with other work comes late with at the end. */
const ASKED_MIN = 0.95;
const PORT = 18500;
const IMAGE = 'box:latest';
const SERVE = 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www';
/** By name, as programs do. Tells of each request that failed, and of every fifth. */
const ASK =
  'n=0; while true; do timeout 5 wget -qO- http://web/ >/dev/null || echo lost $n; n=$((n+1)); ' +
  '[ $((n % 5)) = 0 ] && echo asked $n; sleep 0.2; done';
const SOON = { withinMs: 60_000 };

const title = 'no request is lost';
describe.skipIf(!clusterTestsCanRun)(title, { timeout: isFull ? 1_800_000 : 300_000 }, () => {
  const shared = useCluster('lossless', { managers: 1, workers: 2 }, async (cluster) => {
    await cluster.image({ name: IMAGE, cmd: ['sh', '-c', SERVE] });
    await cluster.skep(['network', 'create', '-d', 'overlay', 'front']);
    const health = ['--health-cmd', 'wget -qO /dev/null http://127.0.0.1/', '--health-interval'];
    await cluster.skep([
      ...['service', 'create', '-d', '--name', 'web', '--network', 'front', '-p', `${PORT}:80`],
      ...['--replicas', '3', ...health, '1s', '--stop-grace-period', '3s'],
      ...['--update-monitor', '1s', IMAGE],
    ]);
    // On each host, so that while one of them is drained those of the others ask on.
    const client = ['--network', 'front', '--mode', 'global', IMAGE, 'sh', '-c', ASK];
    await cluster.running('web', 3, SOON);
    await cluster.skep(['service', 'create', '-d', '--name', 'client', ...client]);
    await cluster.running('client', 3, SOON);
  });
  const skep = (...args: string[]) => shared.current.skep(args, { limitMs: 240_000 });
  const update = (...flags: string[]) => skep('service', 'update', ...flags, 'web');

  /** Of all clients, outside and in tasks: how each request was lost. @param drained host whose own client ends meanwhile */
  async function lostDuring(work: () => Promise<void>, drained = ''): Promise<string[]> {
    const before = await saidInTasks(drained);
    let after = before;
    const askers: SteadyAsker[] = [];
    const lost: string[] = [];
    try {
      for (const request of await requestsOf(drained))
        askers.push(await SteadyAsker.start(request));
      await work();
      await eventually(
        'each task has asked, too',
        async () => {
          after = await saidInTasks(drained);
          for (const [task, { asked }] of before) {
            expect(after.get(task)?.asked, task).toBeGreaterThan(asked);
          }
        },
        SOON,
      );
      const all = await Promise.all(askers.map((asker) => asker.stop()));
      const rates = all.map(({ asked, seconds }) => asked / seconds);
      const rate = rates.reduce((sum, one) => sum + one, 0);
      expect(rate, rates.join(', ')).toBeGreaterThan(REQUESTS_PER_SECOND * ASKED_MIN);
      for (const { asked, answered, failures } of all) {
        expect(answered + failures.length).toBe(asked);
        lost.push(...failures);
      }
    } finally {
      for (const asker of askers) asker.kill();
    }
    const inTasks = [...before].flatMap(([task, { lost }]) =>
      Array.from({ length: (after.get(task)?.lost ?? 0) - lost }, () => `lost in ${task}`),
    );
    return [...lost, ...inTasks];
  }

  /** From outside, and from the clients' namespaces. @param drained host whose own client ends meanwhile */
  async function requestsOf(drained: string): Promise<AskerRequest[]> {
    const { current } = shared;
    const namespaces = await clientNamespaces(drained);
    const virtualIp = await virtualIpFrom(namespaces[0]!);
    const half = REQUESTS_PER_SECOND / 2;
    return [
      { rate: half, port: PORT, addresses: current.hosts.map(({ address }) => address) },
      ...namespaces.map((netns) => {
        return { rate: half / namespaces.length, port: 80, addresses: [virtualIp], netns };
      }),
    ];
  }

  async function clientNamespaces(drained: string): Promise<string[]> {
    const manager = new EngineClient(`unix://${shared.current.hosts[0]!.daemonSocket}`);
    try {
      const filters = { service: ['client'], 'desired-state': ['running'] };
      const [tasks, nodes] = await Promise.all([manager.tasks(filters), manager.nodes()]);
      const away = nodes.find(({ Description }) => Description?.Hostname === drained)?.ID;
      const pids = tasks
        .filter(({ NodeID, Status }) => NodeID !== away && Status.State === 'running')
        .map(({ Status }) => Status.ContainerStatus?.PID);
      expect(pids).toHaveLength(shared.current.hosts.length - (drained === '' ? 0 : 1));
      return pids.map((pid) => `/proc/${pid}/ns/net`);
    } finally {
      manager.close();
    }
  }

  async function virtualIpFrom(netns: string): Promise<string> {
    const ask = ['nsenter', `--net=${netns}`, 'busybox', 'nslookup', 'web', '127.0.0.11'];
    const said = succeeded(await run(ask)).stdout;
    const [, address] = /^Address: *(10\.[\d.]+)$/m.exec(said) ?? [];
    expect(address, said).toBeDefined();
    return address!;
  }

  /** How often each, of those that run on other hosts than `drained`, by task. */
  async function saidInTasks(drained: string) {
    const { current } = shared;
    const running = (await current.tasks('client')).filter(({ desired, node }) => {
      return desired === 'Running' && node !== drained;
    });
    const lines = (await skep('service', 'logs', '--no-trunc', 'client')).split('\n');
    const said = running.map(({ id }) => {
      const own = lines.filter((line) => line.includes(id)).map((line) => line.split('| ')[1]);
      const count = (word: string): number => own.filter((line) => line?.startsWith(word)).length;
      return [id, { lost: count('lost'), asked: count('asked') }] as const;
    });
    return new Map(said);
  }

  test.each(['start-first', 'stop-first'])('by rolling updates, %s', async (order) => {
    await update('-d', '--update-order', order, '--update-delay', '0s');
    const lost = await lostDuring(async () => {
      for (let i = 0; i < UPDATES; i++) await update('--force');
    });
    expect(lost).toEqual([]);
  });

  test('by scaling up and down', async () => {
    const lost = await lostDuring(async () => {
      for (let i = 0; i < (isFull ? 5 : 1); i++) {
        await skep('service', 'scale', `web=${isFull ? 10 : 6}`);
        await skep('service', 'scale', 'web=2');
      }
    });
    expect(lost).toEqual([]);
  });

  test('by draining each node in turn', async () => {
    await skep('service', 'scale', 'web=3');
    for (const { name } of shared.current.hosts) {
      const lost = await lostDuring(async () => {
        await skep('node', 'drain', '--wait', name);
        await shared.current.running('web', 3, SOON);
      }, name);
      expect(lost, `while ${name} was drained`).toEqual([]);
      await skep('node', 'update', '--availability', 'active', name);
      await shared.current.running('client', 3, SOON);
    }
  });
});
