import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { StreamPlaces } from '../../../daemon/engineapi/stream-places.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

/** A request for an upgrade, whose body comes in these pieces. */
async function take(headers: Record<string, string>, pieces: readonly string[]) {
  const socket = new PassThrough();
  const context = new RequestContext({
    request: { headers, socket } as unknown as IncomingMessage,
    response: { detachSocket: () => {} } as unknown as ServerResponse,
    ...{ clock: new FakeClock(), params: {}, query: new URLSearchParams(), apiMinor: 50 },
    upgrade: { socket, head: Buffer.from(pieces[0] ?? '') },
    streams: new StreamPlaces(),
  });
  const body = context.json();
  body.catch(() => {});
  for (const piece of pieces.slice(1)) {
    await settle();
    socket.write(piece);
  }
  await settle();
  return { body, context, socket };
}

const CHUNKS = '3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\nTrailer: t\r\n\r\n';

test.each([
  ['at once', [CHUNKS]],
  ['byte by byte', ['', ...CHUNKS]],
])('a chunked body before an upgrade is read: %s', async (_how, pieces) => {
  const { body } = await take({ 'transfer-encoding': 'chunked' }, pieces);
  expect(await body).toEqual({ a: 1 });
});

test('what comes after a chunked body is the input', async () => {
  const { body, context, socket } = await take({ 'transfer-encoding': 'chunked' }, [`${CHUNKS}ls`]);
  await body;
  socket.write = () => true; // the answer's headers
  context.hijack('text/plain');
  expect(String(socket.read())).toBe('ls');
});

test('a body of a length before an upgrade is read', async () => {
  const { body } = await take({ 'content-length': '7' }, ['{"a', '":1}']);
  expect(await body).toEqual({ a: 1 });
});

test.each([
  ['x\r\n', 'no chunk'],
  ['1\r\nab\r\n', 'longer than it says'],
  ['ffffff\r\n', 'over 4194304 bytes'],
])('%j is no chunked body', async (text, words) => {
  const { body } = await take({ 'transfer-encoding': 'chunked' }, [text]);
  await expect(body).rejects.toThrow(words);
});
