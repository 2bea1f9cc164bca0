/** A question to another daemon whose answer is read here, as JSON. Knows HTTP; nothing of what is asked. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { CODE_STATUS, type ErrorCode, SkepError } from '../../common/base/errors.ts';

/** 1,000 containers make some 3 MB. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;

/** From the connection to the whole answer: many containers with sizes take some seconds. */
export const ANSWER_LIMIT_MS = 30_000;

export interface Question {
  /** To who answers: used for this question alone, and closed. Rejects when `signal` aborts. */
  readonly connect: (signal: AbortSignal) => Promise<Duplex>;
  /** path and query */
  readonly target: string;
  /** who is at the other end, for people */
  readonly peer: string;
}

/**
 * Throws what the other end says, with the code of its status; `unavailable` when it says nothing that can be understood, or not
 * within ANSWER_LIMIT_MS; the reason of `signal` when that aborts.
 */
export async function askJson(
  { connect, target, peer }: Question,
  clock: Clock,
  signal: AbortSignal,
): Promise<unknown> {
  const limit = abortWith(signal);
  const timer = clock.setTimer(ANSWER_LIMIT_MS, () => {
    const words = `${peer} gave no answer within ${ANSWER_LIMIT_MS / 1000} s`;
    limit.abort(new SkepError('unavailable', words));
  });
  try {
    const connection = await connect(limit.signal);
    const { status, json } = await answered(connection, target, peer, limit.signal);
    if (status === 200) return json;
    throw refusalOf(status, json);
  } finally {
    timer.cancel();
    limit.release();
  }
}

async function answered(
  connection: Duplex,
  target: string,
  peer: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly json: unknown }> {
  const cut = (): void => void connection.destroy();
  signal.addEventListener('abort', cut, { once: true });
  try {
    signal.throwIfAborted();
    const response = await answerTo(connection, target);
    return { status: response.statusCode ?? 0, json: JSON.parse(await textOf(response)) };
  } catch (cause) {
    signal.throwIfAborted();
    throw new SkepError('unavailable', `the connection to ${peer} broke`, { cause });
  } finally {
    signal.removeEventListener('abort', cut);
    connection.destroy();
  }
}

function answerTo(connection: Duplex, target: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ createConnection: () => connection, path: target });
    sent.once('response', resolve);
    sent.once('error', reject);
    sent.end();
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += (chunk as Buffer).length;
    if (size > ANSWER_BYTES_MAX) throw new Error(`its answer is over ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

/** Several codes have one status: the first is as good as the others. */
function refusalOf(status: number, json: unknown): SkepError {
  const codes = Object.keys(CODE_STATUS) as ErrorCode[];
  const code = codes.find((one) => CODE_STATUS[one].http === status) ?? 'unavailable';
  const { message } = (json ?? {}) as { readonly message?: unknown };
  return new SkepError(code, typeof message === 'string' ? message : `status ${status}`);
}
