/** Links over loopback sockets. Needs no root. */
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { Scope } from '../../common/base/lifecycle.ts';
import { silentLogger } from '../../common/base/log.ts';
import { type Identity, IdentityHolder } from '../../common/pki/identity.ts';
import { encodeFrame } from '../../common/rpc/frames.ts';
import { LINK_LIMITS, PEER_LIMITS } from '../../common/rpc/limits.ts';
import { LINK_PROTOCOL, type Link } from '../../common/rpc/link.ts';
import { type Codec, link } from '../../common/rpc/method.ts';
import { RpcClientPool } from '../../common/rpc/pool.ts';
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
const chat = link({
  path: '/skep.Test/Chat',
  request: text,
  response: text,
  roles: ['manager'],
});

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

/** A server that answers each message in capitals, and what it heard. */
async function startServer(options: { blocked?: string[]; identity?: Identity } = {}) {
  const heard: string[] = [];
  const server = new RpcServer({
    credentials: new IdentityHolder(options.identity ?? managerId),
    clock,
    logger: silentLogger,
    onFailure: () => {},
    isBlocked: (nodeId) => options.blocked?.includes(nodeId) ?? false,
  });
  scope.defer(() => server.stop());
  await server.listen('127.0.0.1', 0);
  const release = server.handleLink(chat, (served, peer) => ({
    receive: (message) => {
      heard.push(`${peer.nodeId}: ${message}`);
      if (message === 'enough') served.end();
      else if (message === 'conflict') throw new SkepError('conflict', 'say: it was said before');
      else if (message === 'bug') throw new Error('a secret');
      else served.write(message.toUpperCase());
    },
    ended: () => heard.push('ended'),
  }));
  return { server, heard, release };
}

async function open(address: string, identity: Identity) {
  const pool = new RpcClientPool({ credentials: new IdentityHolder(identity), clock });
  scope.defer(() => pool.close());
  const answers: string[] = [];
  const end: Link<string> = await pool.link(
    chat,
    address,
    (message) => answers.push(message),
    new AbortController().signal,
  );
  scope.defer(() => end.cancel());
  return { link: end, answers };
}

/** How opening a link and sending on it ends. */
async function refusal(address: string, identity: Identity): Promise<unknown> {
  const { link: end } = await open(address, identity);
  end.write('hello');
  return outcome(end.ended);
}

function outcome(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'ended well',
    (err) => (err instanceof SkepError ? `${err.code}: ${err.message}` : err),
  );
}

function waitUntil(condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const check = (): void => (condition() ? resolve() : void clock.setTimer(5, check));
    check();
  });
}

/** A client that says what it likes. */
function rawClient(address: string, { certPem, keyPem }: Identity): Promise<TLSSocket> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connectTls(
      {
        ...{ host: host!, port: Number(port), cert: certPem, key: keyPem },
        rejectUnauthorized: false,
        ALPNProtocols: [LINK_PROTOCOL],
      },
      () => resolve(socket),
    );
    socket.on('error', reject);
    scope.defer(() => void socket.destroy());
  });
}

async function wordsOf(socket: TLSSocket): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

describe('a link', () => {
  test('carries messages both ways in their order, large ones too', async () => {
    const { server, heard } = await startServer();
    const { link: end, answers } = await open(server.address, managerId);
    const large = 'x'.repeat(1_000_000);
    for (const message of ['one', large, 'two']) if (!end.write(message)) await end.drained();
    await waitUntil(() => answers.length === 3);
    expect(answers).toEqual(['ONE', large.toUpperCase(), 'TWO']);
    expect(heard.map((words) => words.slice(0, 14))).toEqual([
      'manager-1: one',
      'manager-1: xxx',
      'manager-1: two',
    ]);
    end.cancel();
    await waitUntil(() => heard.at(-1) === 'ended');
  });

  test('ends well when the server ends it, after what was said before', async () => {
    const { server } = await startServer();
    const { link: end, answers } = await open(server.address, managerId);
    end.write('one');
    end.write('enough');
    expect(await outcome(end.ended)).toBe('ended well');
    expect(answers).toEqual(['ONE']);
  });

  test('tells why it ended: the code and the words of the server, but none that nobody expected', async () => {
    const { server } = await startServer();
    const first = await open(server.address, managerId);
    first.link.write('conflict');
    expect(await outcome(first.link.ended)).toBe('conflict: say: it was said before');
    const second = await open(server.address, managerId);
    second.link.write('bug');
    expect(await outcome(second.link.ended)).toMatch(/^internal: internal error/);
    const third = await open(server.address, managerId);
    third.link.write('undecodable');
    expect(await outcome(third.link.ended)).toMatch(/^invalid-argument: .*decode a message/);
    expect(() => third.link.write('late')).toThrow(/decode a message/);
  });

  test('is opened by a certificate with the right role, of a node that was not removed', async () => {
    const { server, heard } = await startServer({ blocked: ['manager-2'] });
    expect(await refusal(server.address, workerId)).toBe(
      'permission-denied: call /skep.Test/Chat: permission denied: the caller is a worker, the method is for manager',
    );
    const removed = await authority.identity('manager', 'manager-2');
    expect(await refusal(server.address, removed)).toBe(
      'permission-denied: node manager-2 was removed from swarm',
    );
    const forged = await stranger.identity('manager', 'manager-9');
    const { rootPem } = managerId;
    expect(await refusal(server.address, { ...forged, rootPem })).toMatch(
      /^unauthenticated: .* the certificate is refused: it was not issued by this cluster/,
    );
    expect(heard).toEqual([]);
  });

  test('is opened only to a manager of this cluster', async () => {
    const { server } = await startServer({ identity: workerId });
    await expect(open(server.address, managerId)).rejects.toMatchObject({
      code: 'unavailable',
      cause: { message: expect.stringContaining('is that of a worker, not of a manager') },
    });
    const other = await startServer({ identity: await stranger.identity('manager', 'm') });
    await expect(open(other.server.address, managerId)).rejects.toMatchObject({
      code: 'unavailable',
    });
  });

  test('is refused for what is not served, and for what is no link', async () => {
    const { server, release } = await startServer();
    release();
    expect(await refusal(server.address, managerId)).toMatch(/^unimplemented: /);
    const early = await rawClient(server.address, managerId);
    early.write(encodeFrame('message', Buffer.from('hello')));
    expect(await wordsOf(early)).toMatch('it begins without its method');
    const large = await rawClient(server.address, managerId);
    large.write(encodeFrame('open', Buffer.alloc(LINK_LIMITS.openBytesMax + 1)));
    expect(await wordsOf(large)).toMatch('bytes are outside');
  });

  test('that is never opened is cut, also when its client says that it lives', async () => {
    const { server } = await startServer();
    const client = await rawClient(server.address, managerId);
    const alive = clock.setPeriodic(
      100,
      () => void client.write(encodeFrame('alive', Buffer.alloc(0))),
    );
    scope.defer(() => alive.cancel());
    const openedMs = clock.monotonicMs();
    await wordsOf(client).catch(() => {}); // the end of it may be a reset
    const { alivePeriodMs, silentPeriodsMax } = LINK_LIMITS;
    expect(clock.monotonicMs() - openedMs).toBeLessThan(alivePeriodMs * (silentPeriodsMax + 2));
  }, 10_000);

  test('is cut when its node is disconnected, or the server stops', async () => {
    const { server, heard } = await startServer();
    const first = await open(server.address, managerId);
    first.link.write('one');
    await waitUntil(() => first.answers.length === 1);
    server.disconnect('manager-1');
    expect(await outcome(first.link.ended)).toMatch(/^unavailable: /);
    const second = await open(server.address, managerId);
    second.link.write('two');
    await waitUntil(() => second.answers.length === 1);
    await server.stop();
    expect(await outcome(second.link.ended)).toMatch(/^unavailable: /);
    await waitUntil(() => heard.filter((words) => words === 'ended').length === 2);
  });

  test('is given up by both ends when its connection is cut, and held while nobody speaks', async () => {
    const { server, heard } = await startServer();
    const way = await cuttable(scope, server.address);
    const { link: end, answers } = await open(way.address, managerId);
    const limitMs = PEER_LIMITS.keepalivePeriodMs + PEER_LIMITS.keepaliveTimeoutMs;
    await clock.sleep(limitMs + 500);
    end.write('still here');
    await waitUntil(() => answers.length === 1);
    way.cut();
    const cutMs = clock.monotonicMs();
    expect(await outcome(end.ended)).toMatch(/^unavailable: .*the other end is silent/);
    await waitUntil(() => heard.at(-1) === 'ended');
    expect(clock.monotonicMs() - cutMs).toBeLessThan(limitMs + 1_500);
  }, 15_000);
});
