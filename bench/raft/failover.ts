/**
 * Fail-over of real managers: the leader is killed with SIGKILL; time until a write by way of another
 * manager succeeds, whichever of the two that live is asked.
 */
import { type Seat, settledLeader, startManagers } from '../support/manager-seats.ts';
import { figure, say } from '../support/report.ts';
import { percentile } from '../support/statistics.ts';
import { sleepMs } from '../support/wait.ts';

const MANAGERS = 3;
const KILLS = 20;
const RETRY_MS = 10;
const GIVE_UP_MS = 20_000;

export async function failover(): Promise<void> {
  const group = await startManagers(MANAGERS);
  const { seats } = group;
  const timesMs: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const leader = await settledLeader(seats);
    const others = seats.filter((seat) => seat !== leader);
    const asked = others[kill % others.length]!;
    await asked.process.ask('write', `before-${kill}`); // connections are there, as in service
    const killedMs = performance.now();
    await leader.process.kill();
    await writeUntilDone(asked, kill);
    timesMs.push(performance.now() - killedMs);
    say(`fail-over ${kill + 1}: ${timesMs.at(-1)!.toFixed(0)} ms`);
    await leader.restart();
  }
  figure('failover_p50_ms', percentile(timesMs, 0.5));
  figure('failover_p95_ms', percentile(timesMs, 0.95));
  figure('failover_max_ms', Math.max(...timesMs));
  await group.stop();
}

/** A write that fails is tried again, as a user would. */
async function writeUntilDone(seat: Seat, kill: number): Promise<void> {
  const deadlineMs = performance.now() + GIVE_UP_MS;
  for (let attempt = 0; ; attempt++) {
    try {
      await seat.process.ask('write', `after-${kill}-${attempt}`);
      return;
    } catch (err) {
      if (performance.now() > deadlineMs) throw err;
      await sleepMs(RETRY_MS);
    }
  }
}
