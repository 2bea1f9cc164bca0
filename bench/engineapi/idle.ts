/** A daemon that is manager and worker of a swarm with nothing in it. */

import { residentKib } from '../support/process-figures.ts';
import { figure } from '../support/report.ts';
import { sleepMs } from '../support/wait.ts';
import { withSkep } from './engines.ts';

/** What `swarm init` needed is freed by then, if it is freed at all. */
const SETTLE_MS = 15_000;

export async function idle(): Promise<void> {
  await withSkep(async ({ pid }) => {
    if (pid === null) throw new Error('skepd has no pid');
    await sleepMs(SETTLE_MS);
    figure('idle_rss_mb', residentKib(pid) / 1024);
  });
}
