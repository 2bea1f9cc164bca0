// A host that loses everything but its disk and comes back, again and again: its networks are whole soon after its daemon's
// start. SKEP_REBOOTS=50 is the count of issue 6.
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, http } from '../support/cluster.ts';
import { losePower } from '../support/power-loss.ts';
import { useCluster } from '../support/use-cluster.ts';

const REBOOTS = Number(process.env['SKEP_REBOOTS'] ?? 3);
/** From the daemon's start until the overlay works there; on a machine with other work all takes its time. */
const LIMIT_MS = Number(process.env['SKEP_REBOOT_LIMIT_MS'] ?? 15_000);
const PORT = 18600;
const IMAGE = 'box:latest';
const SERVE = 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www';
const LOST = 'worker-1';

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

    /** The whole way: names and virtual IPs in its tasks, both hosts' published port, and the other way round. */
    async function works(): Promise<void> {
      const { current } = shared;
      const tasks = await current.running('web', 2, { withinMs: 1 });
      const here = tasks.find((task) => task.node === LOST)!;
      const there = tasks.find((task) => task.node !== LOST)!;
      for (const [from, to] of [
        [here, there],
        [there, here],
      ] as const) {
        const seat = await current.inspectTask(to);
        const address = addressOf(seat);
        const container = `${from.name}.${from.id}`;
        await current.skep(['exec', container, 'ping', '-c', '1', '-W', '1', address], {
          host: from.node,
        });
      }
      const answer = await current.skep(
        ['exec', `${here.name}.${here.id}`, 'wget', '-qO-', 'http://web/'],
        { host: LOST },
      );
      expect(answer).not.toBe('');
      expect((await http(current.host(LOST).address, PORT, '/', 1000)).status).toBe(200);
    }

    test(`${REBOOTS} times in a row has its networks back each time`, async () => {
      await eventually('all works at first', works, { withinMs: 30_000 });
      const tookMs: number[] = [];
      for (let i = 0; i < REBOOTS; i++) {
        await losePower(shared.current, LOST);
        const startedMs = performance.now();
        await shared.current.dev('start', LOST);
        await eventually(`the overlay works, ${i}`, works, { withinMs: LIMIT_MS, everyMs: 50 });
        tookMs.push(Math.round(performance.now() - startedMs));
      }
      console.log(`back after ${tookMs.join(', ')} ms`);
      await shared.current.skep(['net', 'verify']);
    });
  },
);

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
