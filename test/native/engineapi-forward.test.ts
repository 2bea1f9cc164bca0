/** Requests that another daemon answers: over real HTTP on both ends, and a stream of messages between them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { StreamDuplex } from '../../common/rpc/stream-duplex.ts';
import { RAW_TYPE } from '../../daemon/engineapi/frames.ts';
import {
  onlyContainerRoutes,
  withRemoteContainers,
} from '../../daemon/engineapi/remote-containers.ts';
import { EngineServer, type Routes } from '../../daemon/engineapi/server.ts';
import { eventually } from '../support/cluster.ts';
import { type StreamEnd, streamPair } from '../support/rpc-stream-pair.ts';

const CONTAINER = 'c0ffee'.padEnd(64, '0');
const EXEC = CONTAINER.slice(0, 32) + 'e'.repeat(32);
const WINDOW_BYTES = 64 * 1024;
const REFUSED = new SkepError('unavailable', 'reach container on node worker-1');

let dir: string;
let socketPath: string;
let manager: EngineServer;
let node: EngineServer;
/** The node's routes: those that managers may use. */
let routes: Routes;
let ends: StreamEnd[];
let sockets: Socket[];
let isReachable: boolean;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skep-forward-'));
  socketPath = join(dir, 'api.sock');
  const parts = {
    log: silentLogger,
    clock: new SystemClock(),
    headers: () => ({ Server: 'skep' }),
  };
  manager = new EngineServer(parts);
  node = new EngineServer(parts);
  routes = onlyContainerRoutes(node);
  [ends, sockets] = [[], []];
  isReachable = true;
  const absent = (): never => {
    throw new SkepError('not-found', 'No such container');
  };
  const anywhere = withRemoteContainers(manager, {
    requireContainer: absent,
    requireExec: absent,
    remote: () => ({
      find: (reference) =>
        CONTAINER.startsWith(reference)
          ? {
              containerId: CONTAINER,
              nodeId: 'n' as NodeId,
              hostname: 'worker-1',
              address: '192.0.2.1:2377',
            }
          : null,
      connect: async () => {
        if (!isReachable) throw REFUSED;
        const [one, other] = streamPair(WINDOW_BYTES);
        ends.push(one, other);
        node.accept(new StreamDuplex(other));
        return new StreamDuplex(one);
      },
    }),
  });
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'] as const) {
    for (const path of ['/containers/:id/:verb', '/containers/:id', '/exec/:id/:verb']) {
      anywhere.add(method, path, absent);
    }
  }
  await manager.listen({ path: socketPath });
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await manager.stop();
  await node.stop();
  await rm(dir, { recursive: true, force: true });
});

interface CallOptions {
  readonly method?: string;
  readonly body?: Buffer | string;
  readonly headers?: Record<string, string>;
}

function open(path: string, { method = 'GET', body, headers }: CallOptions = {}) {
  return new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpRequest({
      socketPath,
      path,
      method,
      agent: false,
      ...(headers && { headers }),
    });
    request.on('error', reject);
    request.on('response', resolve);
    request.end(body);
  });
}

async function call(path: string, options: CallOptions = {}) {
  const response = await open(path, options);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { response, status: response.statusCode, body: Buffer.concat(chunks) };
}

const messageOf = (body: Buffer): unknown => JSON.parse(String(body)).message;

describe('a request for a container of another node', () => {
  test('is answered there: by its whole id, with query, version and headers, and keeps the connection', async () => {
    routes.add('GET', '/containers/:id/json', (context) =>
      context.send(200, {
        id: context.param('id'),
        minor: context.apiMinor,
        size: context.text('size'),
        header: context.request.headers['x-registry-auth'],
      }),
    );
    const { response, status, body } = await call('/v1.44/containers/c0ffee/json?size=a/b', {
      headers: { 'X-Registry-Auth': 'xyz', Connection: 'keep-alive' },
    });
    expect([status, response.headers['content-type']]).toEqual([200, 'application/json']);
    expect(response.headers.connection).toBe('keep-alive');
    expect(JSON.parse(String(body))).toEqual({
      id: CONTAINER,
      minor: 44,
      size: 'a/b',
      header: 'xyz',
    });
  });

  test('that fails there fails with the words and status of there', async () => {
    routes.add('POST', '/containers/:id/stop', () => {
      throw new SkepError('conflict', 'container is not running');
    });
    const { status, body } = await call(`/containers/${CONTAINER}/stop`, { method: 'POST' });
    expect([status, messageOf(body)]).toEqual([409, 'container is not running']);
  });

  test('whose node is away says so', async () => {
    isReachable = false;
    const { status, body } = await call('/containers/c0ffee/json');
    expect([status, messageOf(body)]).toEqual([503, REFUSED.message]);
  });

  test('of nobody is refused here', async () => {
    const { status } = await call('/containers/abc/json');
    expect([status, ends]).toEqual([404, []]);
  });

  test.each([
    ['a length', {}],
    ['chunks', { 'Transfer-Encoding': 'chunked' }],
  ])('brings a body with %s, byte by byte', async (_how, headers) => {
    routes.add('PUT', '/containers/:id/archive', async (context) => {
      const chunks: Buffer[] = [];
      for await (const chunk of context.request) chunks.push(chunk as Buffer);
      context.response.end(Buffer.concat(chunks));
    });
    const sent = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 256));
    const { body } = await call('/containers/c0ffee/archive', {
      method: 'PUT',
      body: sent,
      headers,
    });
    expect(body.equals(sent)).toBe(true);
  });

  test('with HEAD brings the headers and no body', async () => {
    routes.add('HEAD', '/containers/:id/archive', (context) => {
      context.response.writeHead(200, { 'X-Docker-Container-Path-Stat': 'e30=' }).end();
    });
    const { response, body } = await call('/containers/c0ffee/archive', { method: 'HEAD' });
    expect([response.headers['x-docker-container-path-stat'], body.length]).toEqual(['e30=', 0]);
  });

  test('with a stream brings headers and pieces as they come', async () => {
    let tell: (text: string) => void = () => {};
    routes.add('GET', '/containers/:id/logs', (context) => {
      const out = context.stream('text/plain');
      tell = (text) => void out.write(text);
    });
    const response = await open('/containers/c0ffee/logs');
    for (const text of ['one', 'two']) {
      tell(text);
      const [chunk] = await new Promise<Buffer[]>((r) => response.once('data', (c) => r([c])));
      expect(String(chunk)).toBe(text);
    }
    response.destroy();
  });

  test('ends there when its client goes away', async () => {
    const aborted = new Promise<unknown>((resolve) => {
      routes.add('GET', '/containers/:id/logs', (context) => {
        context.stream('text/plain').write('begun');
        context.signal.addEventListener('abort', () => resolve(context.signal.reason));
      });
    });
    const response = await open('/containers/c0ffee/logs');
    response.destroy();
    expect(await aborted).toMatchObject({ code: 'cancelled' });
  });

  test('ends there when its client goes away before there is an answer', async () => {
    let begun: () => void = () => {};
    const waits = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const aborted = new Promise<unknown>((resolve) => {
      routes.add('POST', '/containers/:id/wait', (context) => {
        context.signal.addEventListener('abort', () => resolve(context.signal.reason));
        begun();
      });
    });
    const path = '/containers/c0ffee/wait';
    const request = httpRequest({ socketPath, path, method: 'POST', agent: false });
    request.on('error', () => {});
    request.end();
    await waits;
    request.destroy();
    expect(await aborted).toMatchObject({ code: 'cancelled' });
  });

  test('breaks off for its client when the node is lost', async () => {
    routes.add('GET', '/containers/:id/logs', (context) => {
      context.stream('text/plain').write('begun');
    });
    const response = await open('/containers/c0ffee/logs');
    response.once('data', () => ends[0]!.fail(new SkepError('unavailable', 'the node is gone')));
    await expect(
      (async () => {
        for await (const _ of response);
      })(),
    ).rejects.toThrow('aborted');
  });

  test('is read for no further while its client reads nothing', async () => {
    const chunk = Buffer.alloc(64 * 1024);
    let sent = 0;
    routes.add('GET', '/containers/:id/export', async (context) => {
      const out = context.stream('application/x-tar');
      while (!context.signal.aborted) {
        sent += chunk.length;
        if (!out.write(chunk)) await new Promise((resolve) => out.once('drain', resolve));
      }
    });
    const response = await open('/containers/c0ffee/export');
    response.pause();
    let before = -1;
    // Sockets and streams hold some hundreds of KiB each; without back-pressure it would grow for ever.
    await eventually(
      'the node waits for the reader',
      () => {
        const isStill = sent === before;
        before = sent;
        expect(isStill).toBe(true);
      },
      { withinMs: 5000, everyMs: 100 },
    );
    expect(sent).toBeLessThan(8 * 1024 * 1024);
    expect(ends[0]!.unreadBytesMax).toBeLessThanOrEqual(WINDOW_BYTES + 256 * 1024);
    response.destroy();
  });
});

describe('a connection that is taken over', () => {
  const body = '{"Detach":false}';
  const UPGRADE = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';
  const upgrade = (path: string, how = UPGRADE): string =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\n${how}` +
    `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

  function raw(text: string): { socket: Socket; ended: Promise<string>; received: () => string } {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    sockets.push(socket);
    let received = '';
    socket.on('data', (chunk) => {
      received += String(chunk);
    });
    const ended = new Promise<string>((resolve) => {
      socket.on('error', () => {});
      socket.on('close', () => resolve(received));
      socket.on('end', () => socket.end());
    });
    socket.write(text);
    return { socket, ended, received: () => received };
  }

  test.each([
    [UPGRADE, '101 UPGRADED'],
    ['', '200 OK'],
  ])('asked for with %j brings bytes both ways, and half a close', async (how, status) => {
    routes.add('POST', '/exec/:id/start', async (context) => {
      expect(await context.json()).toEqual({ Detach: false });
      const taken = context.hijack(RAW_TYPE);
      taken.write('hello ');
      let text = '';
      taken.on('data', (chunk) => {
        text += String(chunk);
      });
      taken.on('end', () => taken.end(text.toUpperCase()));
    });
    const { socket, ended, received } = raw(upgrade(`/v1.44/exec/${EXEC}/start`, how));
    await eventually('a greeting', () => expect(received()).toContain('hello '), {
      withinMs: 2000,
      everyMs: 5,
    });
    socket.end('input');
    const [head, content] = (await ended).split('\r\n\r\n');
    expect(head!.startsWith(`HTTP/1.1 ${status}\r\n`)).toBe(true);
    expect(head).toContain(`Content-Type: ${RAW_TYPE}`);
    expect(content).toBe('hello INPUT');
  });

  test('is refused with the words of there', async () => {
    routes.add('POST', '/exec/:id/start', async (context) => {
      await context.json();
      throw new SkepError('conflict', 'was started already');
    });
    const { ended } = raw(upgrade(`/exec/${EXEC}/start`));
    expect(await ended).toMatch(/^HTTP\/1\.1 409 .*\{"message":"was started already"\}/s);
  });

  test.each([
    ['the client', 'node', UPGRADE],
    ['the node', 'client', UPGRADE],
    ['the client', 'node', ''],
    ['the node', 'client', ''],
  ])('that %s cuts ends at the %s, asked for with %j', async (who, _where, how) => {
    const closed = new Promise<void>((resolve) => {
      routes.add('POST', '/exec/:id/start', (context) => {
        const taken = context.hijack(RAW_TYPE);
        taken.on('error', () => {});
        taken.write('hello');
        // Half a close and a whole one look alike until something is written.
        const output = setInterval(() => taken.write('more'), 5);
        taken.once('close', () => {
          clearInterval(output);
          resolve();
        });
        taken.resume();
      });
    });
    const { socket, ended, received } = raw(upgrade(`/exec/${EXEC}/start`, how));
    await eventually('a greeting', () => expect(received()).toContain('hello'), {
      withinMs: 2000,
      everyMs: 5,
    });
    if (who === 'the client') {
      socket.destroy();
      await closed;
    } else {
      ends[0]!.cancel(new SkepError('unavailable', 'the node is gone'));
      await ended;
    }
  });
});

test('what is about no container in particular is not served to managers', async () => {
  for (const path of ['/containers/json', '/containers/create', '/containers/prune', '/info']) {
    routes.add('POST', path, (context) => context.empty(200));
  }
  routes.add('GET', '/containers/:id/json', (context) => context.empty(200));
  const [one, other] = streamPair(WINDOW_BYTES);
  node.accept(new StreamDuplex(other));
  const answer = await new Promise<IncomingMessage>((resolve) => {
    httpRequest({ createConnection: () => new StreamDuplex(one), path: '/info', method: 'POST' })
      .once('response', resolve)
      .on('error', () => {})
      .end();
  });
  expect(answer.statusCode).toBe(404);
});
