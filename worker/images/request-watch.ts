/** Ends requests on which nothing moves: a half-open connection would be waited for for ever. */
import type http from 'node:http';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';

/** Longest wait for a response's headers after the request has arrived, ms. */
const HEADERS_TIMEOUT_MS = 30_000;
/** Longest silence inside a body, either way, ms. */
const IDLE_TIMEOUT_MS = 60_000;
/** Until the connection of a request is there: its name looked up, and some of the first packets lost. */
const CONNECT_TIMEOUT_MS = 10_000;
const CHECK_PERIOD_MS = 5_000;
/** What the kernel may still hold of a request that has left this process: the largest of `net.ipv4.tcp_wmem`. */
const KERNEL_BYTES_MAX = 4 * 1024 * 1024;
/** Of the slowest link that such a rest is waited for on: 64 KiB/s. */
const SLOWEST_BYTES_PER_MS = 64;

/** What is looked at of a request. */
export interface SentRequest {
  readonly socket: {
    readonly connecting: boolean;
    readonly bytesWritten: number;
    readonly writableLength: number;
  } | null;
  /** the socket has taken all of it, which is not to say that it has left */
  readonly writableFinished: boolean;
  destroy(err: Error): unknown;
}

/**
 * Fails a request that has no connection, whose body does not move, or that is not answered after it was sent. The caller cancels.
 * @param bodyBytes of the request
 */
export function watchRequest(clock: Clock, request: SentRequest, bodyBytes: number): Timer {
  const restMs = Math.min(bodyBytes, KERNEL_BYTES_MAX) / SLOWEST_BYTES_PER_MS;
  const answerLimitMs = HEADERS_TIMEOUT_MS + Math.round(restMs);
  let leftBefore = 0;
  let lastMs = clock.monotonicMs();
  return clock.setPeriodic(CHECK_PERIOD_MS, () => {
    const { connecting = false, bytesWritten = 0, writableLength = 0 } = request.socket ?? {};
    // `bytesWritten` counts what waits in the socket as well.
    const left = connecting ? 0 : bytesWritten - writableLength;
    const isSent = request.writableFinished && writableLength === 0;
    const limitMs = connecting ? CONNECT_TIMEOUT_MS : isSent ? answerLimitMs : IDLE_TIMEOUT_MS;
    if (left !== leftBefore) {
      leftBefore = left;
      lastMs = clock.monotonicMs();
    } else if (clock.monotonicMs() - lastMs >= limitMs) {
      request.destroy(new SkepError('deadline-exceeded', `no answer in ${limitMs} ms`));
    }
  });
}

/** Fails a body that stands still, unless it is we who do not read it. */
export function watchResponse(clock: Clock, response: http.IncomingMessage): void {
  let lastMs = clock.monotonicMs();
  let seenBytes = -1;
  const watch = clock.setPeriodic(CHECK_PERIOD_MS, () => {
    const bytes = response.socket?.bytesRead ?? 0;
    if (bytes !== seenBytes || response.isPaused()) {
      seenBytes = bytes;
      lastMs = clock.monotonicMs();
    } else if (clock.monotonicMs() - lastMs > IDLE_TIMEOUT_MS) {
      response.destroy(new SkepError('deadline-exceeded', `no data for ${IDLE_TIMEOUT_MS} ms`));
    }
  });
  response.once('close', () => watch.cancel());
}
