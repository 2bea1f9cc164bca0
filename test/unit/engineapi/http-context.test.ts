import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { SENDER_PATIENCE_MS } from '../../../daemon/engineapi/patient-reader.ts';
import { StreamPlaces } from '../../../daemon/engineapi/stream-places.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

test('a body that stops in the middle is given up, one that is slow is not', async () => {
  const clock = new FakeClock();
  const request = new PassThrough();
  const context = new RequestContext({
    request: request as unknown as IncomingMessage,
    response: {} as ServerResponse,
    ...{ clock, params: {}, query: new URLSearchParams(), apiMinor: 50, upgrade: null },
    streams: new StreamPlaces(),
  });
  const body = context.bodyStream();
  let received = '';
  body.on('data', (chunk) => {
    received += String(chunk);
  });
  const failed = new Promise((resolve) => body.once('error', resolve));
  for (const part of ['a', 'b']) {
    await settle();
    await clock.advance(SENDER_PATIENCE_MS - 1);
    request.write(part);
  }
  await settle();
  expect([received, body.destroyed]).toEqual(['ab', false]);
  await clock.advance(SENDER_PATIENCE_MS);
  await settle();
  expect(body.destroyed).toBe(true);
  expect(await failed).toMatchObject({ code: 'deadline-exceeded' });
  expect(request.destroyed).toBe(false); // the refusal is still to be sent
});

test.each([
  [true, false],
  [false, true],
])('a client that has its answer (%s) is not gone', (writableFinished, isGone) => {
  const response = Object.assign(new EventEmitter(), { closed: false, writableFinished });
  const context = new RequestContext({
    request: new PassThrough() as unknown as IncomingMessage,
    response: response as unknown as ServerResponse,
    ...{ clock: new FakeClock(), params: {}, query: new URLSearchParams(), apiMinor: 50 },
    upgrade: null,
    streams: new StreamPlaces(),
  });
  const { signal } = context;
  response.emit('close');
  expect(signal.aborted).toBe(isGone);
});
