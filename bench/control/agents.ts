/**
 * 5,000 agents at one leader over mutual TLS: what they cost it at rest, how soon it answers their heartbeats,
 * and how long they need to find another one when it is killed.
 */
import type { AgentFleet } from '../../cli/dev/agents/fleet.ts';
import {
  type ManagerGroup,
  type Seat,
  settledLeader,
  startManagers,
} from '../support/manager-seats.ts';
import { cpuMs, residentKib } from '../support/process-figures.ts';
import { figure, say } from '../support/report.ts';
import { percentile } from '../support/statistics.ts';
import { sleepMs, until } from '../support/wait.ts';
import { joinFleet } from './fleets.ts';

/** SKEP_BENCH_AGENTS: for a first look with fewer; the figures are then not those of the goals. */
const AGENTS = Number(process.env['SKEP_BENCH_AGENTS'] ?? 5_000);
const MANAGERS = 3;
const REST_MS = 120_000;
/** What the join leaves behind (garbage, timers) is not rest. */
const SETTLE_MS = 10_000;
const RECONNECT_LIMIT_MS = 180_000;
const POLL_MS = 100;

export async function agents(): Promise<void> {
  const group = await startManagers(MANAGERS);
  const leader = await settledLeader(group.seats);
  const before = residentKib(leader.process.pid);
  const joinCpuMs = cpuMs(leader.process.pid);
  const fleet = await joinFleet(group, AGENTS);
  const perJoinMs = (cpuMs(leader.process.pid) - joinCpuMs) / AGENTS;
  say(`  the leader's CPU for each: ${perJoinMs.toFixed(1)} ms`);
  await leader.process.ask('createServices', { prefix: 'idle', count: 1, replicas: AGENTS });
  await leader.process.ask('untilRunning', AGENTS);
  await sleepMs(SETTLE_MS);
  await rest(leader, fleet, before);
  await reconnect(group, leader, fleet);
  await fleet.end();
  await group.stop();
}

async function rest(leader: Seat, fleet: AgentFleet, residentBefore: number): Promise<void> {
  const { pid } = leader.process;
  fleet.takeHeartbeats();
  const { sessions } = fleet.status;
  const [startMs, startCpuMs] = [performance.now(), cpuMs(pid)];
  await sleepMs(REST_MS);
  const share = (cpuMs(pid) - startCpuMs) / (performance.now() - startMs);
  const heartbeatsMs = fleet.takeHeartbeats();
  const { connected, sessions: sessionsNow } = fleet.status;
  if (connected !== AGENTS || sessionsNow !== sessions) {
    throw new Error(
      `sessions were lost at rest: ${connected} connected, ${sessionsNow - sessions} anew`,
    );
  }
  say(`  ${heartbeatsMs.length} heartbeats, p50 ${percentile(heartbeatsMs, 0.5).toFixed(1)} ms`);
  figure('agents_5000_core_percent', share * 100);
  figure('agents_5000_heartbeat_p99_ms', percentile(heartbeatsMs, 0.99));
  figure('agents_rss_per_agent_kb', (residentKib(pid) - residentBefore) / AGENTS);
}

/**
 * From the kill until every agent has a session with the new leader, as they report each second, and it has every
 * node as ready. Throws when a running task was replaced.
 */
async function reconnect(group: ManagerGroup, leader: Seat, fleet: AgentFleet): Promise<void> {
  const tasks = new Set(await leader.process.ask('runningTasks'));
  const others = group.seats.filter((seat) => seat !== leader);
  const cpuOfOthersMs = (): number =>
    others.reduce((sum, { process: { pid } }) => sum + cpuMs(pid), 0);
  const startMs = performance.now();
  const startCpuMs = cpuOfOthersMs();
  await leader.process.kill();
  let next: Seat | undefined;
  const { sessions } = fleet.status;
  const areBack = async (): Promise<boolean> => {
    // The new leader finds them ready in its store until it has said that they are not.
    if (fleet.status.connected < AGENTS || fleet.status.sessions < sessions + AGENTS) return false;
    for (const seat of others) if (await seat.process.ask('leads')) next = seat;
    if (!next) return false;
    const { ready = 0 } = await next.process.ask('nodeStates');
    return ready >= AGENTS;
  };
  await until('every agent to be back', areBack, {
    limitMs: RECONNECT_LIMIT_MS,
    periodMs: POLL_MS,
  });
  figure('agents_reconnect_all_s', (performance.now() - startMs) / 1_000);
  const eachMs = (cpuOfOthersMs() - startCpuMs) / AGENTS;
  say(`  ${JSON.stringify(fleet.status)}; CPU of both managers for each: ${eachMs.toFixed(1)} ms`);
  await sleepMs(SETTLE_MS);
  const after = await next!.process.ask('runningTasks');
  const moved = after.filter((id) => !tasks.has(id)).length;
  const states = await next!.process.ask('nodeStates');
  say(`  nodes: ${JSON.stringify(states)}`);
  if (moved > 0 || after.length !== tasks.size) {
    throw new Error(`${moved} tasks were rescheduled, ${after.length} of ${tasks.size} run`);
  }
}
