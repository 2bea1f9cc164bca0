/**
 * How a container is ended: stop signal, grace period, SIGKILL. Knows nothing of tasks or of what
 * their end means.
 */
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';
import type { ExitRecord } from '../runtime/native-runtime.ts';
import type { Runtime } from './ports.ts';
import { SIGKILL } from './signals.ts';

/** After SIGKILL the kernel needs a moment; longer than this and something is stuck. */
const KILL_WAIT_MS = 10_000;

export interface StopRequest {
  readonly runtime: Pick<Runtime, 'wait' | 'signal' | 'killAll'>;
  readonly clock: Clock;
  readonly containerId: string;
  /** sent first */
  readonly signo: number;
  /** from the signal to SIGKILL, >= 0 */
  readonly graceMs: number;
  /** told of each signal before it is sent */
  readonly onSignal: (signo: number) => void;
}

/**
 * Resolves when the container has ended, with how it ended. Rejects with `unavailable` when it
 * outlives SIGKILL. Nothing of it waits on afterwards, whatever the outcome.
 */
export async function stopContainer(
  { runtime, clock, containerId, signo, graceMs, onSignal }: StopRequest,
  signal: AbortSignal,
): Promise<ExitRecord> {
  const over = abortWith(signal);
  const ended = runtime.wait(containerId, over.signal);
  ended.catch(() => {}); // whoever awaits it below is told
  const tooLate = (afterMs: number): Promise<null> =>
    clock.sleep(afterMs, over.signal).then(() => null);
  try {
    onSignal(signo);
    await ignoreGone(runtime.signal(containerId, signo));
    const inTime = await Promise.race([ended, tooLate(graceMs)]);
    if (inTime) return inTime;
    onSignal(SIGKILL);
    const killing = ignoreGone(runtime.killAll(containerId)).then(() => ended);
    const killed = await Promise.race([killing, tooLate(KILL_WAIT_MS)]);
    if (killed) return killed;
  } finally {
    over.abort(new CancelledError());
    over.release();
  }
  throw new SkepError('unavailable', `stop container: it lives ${KILL_WAIT_MS} ms after SIGKILL`);
}

/** The container may end between our look and our signal. */
export async function ignoreGone(signalling: Promise<void>): Promise<void> {
  try {
    await signalling;
  } catch (err) {
    if (!hasCode(err, 'not-found', 'conflict')) throw err;
  }
}
