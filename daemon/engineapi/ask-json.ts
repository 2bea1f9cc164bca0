/** A question to another daemon whose answer is read here, as JSON. Knows HTTP; nothing of what is asked. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { CODE_STATUS, type ErrorCode, SkepError } from '../../common/base/errors.ts';

/** 1,000 containers make some 3 MB. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;

/**
 * Throws what the other end says, with the code of its status; `unavailable` when it says nothing that can be understood.
 *
 * @param connection used for this question alone, and closed
 * @param target path and query
 * @param peer who is at the other end, for people
 */
export async function askJson(connection: Duplex, target: string, peer: string): Promise<unknown> {
  const { status, json } = await answered(connection, target, peer);
  if (status === 200) return json;
  throw refusalOf(status, json);
}

async function answered(
  connection: Duplex,
  target: string,
  peer: string,
): Promise<{ readonly status: number; readonly json: unknown }> {
  try {
    const response = await answerTo(connection, target);
    return { status: response.statusCode ?? 0, json: JSON.parse(await textOf(response)) };
  } catch (cause) {
    throw new SkepError('unavailable', `the connection to ${peer} broke`, { cause });
  } finally {
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
