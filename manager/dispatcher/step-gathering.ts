/** How long commits wait for others, so that they go to the agents as one step. */
import type { Clock } from '../../common/base/clock.ts';
import { restMs } from '../../common/base/rest.ts';
import type { Commit, StoreChange } from '../store/types.ts';

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
  /** Takes what was committed since the last call. */
  readonly take: () => readonly Commit[];
  /** time that the last step took to make, ms */
  readonly tookMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Resolves when the step that begins with a commit of this moment is to go. */
export async function gatherStep({ take, tookMs, clock, signal }: Gathering): Promise<void> {
  const untilMs = clock.monotonicMs() + Math.min(GATHER_MAX_MS, GATHER_FACTOR * tookMs);
  await clock.sleep(restMs(tookMs, DELAY), signal);
  while (clock.monotonicMs() < untilMs) {
    if (!take().some(({ changes }) => changes.some(isAssignment))) return;
    await clock.sleep(Math.min(GATHER_SLICE_MS, untilMs - clock.monotonicMs()), signal);
  }
}

/** The scheduler gave a task to a node. */
function isAssignment(change: StoreChange): boolean {
  if (change.kind !== 'task' || change.action !== 'update') return false;
  return change.object.status.state === 'assigned' && change.previous.status.state !== 'assigned';
}
