/** How often agents beat: as the cluster's settings say, and more rarely when there are very many. */
import { DISPATCHER_HEARTBEAT_NANOS_MIN } from '../../common/model/cluster.ts';

/**
 * Most heartbeats that the leader takes in a second. One costs it about 0.1 ms of CPU with its answer (`npm run bench --
 * control agents`), so that hearing of every node stays below an eighth of a core whatever their number.
 */
export const BEATS_PER_SECOND_MAX = 1_000;
/** A stretched period is a multiple of this, so that it is not announced anew with each node. */
const STEP_MS = 500;
const PERIOD_MS_MIN = DISPATCHER_HEARTBEAT_NANOS_MIN / 1e6;

/**
 * The period for a cluster of `nodes`, ms. Never below `settingMs`, the cluster's setting, nor below the least that may
 * be set: a cluster may have stored less before that was refused. Grows by steps, and shrinks only when it is two steps too long: a node that comes and goes at the border changes nothing.
 */
export function heartbeatPeriodMs(settingMs: number, nodes: number, presentMs: number): number {
  const chosenMs = Math.max(settingMs, PERIOD_MS_MIN);
  const neededMs = Math.ceil((nodes / BEATS_PER_SECOND_MAX) * (1_000 / STEP_MS)) * STEP_MS;
  const periodMs = Math.max(chosenMs, neededMs);
  const isStep = periodMs > chosenMs && periodMs < presentMs && presentMs - periodMs < 2 * STEP_MS;
  return isStep ? presentMs : periodMs;
}
