/** What the HTTP surface bears and what it cuts off: open streams, clients that send or read too slowly. */
import { mkdtemp, rm } from 'node:fs/promises';
import { get, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import type { RequestContext } from '../../daemon/engineapi/http-context.ts';
import { LINGER_MS_MAX } from '../../daemon/engineapi/lingering-close.ts';
import {
  PatientWriter,
  PIECE_BYTES_MAX,
  READER_PATIENCE_MS,
} from '../../daemon/engineapi/patient-writer.ts';
import { EngineServer } from '../../daemon/engineapi/server.ts';
import { STALL_CHECK_PERIOD_MS, STALL_LIMIT_MS } from '../../daemon/engineapi/stalled-readers.ts';
import { STREAMS_MAX } from '../../daemon/engineapi/stream-places.ts';
import { VANISHED_CHECK_PERIOD_MS } from '../../daemon/engineapi/vanished-clients.ts';
import { FakeClock } from '../support/fake-clock.ts';

const BODY_LIMIT_MS = 30_000;
const HEADERS_LIMIT_MS = 10_000;

let dir: string;
let socketPath: string;
let server: EngineServer;
let clock: FakeClock;
let open: RequestContext[];
/** that the server has while nobody asks */
let idleTimers: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skep-limits-'));
  socketPath = join(dir, 'api.sock');
  clock = new FakeClock();
  open = [];
  server = new EngineServer({ log: silentLogger, clock, headers: () => ({}) });
  server.add('GET', '/stream', (context) => {
    context.stream('text/plain');
    open.push(context);
  });
  server.add('GET', '/short', (context) => context.send(200, {}));
  await server.listen({ path: socketPath });
  idleTimers = clock.pending;
});

afterEach(async () => {
  await server.stop();
  await rm(dir, { recursive: true, force: true });
});

const ask = (path: string) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    get({ socketPath, path, agent: false }, resolve).on('error', reject);
  });
const stream = () => ask('/stream');
/** Somebody waits for the client by then. */
const timerIsSet = () =>
  expect.poll(() => clock.pending, { timeout: 10_000, interval: 5 }).toBeGreaterThan(idleTimers);
const turn = () => new Promise((resolve) => setImmediate(resolve));

test(`${STREAMS_MAX} streams are open at once and each is served; one more is told to wait, what is none is not`, {
  timeout: 60_000,
}, async () => {
  const streams: IncomingMessage[] = [];
  while (streams.length < STREAMS_MAX) {
    streams.push(...(await Promise.all(Array.from({ length: 100 }, stream))));
  }
  expect(new Set(streams.map(({ statusCode }) => statusCode))).toEqual(new Set([200]));
  const heard = streams.map(
    (response) =>
      new Promise((resolve) => response.once('data', (chunk) => resolve(String(chunk)))),
  );
  for (const { response } of open) response.write('to all');
  expect(new Set(await Promise.all(heard))).toEqual(new Set(['to all']));
  const more = await stream();
  expect(more.statusCode).toBe(503);
  expect((await ask('/short')).statusCode).toBe(200);
  const gone = new Promise((resolve) => open[0]!.signal.addEventListener('abort', resolve));
  streams[0]!.destroy();
  await gone;
  await turn();
  expect((await stream()).statusCode).toBe(200);
  for (const response of streams) response.destroy();
});

describe('a client is cut off', () => {
  test('that does not finish its headers', { timeout: 30_000 }, async () => {
    const beganMs = performance.now();
    const socket = connect(socketPath, () => socket.write('GET /stream HTTP/1.1\r\nHost: e'));
    let text = '';
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    await new Promise((resolve) => socket.once('close', resolve));
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(performance.now() - beganMs).toBeGreaterThan(HEADERS_LIMIT_MS - 100);
    expect(open).toEqual([]);
  });

  test('that does not finish its JSON body', async () => {
    server.add('POST', '/json', async (context) => context.send(200, await context.json()));
    const sent = httpRequest({ socketPath, path: '/json', method: 'POST', agent: false });
    const answered = new Promise<IncomingMessage>((resolve) => sent.once('response', resolve));
    sent.on('error', () => {}); // its connection is closed while it sends
    sent.write('{"a":');
    await timerIsSet();
    await clock.advance(BODY_LIMIT_MS);
    const { statusCode, headers } = await answered;
    expect([statusCode, headers.connection]).toEqual([400, 'close']);
    sent.destroy();
  });

  test('that takes nothing of a stream, and what it was told is bounded', async () => {
    let written = 0;
    let ended: Promise<void> = Promise.resolve();
    server.add('GET', '/endless', (context) => {
      const out = new PatientWriter(context.stream('text/plain'), clock, context.signal);
      ended = (async () => {
        for (;;) {
          await out.write(Buffer.alloc(16 * 1024));
          written += 16 * 1024;
        }
      })();
      return ended;
    });
    const socket = connect(socketPath, () =>
      socket.write('GET /endless HTTP/1.1\r\nHost: e\r\n\r\n'),
    );
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    await timerIsSet();
    expect(written).toBeLessThan(4 * 1024 * 1024);
    await clock.advance(READER_PATIENCE_MS);
    await expect(ended).rejects.toMatchObject({ code: 'cancelled' });
    socket.resume();
    await closed;
  });

  test('that takes nothing of a stream that waits for its readers, and no other', async () => {
    server.add('GET', '/paged', (context) => {
      const out = context.stream('text/plain');
      const fill = (): void => {
        while (out.write(Buffer.alloc(64 * 1024)));
      };
      out.on('drain', fill);
      fill();
    });
    const asked = () => {
      const socket = connect(socketPath, () =>
        socket.write('GET /paged HTTP/1.1\r\nHost: e\r\n\r\n'),
      );
      socket.on('error', () => {});
      return socket;
    };
    const [reader, stuck] = [asked(), asked()];
    const cut = new Promise((resolve) => stuck.once('close', resolve));
    let taken = 0;
    reader.on('data', (chunk: Buffer) => {
      taken += chunk.length;
    });
    for (let ms = 0; ms <= STALL_LIMIT_MS; ms += STALL_CHECK_PERIOD_MS) {
      const before = taken;
      await expect.poll(() => taken, { interval: 2 }).toBeGreaterThan(before);
      await clock.advance(STALL_CHECK_PERIOD_MS);
    }
    stuck.resume();
    await cut;
    const before = taken;
    await expect.poll(() => taken, { interval: 2 }).toBeGreaterThan(before);
    reader.destroy();
  });

  test('not while it takes some of a large answer now and then', async () => {
    server.add('GET', '/large', (context) =>
      context.sendBytes(200, Buffer.alloc(64 * 1024 * 1024)),
    );
    const socket = connect(socketPath, () =>
      socket.write('GET /large HTTP/1.1\r\nHost: e\r\n\r\n'),
    );
    let [taken, enough] = [0, 0];
    socket.on('data', (chunk: Buffer) => {
      taken += chunk.length;
      if (taken >= enough) socket.pause();
    });
    for (let ms = 0; ms <= STALL_LIMIT_MS; ms += STALL_CHECK_PERIOD_MS) {
      enough = taken + 2 * PIECE_BYTES_MAX;
      socket.resume();
      await expect.poll(() => taken, { interval: 2 }).toBeGreaterThanOrEqual(enough);
      await clock.advance(STALL_CHECK_PERIOD_MS);
    }
    expect(socket.destroyed).toBe(false);
    const before = taken;
    enough = before + 16 * 1024 * 1024; // more than what is on its way
    socket.resume();
    await expect.poll(() => taken, { interval: 2 }).toBeGreaterThanOrEqual(enough);
    socket.destroy();
  });
});

const UPGRADE = 'Host: e\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n';
const endOf = (connection: Duplex) => new Promise((resolve) => connection.once('end', resolve));
const closed = (connection: Duplex) =>
  new Promise((resolve) => connection.once('close', () => resolve('closed')));

describe('a connection that was taken over', () => {
  /** @param handle what the handler does with it */
  const takenOver = async (handle: (connection: Duplex) => void, head = UPGRADE) => {
    const taken: Duplex[] = [];
    server.add('POST', '/taken', (context) => {
      const connection = context.hijack('text/plain');
      taken.push(connection);
      handle(connection);
    });
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    const begun = new Promise((resolve) => socket.once('data', resolve));
    socket.write(`POST /taken HTTP/1.1\r\n${head}`);
    await begun;
    return { socket, connection: taken[0]! };
  };
  const reads = (connection: Duplex): void => void connection.resume();

  test('is closed when its client is gone, though nothing is written to it', async () => {
    const { socket, connection } = await takenOver(reads);
    const [ended, close] = [endOf(connection), closed(connection)];
    socket.destroy();
    await ended;
    expect(connection.destroyed).toBe(false);
    await clock.advance(VANISHED_CHECK_PERIOD_MS);
    expect(await close).toBe('closed');
  });

  test('stays when its client has ended its input alone', async () => {
    const { socket, connection } = await takenOver(reads);
    const ended = endOf(connection);
    socket.end();
    await ended;
    await clock.advance(VANISHED_CHECK_PERIOD_MS);
    await turn();
    const heard = new Promise((resolve) => socket.once('data', (it) => resolve(String(it))));
    connection.write('output');
    expect(await heard).toBe('output');
    socket.destroy();
  });

  test('is closed when its client is gone, though nobody reads from it', async () => {
    const { socket, connection } = await takenOver(() => {});
    const close = closed(connection);
    socket.write('input', () => socket.destroy());
    await new Promise((resolve) => socket.once('close', resolve));
    await clock.advance(VANISHED_CHECK_PERIOD_MS);
    expect(await close).toBe('closed');
  });

  const plain = UPGRADE.replace('Connection: Upgrade\r\nUpgrade: tcp\r\n', '');
  const ways = [
    ['by an upgrade', UPGRADE],
    ['without one', plain],
  ] as const;
  const readers = [
    ['that nobody reads', () => {}],
    [
      'whose reader has stopped',
      (connection: Duplex) => void connection.on('data', () => {}).pause(),
    ],
  ] as const;

  test.each(readers)('%s, hears of its client after its end here', async (_, handle) => {
    const { socket, connection } = await takenOver((it) => {
      handle(it);
      it.end('all');
    });
    const [ended, close] = [endOf(socket), closed(connection)];
    socket.resume();
    await ended;
    socket.write('input that nobody wants', () => socket.destroy());
    expect(await close).toBe('closed');
  });

  test('is closed after its end here, though its client keeps it', async () => {
    const { socket, connection } = await takenOver((it) => void it.end());
    const [ended, close] = [endOf(socket), closed(connection)];
    socket.resume();
    await ended;
    await clock.advance(LINGER_MS_MAX);
    expect(await close).toBe('closed');
    socket.destroy();
  });

  test.each(ways)('%s is closed when its handler fails', async (_, head) => {
    const { socket } = await takenOver(() => {
      throw new SkepError('not-found', 'it is gone');
    }, head);
    socket.resume();
    await endOf(socket);
    socket.destroy();
  });

  test('none is, nor a stream begun, for a client that is gone: it would keep its place', async () => {
    const failed: unknown[] = [];
    const heard = new Promise<void>((resolve) => {
      server.add('POST', '/late', async (context) => {
        context.request.socket.destroy();
        await new Promise((gone) => context.response.once('close', gone));
        for (const take of [() => context.hijack('text/plain'), () => context.reserveStream()]) {
          try {
            take();
          } catch (err) {
            failed.push(err);
          }
        }
        resolve();
      });
    });
    const socket = connect(socketPath, () => socket.write(`POST /late HTTP/1.1\r\n${plain}`));
    socket.on('error', () => {});
    await heard;
    const cancelled = expect.objectContaining({ code: 'cancelled' });
    expect(failed).toEqual([cancelled, cancelled]);
  });
});

test('a stream that was asked for with an upgrade ends when its client is gone', async () => {
  const socket = connect(socketPath, () => socket.write(`GET /stream HTTP/1.1\r\n${UPGRADE}`));
  await new Promise((resolve) => socket.once('data', resolve));
  const gone = new Promise((resolve) =>
    open[0]!.signal.addEventListener('abort', () => resolve('gone')),
  );
  const left = closed(socket);
  socket.write('what nobody reads', () => socket.destroy());
  await left;
  await clock.advance(VANISHED_CHECK_PERIOD_MS);
  expect(await gone).toBe('gone');
});
