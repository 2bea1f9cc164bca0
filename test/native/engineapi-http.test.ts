/** The HTTP surface over a real unix socket, byte by byte where clients depend on it. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request as httpRequest } from 'node:http';
import { connect, Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import { RAW_TYPE } from '../../daemon/engineapi/frames.ts';
import type { RequestContext } from '../../daemon/engineapi/http-context.ts';
import { HEAD_UNREAD_MS_MAX } from '../../daemon/engineapi/read-head.ts';
import { EngineServer } from '../../daemon/engineapi/server.ts';

const BODY_BYTES_MAX = 4 * 1024 * 1024;

const clock = new SystemClock();

let dir: string;
let socketPath: string;
let server: EngineServer;
let sockets: Socket[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skep-http-'));
  socketPath = join(dir, 'api.sock');
  server = new EngineServer({ log: silentLogger, clock, headers: () => ({ Swarm: 'inactive' }) });
  sockets = [];
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await server.stop();
  await rm(dir, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

function call(path: string, options: { method?: string; body?: string | Buffer } = {}) {
  return new Promise<Answer>((resolve, reject) => {
    const { method = 'GET', body } = options;
    const request = httpRequest({ socketPath, path, method, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString(),
        }),
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** A raw connection, and all that came back on it until its end. */
function raw(text: string): {
  socket: Socket;
  ended: Promise<string>;
  sees: (word: string) => Promise<string>;
} {
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  sockets.push(socket);
  let received = '';
  socket.on('data', (chunk) => {
    received += String(chunk);
  });
  const ended = new Promise<string>((resolve) => {
    socket.on('error', () => resolve(received));
    socket.on('close', () => resolve(received));
    socket.on('end', () => {
      socket.end();
      resolve(received);
    });
  });
  const sees = (word: string): Promise<string> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!received.includes(word)) return;
        socket.off('data', look);
        resolve(received);
      };
      socket.on('data', look);
      look();
    });
  socket.write(text);
  return { socket, ended, sees };
}

const echoJson = async (context: RequestContext): Promise<void> =>
  context.send(200, { body: await context.json(), minor: context.apiMinor });

describe('answers', () => {
  test('are JSON of exactly that type, with the headers of every answer', async () => {
    server.add('GET', '/info', (context) => context.send(200, { a: 1 }));
    await server.listen({ path: socketPath });
    const { status, headers, text } = await call('/v1.44/info');
    expect([status, JSON.parse(text)]).toEqual([200, { a: 1 }]);
    expect(headers).toMatchObject({ 'content-type': 'application/json', swarm: 'inactive' });
  });

  test.each(['/nothing', '/v1.44/nothing', '//', '//info', '/%'])(
    'for the unknown path %s are "page not found"',
    async (path) => {
      server.add('GET', '/info', (context) => context.send(200, {}));
      await server.listen({ path: socketPath });
      const { status, headers, text } = await call(path);
      expect([status, JSON.parse(text)]).toEqual([404, { message: 'page not found' }]);
      expect(headers['content-type']).toBe('application/json');
    },
  );

  test('of a known path by another method are "page not found" as well', async () => {
    server.add('GET', '/info', (context) => context.send(200, {}));
    await server.listen({ path: socketPath });
    expect((await call('/info', { method: 'DELETE' })).status).toBe(404);
  });

  test.each([
    [new SkepError('version-conflict', 'update out of sequence'), 500, 'update out of sequence'],
    [new SkepError('name-conflict', 'taken'), 409, 'taken'],
    [new SkepError('not-a-manager', 'no manager'), 503, 'no manager'],
    [new SkepError('invalid-argument', 'a', { cause: new Error('b') }), 400, 'a: b'],
    [new Error('unforeseen'), 500, 'unforeseen'],
  ])('for the failure %s are %i', async (err, status, message) => {
    server.add('GET', '/fail', () => {
      throw err;
    });
    await server.listen({ path: socketPath });
    const answer = await call('/fail');
    expect([answer.status, JSON.parse(answer.text)]).toEqual([status, { message }]);
    expect(answer.headers['content-type']).toBe('application/json');
  });
});

test('a connection that cannot be accepted ends neither the daemon nor the listener', async () => {
  const listening = vi.spyOn(NetServer.prototype, 'listen');
  server.add('GET', '/info', (context) => context.send(200, {}));
  await server.listen({ path: socketPath });
  const [listener] = listening.mock.contexts as NetServer[];
  listening.mockRestore();
  // Node tells of a failed accept so.
  listener!.emit('error', new Error('accept EMFILE'));
  expect((await call('/info')).status).toBe(200);
});

describe('API versions', () => {
  test.each([
    ['/x', 50],
    ['/v1.50/x', 50],
    ['/v1.24/x', 24],
  ])('%s is served as 1.%i', async (path, minor) => {
    server.add('POST', '/x', echoJson);
    await server.listen({ path: socketPath });
    const { text } = await call(path, { method: 'POST', body: '{"a":[1]}' });
    expect(JSON.parse(text)).toEqual({ body: { a: [1] }, minor });
  });

  test.each([
    ['/v1.51/x', 'client version 1.51 is too new. Maximum supported API version is 1.50'],
    ['/v2.0/x', 'client version 2.0 is too new. Maximum supported API version is 1.50'],
    [
      '/v1.23/x',
      'client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
    ],
  ])('%s is refused', async (path, message) => {
    await server.listen({ path: socketPath });
    const { status, text } = await call(path);
    expect([status, JSON.parse(text)]).toEqual([400, { message }]);
  });
});

describe('requests', () => {
  test.each<[string, boolean]>([
    ['', false],
    ['f', false],
    ['f=', false],
    ['f=0', false],
    ['f=No', false],
    ['f=FALSE', false],
    ['f=none', false],
    ['f=%200%20', false],
    ['f=1', true],
    ['f=true', true],
    ['f=x', true],
  ])('the flag of ?%s is %s', async (query, expected) => {
    server.add('GET', '/x', (context) => context.send(200, context.flag('f')));
    await server.listen({ path: socketPath });
    expect(JSON.parse((await call(`/x?${query}`)).text)).toBe(expected);
  });

  test.each([
    ['version=12', 200],
    ['version=', 400],
    ['version=-1', 400],
    ['', 400],
  ])('a number ?%s is %i', async (query, status) => {
    server.add('GET', '/x', (context) => context.send(200, context.integer('version')));
    await server.listen({ path: socketPath });
    expect((await call(`/x?${query}`)).status).toBe(status);
  });

  test('without a body or with null say {}, with a damaged one are refused', async () => {
    server.add('POST', '/x', echoJson);
    await server.listen({ path: socketPath });
    expect(JSON.parse((await call('/x', { method: 'POST' })).text).body).toEqual({});
    expect(JSON.parse((await call('/x', { method: 'POST', body: 'null' })).text).body).toEqual({});
    expect((await call('/x', { method: 'POST', body: '{' })).status).toBe(400);
  });

  test('that are refused after they were read whole leave the connection to the next one', async () => {
    server.add('POST', '/x', echoJson);
    await server.listen({ path: socketPath });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const post = (body: string) =>
      new Promise<{ status: number; socket: unknown }>((resolve, reject) => {
        const sent = httpRequest({ socketPath, path: '/x', method: 'POST', agent }, (response) => {
          const { statusCode = 0, socket } = response;
          response.resume().once('end', () => resolve({ status: statusCode, socket }));
        });
        sent.on('error', reject);
        sent.end(body);
      });
    const [first, second] = [await post('{'), await post('{}')];
    expect([first.status, second.status]).toEqual([400, 200]);
    expect(second.socket).toBe(first.socket);
    agent.destroy();
  });

  test('with a body over the limit are refused with an answer', async () => {
    server.add('POST', '/x', echoJson);
    await server.listen({ path: socketPath });
    const body = Buffer.alloc(BODY_BYTES_MAX + 1, 0x20);
    const head = `POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;
    const { socket, sees } = raw(head);
    socket.write(body);
    expect(await sees('over 4194304 bytes')).toMatch(/^HTTP\/1\.1 400 /);
  });

  test('whose body is given up by who reads it are refused with an answer', async () => {
    server.add('POST', '/x', async (context) => {
      const body = context.bodyStream();
      for await (const chunk of body) {
        body.destroy();
        throw new SkepError('invalid-argument', `no archive: ${(chunk as Buffer).length} bytes`);
      }
    });
    await server.listen({ path: socketPath });
    const { sees } = raw('POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nwords');
    expect(await sees('no archive: 5 bytes')).toMatch(/^HTTP\/1\.1 400 [\s\S]*Connection: close/);
    const whole = await call('/x', { method: 'POST', body: 'words' });
    expect(whole).toMatchObject({ status: 400, text: '{"message":"no archive: 5 bytes"}\n' });
  });

  test('end for their handler when the client goes away', async () => {
    const aborted = new Promise<unknown>((resolve) => {
      server.add('GET', '/x', (context) => {
        context.stream('text/plain').write('begun');
        context.signal.addEventListener('abort', () => resolve(context.signal.reason));
      });
    });
    await server.listen({ path: socketPath });
    const { socket, sees } = raw('GET /x HTTP/1.1\r\nHost: x\r\n\r\n');
    await sees('begun');
    socket.destroy();
    expect(await aborted).toMatchObject({ code: 'cancelled' });
  });
});

describe('a connection that is taken over', () => {
  /** Answers with what it was sent, in capitals, when the client is done. */
  const capitals = async (context: RequestContext): Promise<void> => {
    const { greeting = '' } = (await context.json()) as { greeting?: string };
    answerInCapitals(context, greeting);
  };
  const answerInCapitals = (context: RequestContext, greeting: string): void => {
    const socket = context.hijack(RAW_TYPE);
    socket.write(greeting);
    let text = '';
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    socket.on('end', () => socket.end(text.toUpperCase()));
  };
  const body = '{"greeting":"hello "}';
  const upgrade = (path: string, rest: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${rest}`;

  test.each(['at once', 'later'])(
    'is upgraded; a body and input that come %s are told apart; half a close is not a close',
    async (when) => {
      server.add('POST', '/exec', capitals);
      await server.listen({ path: socketPath });
      const { socket, ended, sees } = raw(upgrade('/exec', when === 'at once' ? `${body}in` : ''));
      if (when === 'later') {
        await new Promise((resolve) => setImmediate(resolve));
        socket.write(`${body}in`);
      }
      await sees('hello ');
      socket.end('put');
      const [head, content] = (await ended).split('\r\n\r\n');
      expect(head).toMatch(/^HTTP\/1\.1 101 UPGRADED\r\n/);
      expect(head).toContain(`Content-Type: ${RAW_TYPE}`);
      expect(head).toContain('Upgrade: tcp');
      expect(content).toBe('hello INPUT');
    },
  );

  test.each([
    ['/exec', 'input'],
    ['/exec', 'GET / HTTP/1.1\r\n\r\n'],
    ['/attach', 'input'],
  ])(
    'is so without an upgrade too: at %s %j is input, no request; half a close is not a close',
    async (path, input) => {
      server.add('POST', '/exec', capitals);
      server.add('POST', '/attach', (context) => answerInCapitals(context, 'hello '));
      await server.listen({ path: socketPath });
      const content = path === '/exec' ? body : '';
      const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${content.length}\r\n\r\n`;
      const { socket, ended, sees } = raw(head + content);
      await sees('hello ');
      socket.write(input.slice(0, 3));
      await new Promise((resolve) => setImmediate(resolve));
      socket.end(input.slice(3));
      const text = await ended;
      expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(text.slice(text.indexOf('\r\n\r\n') + 4)).toBe(`hello ${input.toUpperCase()}`);
    },
  );

  test('a refusal of an upgrade is an ordinary answer, after which the connection ends', async () => {
    await server.listen({ path: socketPath });
    const { ended } = raw(upgrade('/nothing', body));
    const text = await ended;
    expect(text).toMatch(/^HTTP\/1\.1 404 /);
    expect(text).toContain('{"message":"page not found"}');
  });

  /** What a client gets, in the pieces in which it reads it, that begins to read when `until` has come. */
  async function readBySlowClient(
    until: (taken: Promise<void>) => Promise<void>,
  ): Promise<string[]> {
    let tell = (): void => {};
    const taken = new Promise<void>((resolve) => {
      tell = resolve;
    });
    server.add('POST', '/exec', async (context) => {
      const socket = context.hijack(RAW_TYPE);
      setImmediate(tell); // what is written at once has been by then
      await context.headWasRead();
      socket.end('output');
    });
    await server.listen({ path: socketPath });
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    sockets.push(socket);
    socket.pause(); // what comes meanwhile it reads together
    socket.write(upgrade('/exec', body));
    await until(taken);
    const pieces: string[] = [];
    socket.on('data', (piece) => pieces.push(String(piece)));
    socket.resume();
    await once(socket, 'end');
    return pieces;
  }

  test('carries nothing before its client has read the head, where that can be told', async () => {
    const [head, ...output] = await readBySlowClient((taken) => taken);
    expect(head).toMatch(/\r\n\r\n$/);
    expect(output.join('')).toBe('output');
  });

  test('that is not read for long gets its output all the same', async () => {
    const [first] = await readBySlowClient(() => sleep(HEAD_UNREAD_MS_MAX + 500));
    expect(first).toMatch(/\r\n\r\noutput$/);
  });

  test('ends with the server', async () => {
    server.add('POST', '/exec', (context) => {
      context.hijack(RAW_TYPE).on('error', () => {});
    });
    await server.listen({ path: socketPath });
    const { ended, sees } = raw(upgrade('/exec', body));
    await sees('101 UPGRADED');
    await server.stop();
    await ended;
  });
});
