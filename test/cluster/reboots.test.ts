// A host that loses everything but its disk and comes back, again and again: its networks are whole soon after its daemon's
// start. SKEP_PROOFS=full takes the count of issue 6, and its limit; SKEP_REBOOTS another count.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { clusterTestsCanRun, eventually, http, run, succeeded } from '../support/cluster.ts';
import { losePower } from '../support/power-loss.ts';
import { useCluster } from '../support/use-cluster.ts';

const isFull = process.env['SKEP_PROOFS'] === 'full';
const REBOOTS = Number(process.env['SKEP_REBOOTS'] ?? (isFull ? 50 : 3));
/** From the daemon's start until the overlay works there; on a machine with other work all takes its time. */
const LIMIT_MS = Number(process.env['SKEP_REBOOT_LIMIT_MS'] ?? (isFull ? 5_000 : 15_000));
const PORT = 18600;
const IMAGE = 'box:latest';
const SERVE = 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www';
const LOST = 'worker-1';
/** What a task of the host comes to, one after the other. */
const PHASES = ['answers', 'is ready', 'has a task', 'runs it', 'is whole'] as const;
const CLOCK_TICKS_PER_S = 100; // sysconf(_SC_CLK_TCK) of Linux on every machine of ours

interface Seated {
  readonly id: string;
  readonly node: string;
  /** in the network `front` */
  readonly address: string;
  readonly netns: string;
}

describe.skipIf(!clusterTestsCanRun)(
  'a host that is rebooted',
  { timeout: 60_000 + REBOOTS * 60_000 },
  () => {
    const shared = useCluster('reboots', { managers: 1, workers: 1 }, async (cluster) => {
      await cluster.image({ name: IMAGE, cmd: ['sh', '-c', SERVE] });
      await cluster.skep(['network', 'create', '-d', 'overlay', 'front']);
      const flags = ['--mode', 'global', '--network', 'front', '-p', `${PORT}:80`];
      const policy = ['--restart-delay', '0s', '--stop-grace-period', '1s'];
      await cluster.skep(['service', 'create', '-d', '--name', 'web', ...flags, ...policy, IMAGE]);
      await cluster.running('web', 2);
    });

    /** Work with the manager's API: of commands each would be a process, which takes CPU from those that are waited for. */
    async function withManager<T>(work: (client: EngineClient) => Promise<T>): Promise<T> {
      const client = new EngineClient(`unix://${shared.current.hosts[0]!.daemonSocket}`);
      try {
        return await work(client);
      } finally {
        client.close();
      }
    }

    /** Those that run and are meant to, by host. Throws unless there is one on each of the two. */
    async function tasksNow(client: EngineClient): Promise<Map<string, Seated>> {
      const [tasks, nodes] = await Promise.all([
        client.tasks({ service: ['web'], 'desired-state': ['running'] }),
        client.nodes(),
      ]);
      const nameOf = new Map(nodes.map(({ ID, Description }) => [ID, Description?.Hostname]));
      const seated = tasks
        .filter(({ Status }) => Status.State === 'running')
        .map((task): [string, Seated] => {
          const node = nameOf.get(task.NodeID ?? '') ?? '';
          const pid = task.Status.ContainerStatus?.PID;
          const netns = `/proc/${pid}/ns/net`;
          return [node, { id: task.ID, node, address: addressOf(task), netns }];
        });
      expect(seated.map(([node]) => node).sort()).toEqual(['manager-1', LOST]);
      return new Map(seated);
    }

    /** The whole way: names and virtual IPs in its tasks, both hosts' published port, and the other way round. */
    async function works(tasks: ReadonlyMap<string, Seated>): Promise<void> {
      const [here, there] = [tasks.get(LOST)!, tasks.get('manager-1')!];
      const inTask = async ({ netns }: Seated, ...argv: readonly string[]): Promise<string> => {
        const enter = ['nsenter', `--net=${netns}`, ...argv];
        return succeeded(await run(enter, { limitMs: 2_000 })).stdout;
      };
      await Promise.all([
        inTask(here, 'busybox', 'ping', '-c', '1', '-W', '1', there.address),
        inTask(there, 'busybox', 'ping', '-c', '1', '-W', '1', here.address),
      ]);
      const named = await inTask(here, 'busybox', 'nslookup', 'web', '127.0.0.11');
      const virtualIp = /^Address: *(10\.[\d.]+)$/m.exec(named)?.[1];
      expect(virtualIp, named).toBeDefined();
      const answers = new Set<string>();
      for (let i = 0; i < 2; i++) {
        answers.add(await inTask(here, 'curl', '-sSf', '-m', '1', `http://${virtualIp}/`));
      }
      expect(answers.size, 'tasks that answered').toBe(2);
      for (const { address } of shared.current.hosts) {
        expect((await http(address, PORT, '/', 1000)).status).toBe(200);
      }
    }

    /** Until each phase, milliseconds since the daemon's start. */
    async function phasesOfReturn(client: EngineClient, before: string): Promise<number[]> {
      const { current } = shared;
      const own = new EngineClient(`unix://${current.host(LOST).daemonSocket}`);
      const begun = current.dev('start', LOST);
      const soon = { withinMs: LIMIT_MS, everyMs: 10 };
      const tookMs: number[] = [];
      const reached = async (attempt: () => Promise<unknown>): Promise<void> => {
        await eventually(`it ${PHASES[tookMs.length]}`, attempt, soon);
        tookMs.push(nowMs());
      };
      try {
        await reached(() => own.ping());
        await reached(async () => {
          const node = (await client.nodes()).find((it) => it.Description?.Hostname === LOST);
          expect(node?.Status?.State).toBe('ready');
        });
        const nodeId = (await client.nodes()).find((it) => it.Description?.Hostname === LOST)!.ID;
        const filters = { service: ['web'], node: [nodeId], 'desired-state': ['running'] };
        await reached(async () => {
          const [task] = await client.tasks(filters);
          expect([undefined, before]).not.toContain(task?.ID);
        });
        await reached(() => tasksNow(client));
        const tasks = await tasksNow(client);
        await reached(() => works(tasks));
      } finally {
        own.close();
        await begun;
      }
      const startedMs = startOf(await current.daemonPid(LOST));
      return tookMs.map((ms) => Math.round(ms - startedMs));
    }

    test(`${REBOOTS} times in a row has its networks back each time`, async () => {
      await withManager(async (client) => {
        let tasks = await eventually('tasks run', () => tasksNow(client), { withinMs: 30_000 });
        await eventually('all works at first', () => works(tasks), { withinMs: 30_000 });
        const rounds: number[][] = [];
        try {
          for (let i = 0; i < REBOOTS; i++) {
            await losePower(shared.current, LOST);
            const round = await phasesOfReturn(client, tasks.get(LOST)!.id);
            rounds.push(round);
            expect(round.at(-1), `round ${i}: ${wordsOf(round)}`).toBeLessThan(LIMIT_MS);
            tasks = await tasksNow(client);
          }
        } finally {
          const ends = rounds.map((round) => round.at(-1)!).sort((a, b) => a - b);
          const worst = rounds.find((round) => round.at(-1) === ends.at(-1)) ?? [];
          console.log(`whole after ${ends.join(', ')} ms; the worst: ${wordsOf(worst)}`);
        }
      });
      await shared.current.skep(['net', 'verify']);
    });
  },
);

const wordsOf = (round: readonly number[]): string =>
  round.map((ms, i) => `${PHASES[i]} ${ms}`).join(', ');

/** Since this machine started, as the kernel tells when a process began. */
const nowMs = (): number => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;

function startOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[19]) / CLOCK_TICKS_PER_S) * 1000;
}

interface WithSeats {
  readonly NetworksAttachments?: readonly {
    readonly Network: { readonly Spec: { readonly Name: string } };
    readonly Addresses: readonly string[];
  }[];
}

function addressOf(task: object): string {
  const seats = (task as WithSeats).NetworksAttachments ?? [];
  const seat = seats.find(({ Network }) => Network.Spec.Name === 'front');
  return seat?.Addresses[0]?.split('/')[0] ?? '';
}
