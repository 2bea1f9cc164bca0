/** One container after the other, `true` until it is reaped, in rounds that alternate with crun and runc. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '../support/cleanup.ts';
import { HelperProcess } from '../support/helper-process.ts';
import { figure, say } from '../support/report.ts';
import { median, percentile } from '../support/statistics.ts';
import { makeRootfs } from './busybox.ts';
import { makeBundle, PEERS, type Peer, requirePeer, runPeer } from './peers.ts';
import type { RuntimeOperations } from './runtime-process.ts';

const ROUNDS = 5;
const STARTS = 20;
const WARM_UP_STARTS = 40;

export async function openRuntime(): Promise<{
  helper: HelperProcess<RuntimeOperations>;
  rootfs: string;
}> {
  const dir = temporaryDirectory('runtime');
  const rootfs = makeRootfs(join(dir, 'rootfs'));
  const module = fileURLToPath(new URL('./runtime-process.js', import.meta.url));
  const helper = new HelperProcess<RuntimeOperations>(module);
  const cgroupParent = `skep-bench-${process.pid}`;
  await helper.ask('open', { dir: join(dir, 'tasks'), cgroupParent, rootfs });
  return { helper, rootfs };
}

export async function start(): Promise<void> {
  for (const peer of PEERS) say(await requirePeer(peer));
  const { helper, rootfs } = await openRuntime();
  const bundle = makeBundle(rootfs);
  await helper.ask('startTrue', WARM_UP_STARTS);
  const ours = { reaped: [] as number[], removed: [] as number[] };
  const peers: Record<Peer, number[]> = { crun: [], runc: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const { reapedMs, removedMs } = await helper.ask('startTrue', STARTS);
    ours.reaped.push(...reapedMs);
    ours.removed.push(...removedMs);
    for (const peer of PEERS) peers[peer].push(await runPeer(peer, bundle, STARTS));
    say(
      `skep ${median(reapedMs).toFixed(1)} ms, crun ${peers.crun.at(-1)?.toFixed(1)} ms, runc ${peers.runc.at(-1)?.toFixed(1)} ms`,
    );
  }
  await helper.kill();
  figure('start_true_ms', median(ours.reaped));
  figure('start_true_p10_ms', percentile(ours.reaped, 0.1));
  figure('start_true_removed_ms', median(ours.removed));
  for (const peer of PEERS) {
    figure(`start_true_${peer}_ms`, median(peers[peer]));
    figure(`start_true_vs_${peer}_ratio`, median(ours.reaped) / median(peers[peer]));
    figure(`start_true_removed_vs_${peer}_ratio`, median(ours.removed) / median(peers[peer]));
  }
}
