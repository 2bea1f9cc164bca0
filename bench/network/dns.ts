/** Names: how many answers a node gives, and how soon at 5,000 questions a second. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { endpoint, network, service, set } from '../../test/support/network-scene.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { requirePackage } from '../support/packages.ts';
import { figure } from '../support/report.ts';
import { median, percentile } from '../support/statistics.ts';
import { type BenchHost, inNetns, Lab } from './lab.ts';

const ROUNDS = 3;
const FRONT = network('front', 4097, 1);

export async function dns(): Promise<void> {
  await requirePackage('dnsperf', 'dnsperf');
  const lab = await Lab.create(1);
  try {
    const [host] = lab.hosts as [BenchHost];
    const seat = endpoint(FRONT, 'client', 1, host, '10.0.1.11');
    const services = Array.from({ length: 100 }, (_, i) =>
      set('serviceEntry', service(FRONT, `service-${i}`, `10.0.1.${100 + i}`)),
    );
    await lab.apply([set('network', FRONT), set('endpoint', seat), ...services]);
    const task = await lab.attached(host, [seat]);
    const questions = join(temporaryDirectory('dns'), 'questions');
    writeFileSync(questions, Array.from({ length: 100 }, (_, i) => `service-${i} A\n`).join(''));
    const ask = (...args: readonly string[]) =>
      inNetns(task.netns, 'dnsperf', '-s', '127.0.0.11', '-d', questions, ...args);
    const rates: number[] = [];
    const latenciesMs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const fast = await ask('-c', '4', '-q', '100', '-l', '3');
      rates.push(Number(/Queries per second:\s+([\d.]+)/.exec(fast)?.[1]));
      const steady = await ask('-c', '4', '-Q', '5000', '-l', '3', '-v');
      const times = Array.from(
        steady.matchAll(/^> NOERROR \S+ A ([\d.]+)/gm),
        ([, s]) => Number(s) * 1000,
      );
      latenciesMs.push(percentile(times, 0.99));
    }
    figure('dns_answers_per_s', median(rates));
    figure('dns_p99_at_5k_ms', median(latenciesMs));
  } finally {
    await lab.close();
  }
}
