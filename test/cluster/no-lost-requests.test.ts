// No request is lost while tasks are replaced, scaled and moved. SKEP_PROOFS=full makes it long: 20 updates,
// 200 requests a second.
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, http } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const isFull = process.env['SKEP_PROOFS'] === 'full';
const UPDATES = isFull ? 20 : 3;
const REQUESTS_PER_SECOND = isFull ? 200 : 60;
const PORT = 18500;
const IMAGE = 'box:latest';
const SERVE = 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www';
/** Tells of each request that failed, and of every twentieth. */
const ASK =
  'n=0; while true; do timeout 5 wget -qO- http://web/ >/dev/null || echo lost $n; n=$((n+1)); ' +
  '[ $((n % 20)) = 0 ] && echo asked $n; sleep 0.05; done';
const SOON = { withinMs: 60_000 };

/** Asks the published port of each host in turn, at a fixed rate whatever the answers take. */
class Askers {
  readonly failures: string[] = [];
  answered = 0;
  readonly #open = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #next = 0;

  constructor(addresses: readonly string[]) {
    this.#timer = setInterval(() => {
      const address = addresses[this.#next++ % addresses.length]!;
      const asked = this.#ask(address).finally(() => this.#open.delete(asked));
      this.#open.add(asked);
    }, 1000 / REQUESTS_PER_SECOND);
  }

  async #ask(address: string): Promise<void> {
    try {
      const { status } = await http(address, PORT, '/', 20_000);
      if (status === 200) this.answered++;
      else this.failures.push(`${address}: status ${status}`);
    } catch (err) {
      this.failures.push(`${new Date().toISOString()} ${address}: ${String(err)}`);
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#open);
  }
}

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
    const askers = new Askers(shared.current.hosts.map(({ address }) => address));
    try {
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
    } finally {
      await askers.stop();
    }
    expect(askers.answered).toBeGreaterThan(REQUESTS_PER_SECOND);
    const inTasks = [...before].flatMap(([task, { lost }]) =>
      Array.from({ length: (after.get(task)?.lost ?? 0) - lost }, () => `lost in ${task}`),
    );
    return [...askers.failures, ...inTasks];
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
