import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { expect, test } from 'vitest';
import { encodeFrame } from '../../../common/rpc/frames.ts';
import { LINK_LIMITS } from '../../../common/rpc/limits.ts';
import { LinkSocket } from '../../../common/rpc/link.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

class FakeSocket extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
  setNoDelay(): void {}
}

test('a link that was ended hears nothing more, and is cut from a peer that goes on talking', async () => {
  const clock = new FakeClock();
  const socket = new FakeSocket();
  const heard: string[] = [];
  const link = new LinkSocket({
    ...{ clock, socket: socket as unknown as TLSSocket, action: 'test' },
    receive: ({ body }) => {
      heard.push(body.toString());
      link.end();
    },
  });
  link.allowMessages();
  const say = (words: string): void => void socket.push(encodeFrame('message', Buffer.from(words)));
  socket.push(
    Buffer.concat(['one', 'two'].map((words) => encodeFrame('message', Buffer.from(words)))),
  );
  await settle();
  for (let i = 0; i < LINK_LIMITS.silentPeriodsMax; i++) {
    await clock.advance(LINK_LIMITS.alivePeriodMs);
    say('more');
    await settle();
  }
  link.end(); // again
  await settle();
  expect(socket.errored).toBe(null);
  expect(heard).toEqual(['one']);
  expect(socket.destroyed).toBe(false);
  await clock.advance(LINK_LIMITS.alivePeriodMs);
  expect(socket.destroyed).toBe(true);
  expect(clock.pending).toBe(0);
});

test('a link that is not watched says nothing by itself and bears silence, until it ends', async () => {
  const clock = new FakeClock();
  const socket = new FakeSocket();
  const link = new LinkSocket({
    ...{ clock, socket: socket as unknown as TLSSocket, action: 'test' },
    receive: () => {},
  });
  link.allowMessages();
  link.stopWatch();
  expect(clock.pending).toBe(0);
  await clock.advance(60_000);
  expect(socket.destroyed).toBe(false);
  link.end();
  await clock.advance((LINK_LIMITS.silentPeriodsMax + 1) * LINK_LIMITS.alivePeriodMs);
  expect(socket.destroyed).toBe(true);
  expect(clock.pending).toBe(0);
});
