/**
 * A request that another daemon answers: passed on by a connection to it, and its answer passed back, as it comes.
 * Knows HTTP; nothing of what is asked.
 */
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { SkepError } from '../../common/base/errors.ts';
import { MULTIPLEXED_TYPE, RAW_TYPE } from './frames.ts';
import type { RequestContext } from './http-context.ts';

/** What concerns one connection, and what the client may have said to ours alone. */
const HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'upgrade',
  'transfer-encoding',
  'expect',
]);

/**
 * Resolves when the answer was passed on whole. Rejects when there is none, so that the client can be told; an
 * answer that breaks off breaks the client's connection off.
 *
 * @param connection used for this request alone, and closed
 * @param target path and query, in place of the request's own
 * @param peer who is at the other end, for people
 */
export async function forward(
  context: RequestContext,
  connection: Duplex,
  target: string,
  peer: string,
): Promise<void> {
  const { request } = context;
  const gone = (): void => void connection.destroy();
  context.signal.addEventListener('abort', gone, { once: true });
  try {
    const outgoing = httpRequest({
      createConnection: () => connection,
      method: request.method,
      path: target,
      headers: {
        ...endToEnd(request.headers),
        ...(context.wantsUpgrade && { connection: 'Upgrade', upgrade: 'tcp' }),
        ...(isChunked(request.headers) && { 'transfer-encoding': 'chunked' }),
      },
    });
    const answer = answerTo(outgoing, peer);
    await sendBody(context, outgoing);
    await passBack(context, connection, await answer);
  } finally {
    context.signal.removeEventListener('abort', gone);
    connection.destroy();
  }
}

type Answer =
  | { readonly kind: 'answer'; readonly response: IncomingMessage }
  | {
      readonly kind: 'upgrade';
      readonly response: IncomingMessage;
      readonly socket: Duplex;
      readonly head: Buffer;
    };

function answerTo(outgoing: ClientRequest, peer: string): Promise<Answer> {
  const answer = new Promise<Answer>((resolve, reject) => {
    outgoing.once('response', (response) => resolve({ kind: 'answer', response }));
    outgoing.once('upgrade', (response, socket, head) =>
      resolve({ kind: 'upgrade', response, socket, head }),
    );
    outgoing.on('error', (cause) =>
      reject(new SkepError('unavailable', `the connection to ${peer} broke`, { cause })),
    );
  });
  answer.catch(() => {}); // waited for once the body is sent
  return answer;
}

/** A body that the other end does not take is no failure: it says why in its answer. */
async function sendBody(context: RequestContext, outgoing: ClientRequest): Promise<void> {
  if (context.wantsUpgrade) {
    outgoing.end(await context.body());
    return;
  }
  context.request.pipe(outgoing);
}

async function passBack(
  context: RequestContext,
  connection: Duplex,
  answer: Answer,
): Promise<void> {
  const { response } = answer;
  if (answer.kind === 'upgrade') {
    const client = context.hijack(response.headers['content-type'] ?? '');
    await context.headWasRead();
    client.write(answer.head);
    await splice(client, answer.socket, answer.socket);
    return;
  }
  if (isTakenOver(context, response)) {
    const client = context.hijack(response.headers['content-type'] ?? '');
    await context.headWasRead();
    await splice(client, connection, response);
    return;
  }
  // What says no length goes on, mostly, for as long as there is something to tell.
  if (response.statusCode === 200 && isChunked(response.headers)) context.reserveStream();
  context.response.writeHead(response.statusCode ?? 502, endToEnd(response.headers));
  context.response.flushHeaders();
  try {
    await pipeline(response, context.response);
  } catch (cause) {
    throw new SkepError('cancelled', 'the answer broke off', { cause });
  }
}

/** Raw bytes in both directions without an upgrade, as older clients ask for them: 200, until the connection ends. */
function isTakenOver(
  { request }: RequestContext,
  { statusCode, headers }: IncomingMessage,
): boolean {
  const isUntilEnd = headers['content-length'] === undefined && !isChunked(headers);
  const isStream = [RAW_TYPE, MULTIPLEXED_TYPE].includes(headers['content-type'] ?? '');
  return request.method === 'POST' && statusCode === 200 && isUntilEnd && isStream;
}

/** Bytes both ways, the end of either side passed on, until the client is gone or the other end is done. */
function splice(client: Duplex, input: Writable, output: Readable): Promise<void> {
  return new Promise((resolve) => {
    client.on('error', () => client.destroy());
    client.once('close', () => resolve());
    output.on('error', () => {}); // its close tells
    output.once('close', () => {
      if (!output.readableEnded) client.destroy();
    });
    client.pipe(input);
    output.pipe(client);
  });
}

function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_HEADERS.has(name)));
}

function isChunked(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined;
}
