/** Answers to requests that are refused before all of them has come: they reach who asked, and the connection ends. */
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import { LINGER_BYTES_MAX, LINGER_MS_MAX } from '../../daemon/engineapi/lingering-close.ts';
import { EngineServer } from '../../daemon/engineapi/server.ts';
import { FakeClock } from '../support/fake-clock.ts';

let dir: string;
let socketPath: string;
let server: EngineServer;
let clock: FakeClock;
/** that the server has while nobody asks */
let idleTimers: number;
/** answers that are sent */
let sent: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skep-refusals-'));
  socketPath = join(dir, 'api.sock');
  clock = new FakeClock();
  sent = 0;
  server = new EngineServer({ log: silentLogger, clock, headers: () => ({ Swarm: 'inactive' }) });
  server.add('POST', '/refused', ({ response }) => {
    response.once('close', () => {
      sent += 1;
    });
    throw new SkepError('unimplemented', 'never');
  });
  await server.listen({ path: socketPath });
  idleTimers = clock.pending;
});

afterEach(async () => {
  await server.stop();
  await rm(dir, { recursive: true, force: true });
});

/** A client that reads when it is told to. */
function client(...requests: readonly string[]) {
  const socket: Socket = connect({ path: socketPath, allowHalfOpen: true });
  const seen = { text: '', isEnded: false, errors: [] as string[] };
  socket.pause();
  socket.on('data', (chunk: Buffer) => {
    seen.text += chunk.toString();
  });
  socket.once('end', () => {
    seen.isEnded = true;
  });
  socket.on('error', ({ message }) => seen.errors.push(message));
  socket.write(requests.join(''));
  return { socket, seen };
}

const refused = (bodyBytes: number, headers = ''): string =>
  `POST /refused HTTP/1.1\r\nHost: x\r\n${headers}Content-Length: ${bodyBytes}\r\n\r\n`;
const answered = () => expect.poll(() => sent, { timeout: 10_000, interval: 5 }).toBe(1);
const isClosed = () =>
  expect.poll(() => clock.pending, { timeout: 10_000, interval: 5 }).toBe(idleTimers);

describe('a client that still sends when it is refused', () => {
  test('has its answer, and the connection ends with its own end', async () => {
    const { socket, seen } = client(refused(6), 'abc');
    await answered();
    for (const rest of ['d', 'e', 'f']) {
      await new Promise((resolve) => socket.write(rest, resolve));
    }
    socket.resume();
    await expect.poll(() => seen.isEnded, { timeout: 10_000 }).toBe(true);
    expect(seen.errors).toEqual([]);
    expect(seen.text).toMatch(
      /^HTTP\/1\.1 501 [\s\S]*Swarm: inactive[\s\S]*{"message":"never"}\n$/,
    );
    expect(seen.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(seen.text).toContain('Connection: close');
    expect(clock.pending).toBe(idleTimers + 1);
    socket.end();
    await isClosed();
  });

  test('has it as well when it sends the next request, which nobody answers', async () => {
    const { socket, seen } = client(refused(3), 'abc', refused(0));
    socket.resume();
    await expect.poll(() => seen.isEnded, { timeout: 10_000 }).toBe(true);
    expect(seen.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    socket.end();
    await isClosed();
  });

  test('is waited for so long, and not longer', async () => {
    const { socket, seen } = client(refused(6), 'abc');
    socket.resume();
    await expect.poll(() => seen.isEnded, { timeout: 10_000 }).toBe(true);
    await clock.advance(LINGER_MS_MAX - 1);
    expect(clock.pending).toBe(idleTimers + 1);
    await clock.advance(1);
    await isClosed();
    socket.destroy();
  });

  test('may send so much, and not more', async () => {
    const { socket } = client(refused(2 * LINGER_BYTES_MAX));
    const all = new Promise<Error | null | undefined>((resolve) => {
      socket.write(Buffer.alloc(2 * LINGER_BYTES_MAX), resolve);
    });
    expect(await all).toMatchObject({ code: expect.stringMatching(/EPIPE|ECONNRESET/) });
    await isClosed();
  });

  test('is no client that asked for an upgrade and goes', async () => {
    const { socket, seen } = client(refused(0, 'Connection: Upgrade\r\nUpgrade: tcp\r\n'));
    socket.resume();
    await expect.poll(() => seen.text, { timeout: 10_000 }).toContain('never');
    await expect.poll(() => seen.isEnded, { timeout: 10_000 }).toBe(true);
    expect(clock.pending).toBe(idleTimers + 1);
    socket.end();
    await isClosed();
  });
});

test('a request without a body is whole: its connection serves the next', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = () =>
    new Promise<{ readonly status: number | undefined; readonly isReused: boolean }>(
      (resolve, reject) => {
        const request = get({ socketPath, path: '/nowhere', agent }, (response) => {
          const { statusCode } = response;
          response
            .resume()
            .once('end', () => resolve({ status: statusCode, isReused: request.reusedSocket }));
        });
        request.once('error', reject);
      },
    );
  expect(await ask()).toEqual({ status: 404, isReused: false });
  expect(await ask()).toEqual({ status: 404, isReused: true });
  agent.destroy();
});

test('bytes after a request that has no body do not take its answer', async () => {
  const { socket, seen } = client('DELETE /nowhere HTTP/1.1\r\nHost: x\r\n\r\n', '{"not":"asked"}');
  socket.resume();
  await expect.poll(() => seen.isEnded, { timeout: 10_000 }).toBe(true);
  expect(seen.text).toMatch(/^HTTP\/1\.1 404 /);
  socket.destroy();
});
