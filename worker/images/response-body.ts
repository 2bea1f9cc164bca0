/** Bodies of answers that are small enough for memory. */
import type { IncomingMessage } from 'node:http';
import { SkepError } from '../../common/base/errors.ts';

const ERROR_BODY_BYTES_MAX = 64 * 1024;

/** The whole body. Rejects above `limitBytes`. */
export async function readAll(
  response: AsyncIterable<Buffer>,
  limitBytes: number,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response) {
    chunks.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes > limitBytes) {
      throw new SkepError('invalid-argument', `answer is longer than ${limitBytes} bytes`);
    }
  }
  return Buffer.concat(chunks);
}

export async function readText(response: IncomingMessage): Promise<string> {
  return (await readAll(response, ERROR_BODY_BYTES_MAX)).toString('utf8');
}
