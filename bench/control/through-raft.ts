/**
 * The whole way of a task: three managers that write to the disk, 1,000 agents on TLS links, an instant runtime. How many
 * tasks a second reach `running`, and how long one takes in a cluster that is full.
 */
import { join } from 'node:path';
import { settledLeader, startManagers } from '../support/manager-seats.ts';
import { cpuMs } from '../support/process-figures.ts';
import { figure, say } from '../support/report.ts';
import { median, percentile } from '../support/statistics.ts';
import { joinFleet } from './fleets.ts';

const MANAGERS = 3;
const AGENTS = 1_000;
const BURST = { services: 100, replicas: 100 };
const BURSTS = 3;
const SUBMISSIONS = 300;
/** SKEP_BENCH_PROFILE: a directory for CPU profiles of the managers, one for each burst. They slow them down by a fifth. */
const PROFILES = process.env['SKEP_BENCH_PROFILE'];

/** Three bursts of 10,000 tasks each; then, with these 30,000 running, single tasks. */
export async function through(): Promise<void> {
  const group = await startManagers(MANAGERS);
  const leader = await settledLeader(group.seats);
  const fleet = await joinFleet(group, AGENTS);
  const size = BURST.services * BURST.replicas;
  const perSecond: number[] = [];
  const followers = group.seats.filter((seat) => seat !== leader);
  const parts: Readonly<Record<string, readonly number[]>> = {
    leader: [leader.process.pid],
    followers: followers.map((seat) => seat.process.pid),
    agents: fleet.pids,
  };
  for (let burst = 1; burst <= BURSTS; burst++) {
    if (PROFILES) for (const { process } of group.seats) await process.ask('startProfile');
    const startMs = performance.now();
    const spent = cpuOfParts(parts);
    const all = leader.process.ask('untilRunning', burst * size);
    const { services: count, replicas } = BURST;
    await leader.process.ask('createServices', { prefix: `burst-${burst}`, count, replicas });
    await all;
    perSecond.push(size / ((performance.now() - startMs) / 1_000));
    const cpu = cpuOfParts(parts).map(([part, ms], i) => {
      const perTaskUs = ((ms - spent[i]![1]) / size) * 1_000;
      return `${part} ${perTaskUs.toFixed(0)}`;
    });
    say(
      `  burst ${burst}: ${perSecond.at(-1)!.toFixed(0)} tasks/s; CPU in us each: ${cpu.join(', ')}`,
    );
    for (const [i, seat] of PROFILES ? group.seats.entries() : []) {
      const role = seat === leader ? 'leader' : `follower-${i}`;
      await seat.process.ask('stopProfile', join(PROFILES!, `${role}-${burst}.cpuprofile`));
    }
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

/** CPU time of all processes of each part, ms. */
function cpuOfParts(parts: Readonly<Record<string, readonly number[]>>): [string, number][] {
  return Object.entries(parts).map(([part, pids]) => [
    part,
    pids.reduce((sum, pid) => sum + cpuMs(pid), 0),
  ]);
}
