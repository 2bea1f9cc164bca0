/**
 * Time as a parameter. Nothing outside this file may read the wall clock or set a timer, so that a
 * simulated clock can replay a whole cluster from one seed.
 */

export interface Timer {
  /** Idempotent. After it returns the callback does not run. */
  cancel(): void;
}

export interface Clock {
  /** Milliseconds from an arbitrary origin; never goes backwards. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC; may jump. For display and certificates, never for ordering. */
  wallMs(): number;
  /** Runs `callback` once, `delayMs` from now (0 = the next turn). Does not keep the process alive. */
  setTimer(delayMs: number, callback: () => void): Timer;
  /** Runs `callback` every `periodMs`, first after one period. Does not keep the process alive. */
  setPeriodic(periodMs: number, callback: () => void): Timer;
  /** Resolves after `delayMs`; rejects with `signal.reason` when aborted before. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** Node fires a longer timer at once (it holds a signed 32-bit number): longer waits go in parts. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export class SystemClock implements Clock {
  monotonicMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    if (delayMs === 0) return nextTurn(callback);
    let handle: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const partMs = Math.min(leftMs, TIMER_MS_MAX);
      handle = setTimeout(() => (leftMs > partMs ? arm(leftMs - partMs) : callback()), partMs);
      handle.unref();
    };
    arm(delayMs);
    return { cancel: () => clearTimeout(handle) };
  }

  setPeriodic(periodMs: number, callback: () => void): Timer {
    const handle = setInterval(callback, periodMs);
    handle.unref();
    return { cancel: () => clearInterval(handle) };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }
}

/** Node makes a timer of 0 ms one of 1 ms. After the I/O at hand, before anything that waits for time. */
function nextTurn(callback: () => void): Timer {
  const handle = setImmediate(callback);
  return { cancel: () => clearImmediate(handle) };
}

/** `Clock.sleep` in terms of `Clock.setTimer`; shared by the real clock and the fakes. */
export function sleepOn(clock: Pick<Clock, 'setTimer'>, delayMs: number, signal?: AbortSignal) {
  return new Promise<void>((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
