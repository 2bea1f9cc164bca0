/** One request to the Engine API and what became of it, told apart: what is not answered is no answer. */
import { type ClientRequest, request as httpRequest } from 'node:http';
import type { ApiRequest } from './api-requests.ts';

export type ApiAnswer =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly text: string;
      /** one JSON value, not lines of them */
      readonly isJson: boolean;
    }
  /** it began to answer, and went on until it was left; `text` is what came until then */
  | { readonly kind: 'stream'; readonly status: number; readonly text: string }
  /** it gave the connection up; `text` is what came until it was left, or ended */
  | { readonly kind: 'upgrade'; readonly text: string }
  /** no request that Node sends */
  | { readonly kind: 'unsent' }
  /** we were so slow to send it that the server gave us up: nothing is known */
  | { readonly kind: 'late' }
  /** nothing came in all that time */
  | { readonly kind: 'silent' }
  /** the connection ended without an answer, or in the middle of one */
  | { readonly kind: 'dropped'; readonly why: string };

/**
 * From the request to the first of the answer; a registry's address may be looked up meanwhile. Told off by seconds in which we
 * ran ourselves: while the whole machine stands still, none of them passes.
 */
const ANSWER_LIMIT_SECONDS = 30;
/** The server waits 10 s for a request's head. */
const LATE_AFTER_MS = 8_000;
/** Streams and waits are left so long after they began. */
const STREAM_LIMIT_MS = 200;

type Sent = Omit<ApiRequest, 'method' | 'input'> & {
  readonly method: string;
  readonly input?: ApiRequest['input'];
};

/** On a connection of its own. Never rejects. */
export function sendApiRequest(
  socketPath: string,
  { method, path, headers, body, input = null }: Sent,
): Promise<ApiAnswer> {
  return new Promise((resolve) => {
    let sent: ClientRequest;
    try {
      sent = httpRequest({ socketPath, method, path, headers, agent: false });
    } catch {
      resolve({ kind: 'unsent' });
      return;
    }
    const beganMs = performance.now();
    let seconds = 0;
    const end = (answer: ApiAnswer): void => {
      clearInterval(timer);
      resolve(answer); // the first one counts
      sent.destroy();
    };
    let timer = setInterval(() => {
      seconds += 1;
      if (seconds === ANSWER_LIMIT_SECONDS) end({ kind: 'silent' });
    }, 1_000);
    const drop = (why: string): void =>
      end(
        performance.now() - beganMs > LATE_AFTER_MS ? { kind: 'late' } : { kind: 'dropped', why },
      );
    sent.on('upgrade', (_, socket, head) => {
      clearInterval(timer);
      sent.removeAllListeners('close'); // which the request is now, not its connection
      let text = head.toString();
      const leave = (): void => {
        end({ kind: 'upgrade', text });
        socket.destroy();
      };
      timer = setInterval(leave, STREAM_LIMIT_MS);
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      socket.once('end', leave);
      socket.on('error', leave);
      for (const piece of input?.pieces ?? []) socket.write(piece);
      if (input?.end === 'half-close') socket.end();
      if (input?.end === 'leave') leave();
    });
    sent.on('response', (response) => {
      const status = response.statusCode ?? 0;
      clearInterval(timer);
      // Once all of it is there the connection may close before it was read: the response itself tells how it ended.
      sent.removeAllListeners('close');
      let text = '';
      timer = setInterval(() => end({ kind: 'stream', status, text }), STREAM_LIMIT_MS);
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      const { 'content-type': type, 'content-length': length } = response.headers;
      const isJson = type === 'application/json' && length !== undefined && method !== 'HEAD';
      response.once('end', () => end({ kind: 'answer', status, text, isJson }));
      response.on('error', ({ message }) => end({ kind: 'dropped', why: message }));
    });
    sent.on('error', ({ message }) => drop(message));
    sent.on('close', () => drop('closed'));
    sent.end(body ?? undefined);
  });
}
