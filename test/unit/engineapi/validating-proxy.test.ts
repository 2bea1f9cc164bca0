import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sendApiRequest } from '../../support/api-answers.ts';
import { ValidatingProxy } from '../../support/validating-proxy.ts';

/** What is held against an engine that answers each request with this status and message. */
async function complaintsOf(method: string, status: number, message: string) {
  const dir = mkdtempSync(join(tmpdir(), 'skep-proxy-'));
  const body = `${JSON.stringify({ message })}\n`;
  const engine = createServer((_, response) => {
    const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length };
    response.writeHead(status, headers).end(body);
  });
  const proxy = new ValidatingProxy(join(dir, 'judged'), join(dir, 'engine'));
  try {
    await new Promise<void>((resolve) => engine.listen(join(dir, 'engine'), resolve));
    await proxy.start();
    const path = '/v1.50/containers/x/archive?path=/';
    const request = { method, path, headers: { Host: 'engine' }, body: null };
    await sendApiRequest(proxy.socketPath, request);
    return [...proxy.complaints];
  } finally {
    await proxy.stop();
    await new Promise((resolve) => engine.close(resolve));
    rmSync(dir, { recursive: true });
  }
}

test.each([
  [
    'DELETE',
    'it broke',
    ['DELETE /containers/x/archive failed with status 500: {"message":"it broke"}'],
  ],
  ['HEAD', 'it broke', ['HEAD /containers/x/archive failed with status 500']],
  ['DELETE', 'update out of sequence', []],
])('a failure that answers %s with "%s" is told: %j', async (method, message, complaints) => {
  expect(await complaintsOf(method, 500, message)).toEqual(complaints);
});

test('a refusal is none', async () => {
  expect(await complaintsOf('DELETE', 409, 'it is in use')).toEqual([]);
});
