/**
 * Whether a process listens at an address, by what the kernel of its host says to a TCP connection.
 * Knows no TLS and no RPC: who listens and is stuck, or is not who it should be, listens.
 */
import { connect, type Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';
import { splitHostPort } from './listener.ts';

/** A host answers within a round trip; one that is away does not answer at all. */
const ANSWER_LIMIT_MS = 500;
/**
 * An accepted connection is kept so long. The kernel closes what an ending process has open one after the
 * other, its listener late: a connection that came in between is reset with it.
 */
const HOLD_MS = 50;
const ATTEMPTS_MAX = 3;

export interface RefusalOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * True when connections to `address` (`IP:port`) are refused. False when one is accepted, or nothing is
 * known within ANSWER_LIMIT_MS. Rejects only with `signal.reason`.
 */
export async function refusesConnections(
  address: string,
  options: RefusalOptions,
): Promise<boolean> {
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const outcome = await attemptConnection(address, options);
    if (outcome === 'refused') return true;
    if (outcome !== 'reset') return false;
  }
  return false;
}

type Outcome = 'refused' | 'reset' | 'kept' | 'unknown';

async function attemptConnection(address: string, options: RefusalOptions): Promise<Outcome> {
  options.signal.throwIfAborted();
  const socket = connect(splitHostPort(address));
  try {
    return await outcomeOf(socket, options);
  } finally {
    socket.destroy();
  }
}

function outcomeOf(socket: Socket, { clock, signal }: RefusalOptions): Promise<Outcome> {
  let timer: Timer | null = null;
  let isAccepted = false;
  const onAbort = (): void => void socket.destroy(signal.reason);
  const outcome = new Promise<Outcome>((resolve, reject) => {
    timer = clock.setTimer(ANSWER_LIMIT_MS, () => resolve('unknown'));
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => {
      isAccepted = true;
      timer?.cancel();
      timer = clock.setTimer(HOLD_MS, () => resolve('kept'));
    });
    socket.on('error', (err: NodeJS.ErrnoException) => {
      if (signal.aborted) reject(signal.reason);
      else if (isAccepted || err.code === 'ECONNRESET') resolve('reset');
      else resolve(err.code === 'ECONNREFUSED' ? 'refused' : 'unknown');
    });
    socket.once('close', () => resolve('reset'));
  });
  return outcome.finally(() => {
    timer?.cancel();
    signal.removeEventListener('abort', onAbort);
  });
}
