/**
 * A store of 100,000 tasks: the longest turn of the event loop of every member while the leader, under
 * a load of updates, writes a snapshot and streams it to a new member that installs it; and how long
 * a start from that snapshot takes. The goal is for the leader, whose heartbeats keep the office; the
 * receiver has no vote yet and builds its whole heap meanwhile.
 */
import { figure, say } from '../support/report.ts';
import { sleepMs } from '../support/wait.ts';
import { type MemberProcess, RaftGroup } from './raft-group.ts';

const TASKS = 100_000;
const SETTLE_MS = 3_000;

export async function snapshot(): Promise<void> {
  const group = await RaftGroup.start(2, 'store');
  const startMs = performance.now();
  await group.leader.ask('createTasks', TASKS);
  figure('create_100k_tasks_ms', performance.now() - startMs);
  const { term } = await group.leader.ask('status');
  await group.leader.ask('beginUpdates');
  await sleepMs(SETTLE_MS); // of a hundred thousand writes more garbage is left than of a steady load
  const watch = (member: MemberProcess): Promise<void> => member.ask('watchTurns');
  await Promise.all(group.processes.map(watch));
  const joinMs = performance.now();
  await group.grow(watch);
  figure('snapshot_100k_until_vote_ms', performance.now() - joinMs);
  const longest = await Promise.all(group.processes.map((member) => member.ask('longestTurns')));
  await group.leader.ask('endUpdates');
  const after = await group.leader.ask('status');
  for (const [i, name] of ['leader', 'follower', 'receiver'].entries()) {
    figure(`snapshot_100k_${name}_longest_turn_ms`, longest[i]!.cpuMs);
    figure(`snapshot_100k_${name}_longest_turn_own_ms`, longest[i]!.ownMs);
    figure(`snapshot_100k_${name}_longest_turn_wall_ms`, longest[i]!.wallMs);
  }
  figure('snapshot_100k_longest_turn_ms', longest[0]!.cpuMs);
  figure('snapshot_100k_leader_changes', after.term - term);

  const { process, elapsedMs } = await group.restartLast();
  const count = await process.ask('taskCount');
  if (count !== TASKS) throw new Error(`restored ${count} of ${TASKS} tasks`);
  say(`restored ${count} tasks`);
  figure('restore_100k_ms', elapsedMs);
  await process.kill();
  await group.stop();
}
