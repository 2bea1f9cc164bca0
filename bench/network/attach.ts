/** Giving a task its network, in the agent, and what the self-proof costs a node that nobody alters. */
import { endpoint, network, set } from '../../test/support/network-scene.ts';
import { figure } from '../support/report.ts';
import { median, percentile } from '../support/statistics.ts';
import { sleepMs } from '../support/wait.ts';
import { type BenchHost, Lab, requestOf } from './lab.ts';

const TASKS = 60;
const QUIET_MS = 12_000;
const FRONT = network('front', 4097, 0, { subnet: '10.16.0.0/16', gateway: '10.16.0.1' });

export async function attach(): Promise<void> {
  const lab = await Lab.create(1);
  try {
    const [host] = lab.hosts as [BenchHost];
    const seats = Array.from({ length: TASKS }, (_, i) =>
      endpoint(FRONT, 'web', i + 1, host, `10.16.1.${i + 1}`),
    );
    await lab.apply([set('network', FRONT), ...seats.map((item) => set('endpoint', item))]);
    const requests = [];
    for (const seat of seats) requests.push(requestOf([seat], await lab.task()));
    const attaches: number[] = [];
    for (const request of requests) attaches.push(await host.process.ask('attach', request));
    const [, ...warm] = attaches; // the first one makes the network
    figure('attach_p50_ms', median(warm));
    figure('attach_p99_ms', percentile(warm, 0.99));
    await sleepMs(4_000); // what was just made is compared once
    const beforeMs = await host.process.ask('cpuMs');
    await sleepMs(QUIET_MS);
    const usedMs = (await host.process.ask('cpuMs')) - beforeMs;
    figure('proof_quiet_cpu_percent', (usedMs / QUIET_MS) * 100);
    const detaches: number[] = [];
    for (const { taskId } of requests) detaches.push(await host.process.ask('detach', taskId));
    figure('detach_p50_ms', median(detaches));
  } finally {
    await lab.close();
  }
}
