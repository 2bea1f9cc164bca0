import { Duplex } from 'node:stream';
import { connect, createSecureContext, type TLSSocket } from 'node:tls';
import { expect, test, vi } from 'vitest';
import { LINK_PROTOCOL } from '../../../common/rpc/link.ts';
import { openLink } from '../../../common/rpc/link-client.ts';
import { link } from '../../../common/rpc/method.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

vi.mock(import('node:tls'), async (original) => ({ ...(await original()), connect: vi.fn() }));

class FakeSocket extends Duplex {
  readonly alpnProtocol = LINK_PROTOCOL;
  override _read(): void {}
  setNoDelay(): void {}
  setKeepAlive(): void {}
}

const bytes = { encode: (message: Uint8Array) => message, decode: (body: Uint8Array) => body };

test('a connection that breaks right behind the handshake is a link that failed, and leaves nothing', async () => {
  const clock = new FakeClock();
  const socket = new FakeSocket();
  vi.mocked(connect).mockReturnValue(socket as unknown as TLSSocket);
  const opening = openLink(
    link({ path: '/skep.Test/Chat', request: bytes, response: bytes, roles: ['manager'] }),
    () => {},
    {
      ...{ clock, address: '127.0.0.1:1', serverName: 'skep-manager', connectTimeoutMs: 1_000 },
      secureContext: createSecureContext(),
      checkServer: () => undefined,
      signal: new AbortController().signal,
    },
  );
  const outcome = opening.catch((err: unknown) => err);
  socket.emit('secureConnect');
  socket.emit('error', new Error('reset')); // throws without a listener
  socket.destroy();
  expect(await outcome).toMatchObject({ code: 'unavailable', cause: { message: 'reset' } });
  await settle();
  expect(clock.pending).toBe(0);
});

test.each([
  ['TCP alone', undefined, false, 1_000],
  ['TCP before TLS', 9_000, false, 1_000],
  ['TLS within the limit of both', undefined, true, 1_000],
  ['TLS within its own', 9_000, true, 9_500],
])('a connection that does not come about is given up: %s', async (_, handshake, hasTcp, endMs) => {
  const clock = new FakeClock();
  const socket = new FakeSocket();
  vi.mocked(connect).mockReturnValue(socket as unknown as TLSSocket);
  let outcome: unknown = null;
  const opening = openLink(
    link({ path: '/skep.Test/Chat', request: bytes, response: bytes, roles: ['manager'] }),
    () => {},
    {
      ...{ clock, address: '127.0.0.1:1', serverName: 'skep-manager', connectTimeoutMs: 1_000 },
      ...(handshake === undefined ? {} : { handshakeTimeoutMs: handshake }),
      secureContext: createSecureContext(),
      checkServer: () => undefined,
      signal: new AbortController().signal,
    },
  );
  opening.catch((err: unknown) => {
    outcome = err;
  });
  await clock.advance(500);
  if (hasTcp) socket.emit('connect');
  await clock.advance(endMs - 501);
  expect(outcome).toBe(null);
  await clock.advance(1);
  expect(outcome).toMatchObject({ code: 'unavailable' });
  expect([socket.destroyed, clock.pending]).toEqual([true, 0]);
});
