/** How people ask for the end of a container, and for its removal. */
import type { ContainerSpec } from '../../common/model/service.ts';

export interface StopOptions {
  /** null = the container's, then 10 s; -1 = no end */
  readonly graceMs: number | null;
  /** null = the container's, then the image's, then SIGTERM */
  readonly signo: number | null;
}

export interface RemoveOptions {
  /** also when it runs */
  readonly force: boolean;
  /** its anonymous volumes too, as if it had been made to go when it ends */
  readonly volumes: boolean;
}

const NANOS_PER_MS = 1e6;
const DEFAULT_GRACE_MS = 10_000;
/** A signed 32-bit number of milliseconds, 24 days: longer than anybody waits. */
const ENDLESS_MS = 2 ** 31 - 1;

/** From the signal to SIGKILL. */
export function graceMsOf(
  { graceMs }: Pick<StopOptions, 'graceMs'>,
  { stopGracePeriodNanos }: Pick<ContainerSpec, 'stopGracePeriodNanos'>,
): number {
  const own = stopGracePeriodNanos === null ? null : stopGracePeriodNanos / NANOS_PER_MS;
  const waitMs = graceMs ?? own ?? DEFAULT_GRACE_MS;
  return waitMs < 0 ? ENDLESS_MS : waitMs;
}
