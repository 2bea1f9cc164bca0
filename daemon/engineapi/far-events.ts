/**
 * The events of the cluster on a node that is no manager: lines of a manager's answer to the same question. Knows nothing of
 * what they say.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';

/** Without their ends. Throws `unavailable` when the answer breaks off. */
export type FarEvents = AsyncIterable<string>;

/** Of a client of the node's own events with managers that cannot be reached. */
const PATIENCE_MS = 3_000;

export interface FarEventsSource {
  /** This node is a worker that may ask. */
  readonly isAsked: () => boolean;
  /** Throws `unavailable` when no manager can be reached. */
  readonly connect: (signal: AbortSignal) => Promise<Duplex>;
  /** Where none can be reached at first there is no answer; else the node's own events are one, as Docker's workers have. */
  readonly isVital: boolean;
}

/** null = they are not there, and not vital. @param query as the client gave it. */
export async function farEventsOf(
  far: FarEventsSource,
  query: URLSearchParams,
  clock: Clock,
  signal: AbortSignal,
): Promise<FarEvents | null> {
  if (!far.isAsked()) return null;
  if (far.isVital) return openFarEvents(far, query, signal);
  const given = abortWith(signal); // goes on to hold for the stream
  const timer = clock.setTimer(PATIENCE_MS, () => {
    given.abort(new SkepError('unavailable', 'no manager answered in time'));
  });
  try {
    return await openFarEvents(far, query, given.signal);
  } catch (err) {
    signal.throwIfAborted();
    if (!hasCode(err, 'unavailable') && !hasCode(err, 'not-a-manager')) throw err;
    return null;
  } finally {
    timer.cancel();
  }
}

/** @param query as the client gave it. Resolves when the manager answers. */
export async function openFarEvents(
  { connect }: Pick<FarEventsSource, 'connect'>,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<FarEvents> {
  const connection = await connect(signal);
  try {
    const answer = await answerTo(connection, `/events?${query}`, signal);
    if (answer.statusCode !== 200) throw broken(new Error(`it answered ${answer.statusCode}`));
    return linesOf(answer, signal);
  } catch (err) {
    connection.destroy();
    throw err;
  }
}

function answerTo(connection: Duplex, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const gone = (): void => void connection.destroy();
    signal.addEventListener('abort', gone, { once: true });
    connection.once('close', () => signal.removeEventListener('abort', gone));
    const asked = httpRequest({ createConnection: () => connection, path });
    asked.once('response', resolve);
    asked.on('error', (cause) => reject(broken(cause)));
    asked.end();
  });
}

async function* linesOf(answer: IncomingMessage, signal: AbortSignal): AsyncGenerator<string> {
  let rest = '';
  try {
    for await (const chunk of answer.setEncoding('utf8')) {
      const lines = `${rest}${chunk as string}`.split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw broken(cause);
  }
}

function broken(cause: unknown): SkepError {
  return new SkepError('unavailable', 'read the events of the cluster: a manager’s answer broke', {
    cause,
  });
}
