/** One node by itself: from the order to the executed command, many at once, and what each task costs it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildBusyboxImage } from '../../test/support/image-builder.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { HelperProcess } from '../support/helper-process.ts';
import { figure, say } from '../support/report.ts';
import { median, percentile } from '../support/statistics.ts';
import { IMAGE } from './bench-task.ts';
import type { NodeOperations } from './node-process.ts';

const WARM_UP = 40;
const STARTS = 100;
const AT_ONCE = 100;
const SAMPLED = 200;
const SETTLE_S = 20;
const SAMPLED_S = 10;
const ADOPTED = 500;
const EXECS = 100;
const ADDRESS = '10.98.0.1';

/** A namespace with a link to an underlay that leads nowhere. */
const WITHIN = [
  ...['unshare', '--net', '--mount', '--propagation', 'private', 'sh', '-c'],
  `ip link set lo up && ip link add under0 type veth peer name under1 && ip addr add ${ADDRESS}/24 dev under0 && ip link set under0 up && ip link set under1 up && exec "$@"`,
  'sh',
];

export async function agent(): Promise<void> {
  const dir = temporaryDirectory('node');
  const imageTar = join(dir, 'image.tar');
  buildBusyboxImage({ name: IMAGE, outTar: imageTar });
  const place = { dir, cgroupParent: `skep-bench-node-${process.pid}`, address: ADDRESS };
  const module = fileURLToPath(new URL('./node-process.js', import.meta.url));
  const node = new HelperProcess<NodeOperations>(module, WITHIN);
  await node.ask('open', { ...place, imageTar });
  await orders(node);
  await costs(node);
  await adoption(node, () => new HelperProcess<NodeOperations>(module, WITHIN), place);
}

async function orders(node: HelperProcess<NodeOperations>): Promise<void> {
  await node.ask('startEach', { from: 0, count: WARM_UP, network: true });
  await node.ask('removeAll', { from: 0, count: WARM_UP });
  const times = await node.ask('startEach', { from: 0, count: STARTS, network: true });
  figure('start_exec_p50_ms', median(times));
  figure('start_exec_p99_ms', percentile(times, 0.99));
  await node.ask('removeAll', { from: 0, count: STARTS });
  const rates: number[] = [];
  for (let round = 0; round < 3; round++) {
    const seconds = await node.ask('startAll', { from: 0, count: AT_ONCE, network: true });
    rates.push(AT_ONCE / seconds);
    say(`${AT_ONCE} at once: ${(AT_ONCE / seconds).toFixed(0)}/s`);
    await node.ask('removeAll', { from: 0, count: AT_ONCE });
  }
  figure('starts_per_s', median(rates));
}

async function costs(node: HelperProcess<NodeOperations>): Promise<void> {
  const before = await node.ask('heapBytes');
  await node.ask('startAll', { from: 0, count: SAMPLED, network: true });
  const after = await node.ask('heapBytes');
  figure('agent_heap_per_task_kb', (after - before) / 1024 / SAMPLED);
  const pids = await node.ask('pids');
  figure('shim_pss_kb', median(pids.map((pid) => pssKb(parentOf(pid)))));
  // What the starts left to do (the network's proof of 200 new tasks, collections) is none of it.
  await node.ask('corePercent', { seconds: SETTLE_S, looks: false });
  const rest = await node.ask('corePercent', { seconds: SAMPLED_S, looks: false });
  const withLooks = await node.ask('corePercent', { seconds: SAMPLED_S, looks: true });
  say(
    `${SAMPLED} tasks: ${rest.toFixed(1)} % of a core at rest, ${withLooks.toFixed(1)} % looked at`,
  );
  figure('stats_200_core_percent', withLooks - rest);
  const execs = await node.ask('execEach', { task: 0, count: EXECS });
  figure('exec_ended_ms', median(execs));
  await node.ask('removeAll', { from: 0, count: SAMPLED });
}

async function adoption(
  node: HelperProcess<NodeOperations>,
  another: () => HelperProcess<NodeOperations>,
  place: Omit<Parameters<NodeOperations['open']>[0], 'imageTar'>,
): Promise<void> {
  // Without a network: the next process is in another namespace, the links would be gone.
  for (let from = 0; from < ADOPTED; from += 100) {
    await node.ask('startAll', { from, count: 100, network: false });
  }
  const pids = await node.ask('pids');
  await node.ask('settle');
  await node.kill();
  const next = another();
  await next.ask('open', { ...place, imageTar: null });
  const { runtimeMs, allMs } = await next.ask('adopt', ADOPTED);
  const same = new Set(await next.ask('pids'));
  if (!pids.every((pid) => same.has(pid))) throw new Error('a task was not adopted as it was');
  figure('adopt_500_runtime_s', runtimeMs / 1000);
  figure('adopt_500_s', allMs / 1000);
  await next.ask('removeAll', { from: 0, count: ADOPTED });
  await next.kill();
}

function parentOf(pid: number): number {
  return Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

function pssKb(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);
}
