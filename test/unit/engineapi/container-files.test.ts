import { PassThrough } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { bodyOf } from '../../../daemon/engineapi/container-files.ts';

const TEXT = Buffer.from('text '.repeat(1000));

describe('the body of an upload of files', () => {
  /** What was read, after `begin` came and `then` was done to the request. */
  async function read(
    begin: Buffer,
    then: (request: PassThrough, gone: AbortController) => void,
    request = new PassThrough(),
  ): Promise<Buffer> {
    const gone = new AbortController();
    const chunks: Buffer[] = [];
    const whole = (async () => {
      for await (const chunk of bodyOf({ request, signal: gone.signal })) chunks.push(chunk);
    })();
    request.write(begin);
    setImmediate(() => then(request, gone));
    await whole;
    return Buffer.concat(chunks);
  }

  test.each([
    ['plain', TEXT],
    ['with gzip', gzipSync(TEXT)],
  ])('is read whole %s', async (_how, bytes) => {
    const body = await read(bytes.subarray(0, 20), (request) => request.end(bytes.subarray(20)));
    expect(body.equals(TEXT)).toBe(true);
  });

  test.each([
    ['plain', TEXT],
    ['with gzip', gzipSync(TEXT)],
  ])('fails as cancelled when the client leaves in the middle, %s', async (_how, bytes) => {
    const leave = (request: PassThrough, gone: AbortController): void => {
      gone.abort(new SkepError('cancelled', 'client went away'));
      request.destroy();
    };
    await expect(read(bytes.subarray(0, 20), leave)).rejects.toMatchObject({ code: 'cancelled' });
  });

  test.each([
    ['damaged', Buffer.concat([gzipSync(TEXT).subarray(0, 20), Buffer.alloc(100, 0xff)])],
    ['cut short', gzipSync(TEXT).subarray(0, 20)],
  ])(
    'is refused when its gzip is %s, and the connection stays for the answer',
    async (_how, bytes) => {
      const request = new PassThrough();
      const refused = read(bytes, () => request.end(), request);
      await expect(refused).rejects.toMatchObject({ code: 'invalid-argument' });
      expect(request.errored).toBe(null);
    },
  );
});
