/** How long commits wait for others, so that they go to the agents as one step. */
import type { Clock } from '../../common/base/clock.ts';
import { restMs } from '../../common/base/rest.ts';
import type { Commit } from '../store/types.ts';

/**
 * At least: it is part of the time that every task takes to start. At most, while nothing is given out: Swarm's delay,
 * always.
 */
const DELAY = { minMs: 10, maxMs: 100 };
/**
 * While the scheduler gives out tasks by the thousand each node gets one after the other, and a message for each costs both
 * ends more than the task does. So steps go on gathering, for so many times as long as the last one took, at most.
 */
const GATHER_FACTOR = 32;
const GATHER_MAX_MS = 1_000;
/** When nothing was given out for so long, what there is goes at once. */
const GATHER_SLICE_MS = 20;

export interface Gathering {
  /** that the step begins with */
  readonly first: readonly Commit[];
  /** Takes what was committed since the last call. */
  readonly take: () => readonly Commit[];
  /** time that the last step took to make, ms */
  readonly tookMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Resolves when the step that begins with commits of this moment is to go. What tells of an end does not wait for tasks that
 * are given out: clients are sent to a dead endpoint until nodes hear of it.
 */
export async function gatherStep(gathering: Gathering): Promise<void> {
  const { first, take, tookMs, clock, signal } = gathering;
  const untilMs = clock.monotonicMs() + Math.min(GATHER_MAX_MS, GATHER_FACTOR * tookMs);
  await clock.sleep(restMs(tookMs, DELAY), signal);
  if (first.some(tellsOfEnd)) return;
  while (clock.monotonicMs() < untilMs) {
    const commits = take();
    if (commits.some(tellsOfEnd) || !commits.some(givesOut)) return;
    await clock.sleep(Math.min(GATHER_SLICE_MS, untilMs - clock.monotonicMs()), signal);
  }
}

/** The scheduler gave a task to a node. */
function givesOut({ changes }: Commit): boolean {
  return changes.some(
    (change) =>
      change.kind === 'task' &&
      change.action === 'update' &&
      change.object.status.state === 'assigned' &&
      change.previous.status.state !== 'assigned',
  );
}

/** A task that ran ended, or is to end. */
function tellsOfEnd({ changes }: Commit): boolean {
  return changes.some((change) => {
    if (change.kind !== 'task' || change.action === 'create') return false;
    if (change.action === 'remove') return change.object.status.state === 'running';
    const { object, previous } = change;
    if (previous.status.state !== 'running') return false;
    return object.status.state !== 'running' || object.desiredState !== previous.desiredState;
  });
}
