import { describe, expect, test } from 'vitest';
import { watchRequest } from '../../../worker/images/request-watch.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const MIB = 1024 * 1024;

/** A request of so many bytes, all of which the socket was given; `words` says why it was ended. */
function requestOf(bytes: number) {
  const socket = { connecting: false, bytesWritten: bytes, writableLength: bytes };
  const seen = { socket, writableFinished: false, words: '' };
  return Object.assign(seen, {
    destroy: (err: Error) => {
      seen.words = err.message;
    },
  });
}

describe('a request', () => {
  test('goes on as long as anything of it leaves, also what waits in the socket', async () => {
    const clock = new FakeClock();
    const request = requestOf(MIB);
    const watch = watchRequest(clock, request, MIB);
    for (; request.socket.writableLength > 0; request.socket.writableLength -= MIB / 64) {
      await clock.advance(50_000);
      expect(request.words).toBe('');
    }
    watch.cancel();
  });

  test('ends when nothing has left for a minute', async () => {
    const clock = new FakeClock();
    const request = requestOf(MIB);
    const watch = watchRequest(clock, request, MIB);
    await clock.advance(59_999);
    expect(request.words).toBe('');
    await clock.advance(1);
    expect(request.words).toBe('no answer in 60000 ms');
    watch.cancel();
  });

  test.each([
    ['without a body', 0, 30_000],
    ['of a MiB, of which the kernel may still have all', MIB, 46_000],
    ['of 64 MiB, of which the kernel has 4 at most', 64 * MIB, 96_000],
  ])('%s waits so long for its answer', async (_, bytes, limitMs) => {
    const clock = new FakeClock();
    const request = requestOf(bytes);
    request.socket.writableLength = 0;
    request.writableFinished = true;
    const watch = watchRequest(clock, request, bytes);
    await clock.advance(limitMs - 1);
    expect(request.words).toBe('');
    await clock.advance(10_000);
    expect(request.words).toMatch(/^no answer in \d+ ms$/);
    watch.cancel();
  });
});
