/**
 * Lost agents: a host that is silent (its process is stopped, no connection breaks), and one whose connection breaks and
 * that does not come back; until all of its tasks run elsewhere.
 */
import { settledLeader, startManagers } from '../support/manager-seats.ts';
import { figure } from '../support/report.ts';
import { joinFleet } from './fleets.ts';

const MANAGERS = 3;
const ROUNDS = 3;
const STAYING = 20;
const LOST = 5;
const TASKS = 200;

export async function lost(): Promise<void> {
  const group = await startManagers(MANAGERS);
  const leader = await settledLeader(group.seats);
  const stays = await joinFleet(group, STAYING, 1);
  let down = 0;
  let tasks = 0;
  /** The slowest of some rounds: it is a limit that users count on. */
  const slowest = async (lose: 'freeze' | 'kill'): Promise<number> => {
    let mostMs = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const goes = await joinFleet(group, LOST, 1);
      // Running tasks do not move to nodes that join: some of the new ones are placed there.
      const prefix = `${lose}-${round}`;
      await leader.process.ask('createServices', { prefix, count: 1, replicas: TASKS });
      tasks += TASKS;
      await leader.process.ask('untilRunning', tasks);
      down += LOST;
      const startMs = performance.now();
      goes[lose]();
      await leader.process.ask('untilMoved', { down, tasks });
      mostMs = Math.max(mostMs, performance.now() - startMs);
      goes.kill();
    }
    return mostMs;
  };
  figure('lost_agent_silent_s', (await slowest('freeze')) / 1_000);
  figure('lost_agent_reset_s', (await slowest('kill')) / 1_000);
  await stays.end();
  await group.stop();
}
