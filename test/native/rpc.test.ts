/** RPC over loopback sockets. Needs no root. */

import { createConnection, createServer, type Server } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { Scope } from '../../common/base/lifecycle.ts';
import { silentLogger } from '../../common/base/log.ts';
import { type Identity, IdentityHolder } from '../../common/pki/identity.ts';
import type { RpcClient } from '../../common/rpc/client.ts';
import { PEER_LIMITS, STREAM_PENDING_BYTES_MAX } from '../../common/rpc/limits.ts';
import {
  type Codec,
  clientStream,
  duplex,
  type MethodParts,
  serverStream,
  unary,
} from '../../common/rpc/method.ts';
import type { Peer } from '../../common/rpc/peer.ts';
import { anonymousClient, type ExpectedPeer, RpcClientPool } from '../../common/rpc/pool.ts';
import { refusesConnections } from '../../common/rpc/refusal.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import { cuttable } from '../support/cuttable.ts';
import { TestAuthority } from '../support/identities.ts';

const clock = new SystemClock();
const text: Codec<string> = {
  encode: (message) => Buffer.from(message),
  decode: (bytes) => {
    const message = Buffer.from(bytes).toString();
    if (message === 'undecodable') throw new Error('no such message');
    return message;
  },
};
const parts = (name: string, roles: MethodParts<string, string>['roles']) => ({
  path: `/skep.Test/${name}`,
  request: text,
  response: text,
  roles,
});
const greet = unary(parts('Greet', ['anyone']));
const manage = unary(parts('Manage', ['manager']));
const work = unary(parts('Work', ['worker', 'manager']));
const count = serverStream(parts('Count', ['worker']));
const collect = clientStream(parts('Collect', ['worker']));
const chat = duplex(parts('Chat', ['worker']));

let authority: TestAuthority;
let stranger: TestAuthority;
let managerId: Identity;
let workerId: Identity;
let scope = new Scope();

beforeAll(async () => {
  authority = await TestAuthority.create(clock.wallMs());
  stranger = await TestAuthority.create(clock.wallMs() + 1);
  managerId = await authority.identity('manager', 'manager-1');
  workerId = await authority.identity('worker', 'worker-1');
});

afterEach(async () => {
  await scope.close();
  scope = new Scope();
});

async function startServer(
  options: { blocked?: string[]; identity?: Identity; port?: number } = {},
) {
  const credentials = new IdentityHolder(options.identity ?? managerId);
  const failures: unknown[] = [];
  const server = new RpcServer({
    credentials,
    clock,
    logger: silentLogger,
    onFailure: (err) => failures.push(err),
    isBlocked: (nodeId) => options.blocked?.includes(nodeId) ?? false,
  });
  scope.defer(() => server.stop());
  await server.listen('127.0.0.1', options.port ?? 0);
  return { server, credentials, failures };
}

function connect(server: { address: string }, identity: Identity, expected?: ExpectedPeer) {
  const pool = new RpcClientPool({ credentials: new IdentityHolder(identity), clock });
  scope.defer(() => pool.close());
  return pool.client(server.address, expected);
}

function converse(server: { address: string }, identity: Identity) {
  const pool = new RpcClientPool({ credentials: new IdentityHolder(identity), clock });
  scope.defer(() => pool.close());
  return pool.session(server.address).duplex(chat, { signal: new AbortController().signal });
}

function outcome(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => value,
    (err) => (err instanceof SkepError ? `${err.code}: ${err.message}` : err),
  );
}

function waitUntil(condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const check = (): void => (condition() ? resolve() : void clock.setTimer(5, check));
    check();
  });
}

describe('caller identity', () => {
  test('comes from the certificate', async () => {
    const { server } = await startServer();
    const peers: Peer[] = [];
    server.handleUnary(work, async (request, { peer, metadata }) => {
      peers.push(peer);
      return `${request} ${metadata.get('colour')}`;
    });
    const client = connect(server, workerId);
    expect(await client.unary(work, 'hello', { metadata: { colour: 'red' } })).toBe('hello red');
    expect(peers).toEqual([
      { nodeId: 'worker-1', role: 'worker', clusterId: authority.clusterId, address: '127.0.0.1' },
    ]);
  });

  test('is absent without a certificate, and only methods for anyone answer', async () => {
    const { server } = await startServer();
    server.handleUnary(greet, async (_, { peer }) => `role ${peer.role}`);
    server.handleUnary(work, async () => 'done');
    for (const rootPem of [null, authority.authority.certPem]) {
      const client = anonymousClient({ address: server.address, rootPem, clock });
      scope.defer(() => client.close());
      expect(await client.unary(greet, '')).toBe('role null');
      expect(await outcome(client.unary(work, ''))).toBe(
        'unauthenticated: call /skep.Test/Work: a certificate of this cluster is needed',
      );
    }
  });

  test('of a worker does not open methods of managers', async () => {
    const { server } = await startServer();
    server.handleUnary(manage, async () => 'done');
    expect(await outcome(connect(server, workerId).unary(manage, ''))).toBe(
      'permission-denied: call /skep.Test/Manage: permission denied: the caller is a worker, the method is for manager',
    );
    expect(await connect(server, managerId).unary(manage, '')).toBe('done');
  });

  test('from another authority is refused with the reason', async () => {
    const { server } = await startServer();
    server.handleUnary(greet, async () => 'hello');
    const forged = await stranger.identity('manager', 'manager-9');
    const identity = { ...forged, rootPem: authority.authority.certPem };
    expect(await outcome(connect(server, identity).unary(greet, ''))).toMatch(
      /^unauthenticated: call \/skep.Test\/Greet: the certificate is refused: it was not issued by this cluster/,
    );
  });

  test('of another cluster under the same root is refused', async () => {
    const { server } = await startServer();
    server.handleUnary(greet, async () => 'hello');
    const other = await authority.identity('worker', 'worker-9', { clusterId: 'other' });
    const identity = { ...other, clusterId: authority.clusterId as never };
    expect(await outcome(connect(server, identity).unary(greet, ''))).toMatch(
      /is for cluster other/,
    );
  });

  test('of a removed node is refused', async () => {
    const { server } = await startServer({ blocked: ['worker-1'] });
    server.handleUnary(greet, async () => 'hello');
    expect(await outcome(connect(server, workerId).unary(greet, ''))).toBe(
      'permission-denied: node worker-1 was removed from swarm',
    );
  });

  test('of the original caller counts when a manager forwards, and only then', async () => {
    const { server } = await startServer();
    server.handleUnary(work, async (_, { peer, forwarded }) => `${peer.nodeId} ${forwarded}`);
    server.handleUnary(manage, async () => 'done');
    const original: Peer = {
      nodeId: 'worker-7' as never,
      role: 'worker',
      clusterId: authority.clusterId,
      address: '10.0.0.7',
    };
    const manager = connect(server, managerId);
    expect(await manager.unary(work, '', { forwardedFor: original })).toBe('worker-7 true');
    expect(await outcome(manager.unary(manage, '', { forwardedFor: original }))).toMatch(
      /^permission-denied: .* the caller is a worker/,
    );
    const worker = connect(server, workerId);
    expect(await outcome(worker.unary(work, '', { forwardedFor: original }))).toBe(
      'permission-denied: forward a call: only managers may forward',
    );
  });
});

describe('server identity', () => {
  test('must be that of a manager, or of the node that is meant', async () => {
    const { server } = await startServer({ identity: workerId });
    server.handleUnary(greet, async () => 'hello');
    expect(await outcome(connect(server, managerId).unary(greet, ''))).toMatch(
      /^unavailable: .*is that of a worker, not of a manager/,
    );
    const other = connect(server, managerId, { nodeId: 'worker-2' });
    expect(await outcome(other.unary(greet, ''))).toMatch(
      /is that of node worker-1, not of worker-2/,
    );
    expect(await connect(server, managerId, { nodeId: 'worker-1' }).unary(greet, '')).toBe('hello');
  });

  test('from another authority is refused', async () => {
    const { server } = await startServer({ identity: await stranger.identity('manager', 'm') });
    server.handleUnary(greet, async () => 'hello');
    expect(await outcome(connect(server, workerId).unary(greet, ''))).toMatch(/^unavailable: /);
    const { certPem: rootPem } = authority.authority;
    const joining = anonymousClient({ address: server.address, rootPem, clock });
    scope.defer(() => joining.close());
    expect(await outcome(joining.unary(greet, ''))).toMatch(/^unavailable: /);
  });

  test('rotates without a restart, on both ends', async () => {
    const { server, credentials } = await startServer();
    server.handleUnary(work, async (_, { peer }) => String(peer.role));
    const holder = new IdentityHolder(workerId);
    const pool = new RpcClientPool({ credentials: holder, clock });
    scope.defer(() => pool.close());
    const client = pool.client(server.address);
    expect(await client.unary(work, '')).toBe('worker');
    const renewed = await authority.identity('manager', 'manager-1');
    credentials.rotate(renewed);
    holder.rotate(await authority.identity('manager', 'worker-1'));
    expect(await client.unary(work, '')).toBe('manager');
    expect(await serverCertificate(server.address)).toBe(pemBody(renewed.certPem));
  });
});

function serverCertificate(address: string): Promise<string> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connectTls(
      { host: host!, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ['h2'] },
      () => {
        resolve(socket.getPeerCertificate().raw.toString('base64'));
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });
}

function pemBody(pem: string): string {
  return pem.replace(/-----[^-]+-----|\s/g, '');
}

describe('errors', () => {
  test('come out as they went in, with code, words and details', async () => {
    const { server } = await startServer();
    server.handleUnary(greet, async () => {
      throw new SkepError('not-leader', 'write: this is not the leader (ä)', {
        cause: new Error('term 7'),
        details: { leaderAddress: '10.0.0.3:2377', note: 'ü' },
      });
    });
    const err = await connect(server, workerId)
      .unary(greet, '')
      .catch((e: unknown) => e);
    expect(err).toBeInstanceOf(SkepError);
    expect(err).toMatchObject({
      code: 'not-leader',
      message: 'write: this is not the leader (ä): term 7',
      details: { leaderAddress: '10.0.0.3:2377', note: 'ü' },
    });
  });

  test('that nobody expected do not leak their words', async () => {
    const { server, failures } = await startServer();
    server.handleUnary(greet, async () => {
      throw new TypeError('secret words');
    });
    expect(await outcome(connect(server, workerId).unary(greet, ''))).toBe(
      'internal: internal error: see the log of the manager',
    );
    expect(failures).toEqual([]);
  });

  test('name a request that cannot be decoded', async () => {
    const { server } = await startServer();
    server.handleUnary(greet, async () => 'hello');
    expect(await outcome(connect(server, workerId).unary(greet, 'undecodable'))).toBe(
      'invalid-argument: call /skep.Test/Greet: decode the request: no such message',
    );
  });

  test('tell of a method that is not served, also after it was withdrawn', async () => {
    const { server } = await startServer();
    const client = connect(server, workerId);
    expect(await outcome(client.unary(greet, ''))).toMatch(/^unimplemented: /);
    const release = server.handleUnary(greet, async () => 'hello');
    expect(() => server.handleUnary(greet, async () => 'again')).toThrow('served already');
    expect(await client.unary(greet, '')).toBe('hello');
    release();
    expect(await outcome(client.unary(greet, ''))).toMatch(/^unimplemented: /);
  });

  test('tell of a message over the limit', async () => {
    const { server } = await startServer();
    server.handleUnary(greet, async () => 'hello');
    const big = 'x'.repeat(4 * 1024 * 1024 + 1);
    expect(await outcome(connect(server, workerId).unary(greet, big))).toMatch(
      /^resource-exhausted: /,
    );
  });
});

describe('time', () => {
  test('of a call is limited, and the handler is told', async () => {
    const { server } = await startServer();
    let aborted = false;
    server.handleUnary(greet, async (_, { signal }) => {
      await clock.sleep(10_000, signal).catch(() => {
        aborted = true;
      });
      return 'late';
    });
    const client = connect(server, workerId);
    await outcome(client.unary(work, '')); // connected from here on
    expect(await outcome(client.unary(greet, '', { timeoutMs: 100 }))).toMatch(
      /^deadline-exceeded: /,
    );
    await waitUntil(() => aborted);
  });

  test('ends with the signal of the caller, and its reason', async () => {
    const { server } = await startServer();
    let begun = false;
    let aborted = false;
    server.handleUnary(greet, async (_, { signal }) => {
      begun = true;
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      await clock.sleep(10_000, signal);
      return 'late';
    });
    const abort = new AbortController();
    const call = connect(server, workerId).unary(greet, '', { signal: abort.signal });
    const refused = expect(call).rejects.toThrow('enough');
    await waitUntil(() => begun);
    abort.abort(new Error('enough'));
    await refused;
    await waitUntil(() => aborted);
    await expect(
      connect(server, workerId).unary(greet, '', { signal: abort.signal }),
    ).rejects.toThrow('enough');
  });

  test('is not lost on an address where nobody listens', async () => {
    const { server } = await startServer();
    const { address } = server;
    await server.stop();
    const startMs = clock.monotonicMs();
    expect(await outcome(connect({ address }, workerId).unary(greet, ''))).toMatch(
      /^unavailable: .*ECONNREFUSED/,
    );
    expect(clock.monotonicMs() - startMs).toBeLessThan(1_000);
  });

  test('is not spent at a stop on connections that never shake hands', async () => {
    const { server } = await startServer();
    const [host, port] = server.address.split(':') as [string, string];
    const socket = createConnection(Number(port), host);
    scope.defer(() => void socket.destroy());
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {}); // a reset is fine
    await new Promise((resolve) => socket.once('connect', resolve));
    await clock.sleep(50); // until the server has it
    const startedMs = clock.monotonicMs();
    await server.stop();
    await closed;
    expect(clock.monotonicMs() - startedMs).toBeLessThan(2000);
  });

  test('is limited while connecting to something that does not answer', async () => {
    const silent: Server = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    scope.defer(() => {
      silent.close();
    });
    const { port } = silent.address() as { port: number };
    const client = connect({ address: `127.0.0.1:${port}` }, workerId);
    expect(await outcome(client.unary(greet, '', { timeoutMs: 200 }))).toMatch(
      /^unavailable: connect to 127.0.0.1:\d+: no answer within 200 ms/,
    );
  });
});

async function collectAll<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

describe('streams', () => {
  test('of responses end with the handler, or with its error after what came before', async () => {
    const { server } = await startServer();
    server.handleServerStream(count, async (request, out, { signal }) => {
      for (let i = 0; i < 100; i++) await out.send(String(i), signal);
      if (request === 'fail') throw new SkepError('conflict', 'no more numbers');
    });
    const client = connect(server, workerId);
    expect(await collectAll(await client.serverStream(count, ''))).toHaveLength(100);
    const stream = await client.serverStream(count, 'fail');
    const seen: string[] = [];
    const reading = (async () => {
      for await (const item of stream) seen.push(item);
    })();
    expect(await outcome(reading)).toBe('conflict: no more numbers');
    expect(seen).toHaveLength(100);
  });

  test('of requests are answered once', async () => {
    const { server } = await startServer();
    server.handleClientStream(collect, async (requests) => (await collectAll(requests)).join('+'));
    const call = await connect(server, workerId).clientStream(collect);
    for (const word of ['a', 'b', 'c']) await call.send(word);
    expect(await call.finish()).toBe('a+b+c');
  });

  test('of requests that came long before they are read are whole', async () => {
    const { server } = await startServer();
    server.handleClientStream(collect, async (requests) => {
      const messages: string[] = [];
      await clock.sleep(50);
      for await (const message of requests) {
        messages.push(message);
        await clock.sleep(2);
      }
      return messages.join();
    });
    const call = await connect(server, workerId).clientStream(collect);
    for (const message of ['a', 'b', 'c']) await call.send(message);
    expect(await call.finish()).toBe('a,b,c');
  });

  test('of requests that are cut off do not pass for complete ones', async () => {
    const { server } = await startServer();
    const ends: unknown[] = [];
    let received = 0;
    server.handleClientStream(collect, async (requests) => {
      for (;;) {
        const message = await requests.next().catch((err: Error) => err.name);
        if (message === null || message === 'CancelledError') return String(ends.push(message));
        received++;
      }
    });
    const call = await connect(server, workerId).clientStream(collect);
    await call.send('a');
    await waitUntil(() => received === 1);
    call.cancel();
    await waitUntil(() => ends.length === 1);
    expect(ends).toEqual(['CancelledError']);
    expect(await outcome(call.finish())).toMatch(/^cancelled: /);
  });

  test('in both directions are independent', async () => {
    const { server } = await startServer();
    server.handleDuplex(chat, async (stream) => {
      await stream.send('welcome');
      for await (const message of stream) await stream.send(message.toUpperCase());
      await stream.send('bye');
    });
    const stream = await converse(server, workerId);
    expect(await stream.next()).toBe('welcome');
    await stream.send('one');
    expect(await stream.next()).toBe('ONE');
    stream.end();
    expect(await stream.next()).toBe('bye');
    expect(await stream.next()).toBe(null);
    expect(() => stream.write('late')).toThrow('the stream was ended');
  });

  test('for another role are refused', async () => {
    const { server } = await startServer();
    server.handleDuplex(chat, async () => {});
    const stream = await converse(server, managerId);
    expect(await outcome(stream.next())).toMatch(/^permission-denied: /);
  });

  test('between managers are given up when their connection is cut, and made anew', async () => {
    const { server } = await startServer();
    server.handleServerStream(count, async (request, out, { signal }) => {
      await out.send(request);
      await clock.sleep(60_000, signal);
    });
    const link = await cuttable(scope, server.address);
    const pool = new RpcClientPool({ credentials: new IdentityHolder(workerId), clock });
    scope.defer(() => pool.close());
    const manager = pool.peer(link.address);
    const stream = await manager.serverStream(count, 'one');
    expect(await stream.next()).toBe('one');
    link.cut();
    const cutMs = clock.monotonicMs();
    expect(await outcome(stream.next())).toMatch(/^unavailable: /);
    expect(clock.monotonicMs() - cutMs).toBeLessThan(
      PEER_LIMITS.keepalivePeriodMs + PEER_LIMITS.keepaliveTimeoutMs + 1_000,
    );
    link.heal();
    const next = await manager.serverStream(count, 'two');
    expect(await next.next()).toBe('two');
    next.cancel();
  });

  test('that break with their server fail as unavailable, and the handler is gone', async () => {
    const { server } = await startServer();
    let ended = false;
    server.handleDuplex(chat, async (stream, { signal }) => {
      try {
        await stream.next(signal);
      } finally {
        ended = true;
      }
    });
    const stream = await converse(server, workerId);
    stream.write('');
    const second = await converse(server, workerId);
    const reading = outcome(second.next());
    await clock.sleep(50);
    await server.stop();
    expect(ended).toBe(true);
    expect(await reading).toMatch(/^unavailable: /);
    expect(() => second.write('late')).toThrow(SkepError);
  });

  test('cut off by their client abort the handler', async () => {
    const { server } = await startServer();
    const reasons: unknown[] = [];
    let started = 0;
    server.handleDuplex(chat, async (stream, { signal }) => {
      started++;
      await stream.next().catch((err: unknown) => reasons.push(err));
      await clock.sleep(10_000, signal).catch(() => reasons.push('aborted'));
    });
    const stream = await converse(server, workerId);
    const reading = stream.next();
    await waitUntil(() => started === 1);
    stream.cancel(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    await waitUntil(() => reasons.length === 2);
    expect(reasons).toEqual([expect.objectContaining({ name: 'CancelledError' }), 'aborted']);
  });

  test('are cut when the node is disconnected', async () => {
    const { server } = await startServer();
    server.handleDuplex(chat, async (stream, { signal }) => {
      await stream.send('hello');
      await stream.next(signal);
    });
    const stream = await converse(server, workerId);
    expect(await stream.next()).toBe('hello');
    server.disconnect('worker-1');
    expect(await outcome(stream.next())).toMatch(/^unavailable: /);
  });

  test('ask a fast sender to wait, and refuse one who does not', async () => {
    const { server } = await startServer();
    let received = 0;
    let reading = false;
    server.handleDuplex(chat, async (stream, { signal }) => {
      while (!reading) await clock.sleep(10, signal);
      while ((await stream.next(signal)) !== null) received++;
    });
    const stream = await converse(server, workerId);
    const block = 'x'.repeat(1024 * 1024);
    let sent = 0;
    const overfill = (): void => {
      for (let i = 0; i <= STREAM_PENDING_BYTES_MAX; i += block.length, sent++) stream.write(block);
    };
    // Kernel, window and receiver take some first; then nothing moves.
    for (let stuck = false; !stuck; ) {
      expect(overfill).toThrow(/wait for a slow peer/);
      const wait = new AbortController();
      clock.setTimer(200, () => wait.abort(new Error('still full')));
      stuck = await stream.drained(wait.signal).then(
        () => false,
        (err: Error) => err.message === 'still full',
      );
    }
    reading = true;
    await stream.drained();
    stream.end();
    expect(await stream.next()).toBe(null);
    expect(received).toBe(sent);
  });
});

test('a client survives a restart of its server', async () => {
  const { server } = await startServer();
  server.handleUnary(greet, async () => 'first');
  const client: RpcClient = connect(server, workerId);
  expect(await client.unary(greet, '')).toBe('first');
  const port = Number(server.address.split(':')[1]);
  await server.stop();
  await outcome(client.unary(greet, ''));
  const next = await startServer({ port });
  next.server.handleUnary(greet, async () => 'second');
  const answers: unknown[] = [];
  for (let i = 0; i < 50 && answers.at(-1) !== 'second'; i++) {
    answers.push(await outcome(client.unary(greet, '')));
    await clock.sleep(50);
  }
  expect(answers.at(-1)).toBe('second');
});

test('a client that is told of its server does not wait after a connection that failed', async () => {
  const { server } = await startServer();
  const { address } = server;
  await server.stop();
  const pool = new RpcClientPool({ credentials: new IdentityHolder(workerId), clock });
  scope.defer(() => pool.close());
  const greeting = (): Promise<unknown> => outcome(pool.peer(address).unary(greet, ''));
  // Each failure makes the next wait longer, up to RECONNECT_MAX_MS.
  for (let i = 0; i < 20; i++) {
    expect(await greeting()).toMatch(/^unavailable: /);
    await clock.sleep(100);
  }
  const next = await startServer({ port: Number(address.split(':')[1]) });
  next.server.handleUnary(greet, async () => 'hello');
  pool.heard(address);
  expect(await greeting()).toBe('hello');
});

describe('connections', () => {
  const never = new AbortController().signal;
  const listening = async (server: Server): Promise<string> => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    scope.defer(() => void server.close());
    return `127.0.0.1:${(server.address() as { port: number }).port}`;
  };

  test('are refused where nobody listens', async () => {
    const server = createServer();
    const address = await listening(server);
    server.close();
    expect(await refusesConnections(address, { clock, signal: never })).toBe(true);
  });

  test('are not refused by a server that says nothing', async () => {
    const server = createServer();
    const address = await listening(server);
    expect(await refusesConnections(address, { clock, signal: never })).toBe(false);
  });

  test('are refused by a process that ends after its kernel accepted one', async () => {
    const server = createServer((socket) => {
      server.close();
      socket.resetAndDestroy();
    });
    const address = await listening(server);
    expect(await refusesConnections(address, { clock, signal: never })).toBe(true);
  });

  test('are not refused by a server that turns everybody away', async () => {
    const server = createServer((socket) => void socket.resetAndDestroy());
    const address = await listening(server);
    expect(await refusesConnections(address, { clock, signal: never })).toBe(false);
  });

  test('are given up on abort', async () => {
    const server = createServer();
    const address = await listening(server);
    const abort = new AbortController();
    const asked = refusesConnections(address, { clock, signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(asked).rejects.toThrow('enough');
  });
});
