/**
 * Broken links between hosts of a development cluster, by rules in the receiving host's namespace:
 * packets from chosen addresses are dropped, all or some; and a queue that delays what a host sends.
 */
import { spawn } from 'node:child_process';
import { inNetwork } from '../../cli/dev/kernel.ts';
import { type HostPlan, SUBNET_BITS } from '../../cli/dev/plan.ts';

const TABLE = 'skep_jepsen';

/** Share of packets from `from` that are dropped at their receiver: 1 = the link is cut. */
export interface Drop {
  readonly from: HostPlan;
  readonly share: number;
}

/** Replaces every rule of before. */
export async function setDrops(at: HostPlan, drops: readonly Drop[]): Promise<void> {
  const rules = drops.map(({ from, share }) => {
    const chance = share >= 1 ? '' : ` numgen random mod 1000 < ${Math.round(share * 1000)}`;
    return `add rule inet ${TABLE} input ip saddr ${from.address}${chance} drop`;
  });
  const script = [
    `add table inet ${TABLE}`,
    `delete table inet ${TABLE}`,
    `add table inet ${TABLE}`,
    `add chain inet ${TABLE} input { type filter hook input priority -10; policy accept; }`,
    ...rules,
  ];
  await inHost(at, ['nft', '-f', '-'], script.join('\n'));
}

/** Gives the host `address` in place of the one that it has. What it had open breaks. */
export async function setAddress(at: HostPlan, address: string, gateway: string): Promise<void> {
  // The old one goes first: with it the kernel would take away later ones of its subnet.
  await inHost(at, ['ip', 'addr', 'del', `${at.address}/${SUBNET_BITS}`, 'dev', 'eth0']);
  await inHost(at, ['ip', 'addr', 'add', `${address}/${SUBNET_BITS}`, 'dev', 'eth0']);
  await inHost(at, ['ip', 'route', 'replace', 'default', 'via', gateway]);
}

/** How slow links are made. `netem` delays each packet; without it in the kernel a narrow queue does. */
export type Slowness = 'netem' | 'tbf';

/** What this kernel has; leaves the host as it was. */
export async function slownessOf(at: HostPlan): Promise<Slowness> {
  try {
    await inHost(at, ['tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'netem', 'delay', '1ms']);
  } catch {
    return 'tbf';
  }
  await setSlow(at, null);
  return 'netem';
}

export async function setSlow(at: HostPlan, slowness: Slowness | null): Promise<void> {
  const device = ['dev', 'eth0', 'root'];
  if (slowness === null) {
    await inHost(at, ['tc', 'qdisc', 'del', ...device]).catch(() => {}); // there may be none
    return;
  }
  const how =
    slowness === 'netem'
      ? ['netem', 'delay', '80ms', '40ms', 'loss', '1%']
      : ['tbf', 'rate', '1mbit', 'burst', '16kbit', 'latency', '200ms'];
  await inHost(at, ['tc', 'qdisc', 'replace', ...device, ...how]);
}

function inHost(host: HostPlan, argv: readonly string[], input = ''): Promise<void> {
  const [program = '', ...args] = inNetwork(host, argv);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'], timeout: 10_000 });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.stdin.on('error', () => {}); // its status says more
    child.stdin.end(input);
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${argv.join(' ')} on ${host.name}: status ${code}: ${said.trim()}`));
    });
  });
}
