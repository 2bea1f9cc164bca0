/** Bodies of answers that are small enough for memory. */
import { SkepError } from '../../common/base/errors.ts';

const TEXT_BYTES_MAX = 64 * 1024;

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

/** Of an error, for its words: a longer one is cut off. */
export async function readText(response: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response) {
    chunks.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes >= TEXT_BYTES_MAX) break; // and the connection with it
  }
  return Buffer.concat(chunks).subarray(0, TEXT_BYTES_MAX).toString('utf8');
}
