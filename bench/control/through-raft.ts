/**
 * The whole way of a task: three managers that write to the disk, 1,000 agents over gRPC, an instant runtime. How many
 * tasks a second reach `running`, and how long one takes in a cluster that is full.
 */
import { settledLeader, startManagers } from '../support/manager-seats.ts';
import { figure, say } from '../support/report.ts';
import { median, percentile } from '../support/statistics.ts';
import { joinFleet } from './fleets.ts';

const MANAGERS = 3;
const AGENTS = 1_000;
const BURST = { services: 100, replicas: 100 };
const BURSTS = 3;
const SUBMISSIONS = 300;

/** Three bursts of 10,000 tasks each; then, with these 30,000 running, single tasks. */
export async function through(): Promise<void> {
  const group = await startManagers(MANAGERS);
  const leader = await settledLeader(group.seats);
  const fleet = await joinFleet(group, AGENTS);
  const size = BURST.services * BURST.replicas;
  const perSecond: number[] = [];
  for (let burst = 1; burst <= BURSTS; burst++) {
    const startMs = performance.now();
    const all = leader.process.ask('untilRunning', burst * size);
    const { services: count, replicas } = BURST;
    await leader.process.ask('createServices', { prefix: `burst-${burst}`, count, replicas });
    await all;
    perSecond.push(size / ((performance.now() - startMs) / 1_000));
    say(`  burst ${burst}: ${perSecond.at(-1)!.toFixed(0)} tasks/s`);
  }
  figure('through_raft_tasks_per_s', median(perSecond));
  const elapsedMs = await leader.process.ask('submitOneByOne', {
    prefix: 'one',
    count: SUBMISSIONS,
  });
  figure('submit_running_p50_ms', percentile(elapsedMs, 0.5));
  figure('submit_running_p99_ms', percentile(elapsedMs, 0.99));
  await fleet.end();
  await group.stop();
}
