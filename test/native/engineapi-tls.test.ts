/** The Engine API by TCP with certificates: who gets in, and that streams work as on a unix socket. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { silentLogger } from '../../common/base/log.ts';
import type { ApiSecurity } from '../../daemon/api-hosts.ts';
import { listenAt } from '../../daemon/api-listeners.ts';
import { RAW_TYPE } from '../../daemon/engineapi/frames.ts';
import { EngineServer } from '../../daemon/engineapi/server.ts';
import { STREAMS_MAX } from '../../daemon/engineapi/stream-places.ts';
import { VANISHED_CHECK_PERIOD_MS } from '../../daemon/engineapi/vanished-clients.ts';
import { type CertificateFolder, makeCertificates } from '../support/certificates.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { freePort } from '../support/free-port.ts';

let dir: string;
let daemon: CertificateFolder;
let client: CertificateFolder;
let stranger: CertificateFolder;
let server: EngineServer;
let clock: FakeClock;
let port: number;
let sockets: Socket[];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'skep-tls-'));
  const made = makeCertificates(dir, ['daemon', 'client']);
  [daemon, client] = [made['daemon']!, made['client']!];
  const elsewhere = mkdtempSync(join(dir, 'other-'));
  stranger = makeCertificates(elsewhere, ['stranger'])['stranger']!;
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

beforeEach(async () => {
  sockets = [];
  port = await freePort();
  clock = new FakeClock();
  server = new EngineServer({ log: silentLogger, clock, headers: () => ({}) });
  server.add('GET', '/info', (context) => context.send(200, { Name: 'here' }));
  server.add('POST', '/exec/:id/start', async (context) => {
    await context.json();
    const taken = context.hijack(RAW_TYPE);
    let text = '';
    taken.on('data', (chunk) => {
      text += String(chunk);
    });
    taken.on('end', () => taken.end(text.toUpperCase()));
  });
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await server.stop();
});

const options = () => ({
  ...{ server, group: '', socketMode: 0o660, passed: [], log: silentLogger },
});
async function serve(clientCaPath: string | null): Promise<void> {
  const security: ApiSecurity = {
    kind: 'tls',
    certPath: daemon.cert,
    keyPath: daemon.key,
    clientCaPath,
  };
  await listenAt({ kind: 'tcp', host: '127.0.0.1', port, security }, options());
}
const pem = (path: string): string => readFileSync(path, 'utf8');
const asClient = (own: CertificateFolder | null, ca = daemon.ca) =>
  new EngineClient(`tcp://127.0.0.1:${port}`, undefined, {
    verify: true,
    ca: pem(ca),
    cert: own ? pem(own.cert) : undefined,
    key: own ? pem(own.key) : undefined,
  });

function tlsSocket(): Promise<TLSSocket> {
  const own = { ca: pem(daemon.ca), cert: pem(client.cert), key: pem(client.key) };
  const place = { host: '127.0.0.1', port, allowHalfOpen: true };
  return new Promise((resolve, reject) => {
    const socket = connect({ ...place, ...own } as ConnectionOptions);
    sockets.push(socket);
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });
}

describe('with --tlsverify', () => {
  test('a client with a certificate of the authority is served', async () => {
    await serve(daemon.ca);
    expect(await asClient(client).info()).toMatchObject({ Name: 'here' });
  });

  test.each([
    ['without a certificate', () => asClient(null)],
    ['with a certificate of another authority', () => asClient(stranger)],
  ])('a client %s is refused', async (_who, make) => {
    await serve(daemon.ca);
    await expect(make().info()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a client refuses a daemon of another authority', async () => {
    await serve(daemon.ca);
    await expect(asClient(client, stranger.ca).info()).rejects.toMatchObject({
      code: 'unavailable',
    });
  });

  test('plain HTTP is no answer', async () => {
    await serve(daemon.ca);
    const closed = new Promise<string>((resolve) => {
      const socket = connectTcp(port, '127.0.0.1');
      sockets.push(socket);
      let text = '';
      socket.on('data', (chunk) => {
        text += String(chunk);
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
      socket.write('GET /info HTTP/1.1\r\nHost: x\r\n\r\n');
    });
    expect(await closed).not.toContain('HTTP/1.1 200');
  });

  test('a connection that is taken over keeps half a close', async () => {
    await serve(daemon.ca);
    const socket = await tlsSocket();
    const body = '{}';
    socket.write(
      'POST /exec/x/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n' +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    let text = '';
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    await new Promise((resolve) => socket.once('data', resolve));
    await clock.advance(VANISHED_CHECK_PERIOD_MS); // whether it is there is asked below its records
    socket.end('input');
    await new Promise((resolve) => socket.once('end', resolve));
    expect(text).toMatch(/^HTTP\/1\.1 101 UPGRADED\r\n/);
    expect(text.endsWith('\r\n\r\nINPUT')).toBe(true);
  });

  test('by skep: exec with input', async () => {
    await serve(daemon.ca);
    const { socket } = await asClient(client).execAttach('x', false);
    socket.end('input');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    expect(text).toBe('INPUT');
  });

  test('the daemon ends though a handshake is under way', async () => {
    await serve(daemon.ca);
    const socket = connectTcp(port, '127.0.0.1');
    sockets.push(socket);
    await new Promise((resolve) => socket.once('connect', resolve));
    await server.stop();
  });
});

test('with --tls alone every client is served', async () => {
  await serve(null);
  expect(await asClient(null).info()).toMatchObject({ Name: 'here' });
});

test('a file that is missing is named', async () => {
  const security: ApiSecurity = {
    ...{ kind: 'tls', certPath: '/nowhere/cert.pem', keyPath: daemon.key, clientCaPath: null },
  };
  await expect(
    listenAt({ kind: 'tcp', host: '127.0.0.1', port, security }, options()),
  ).rejects.toMatchObject({
    code: 'invalid-argument',
    message: 'read --tlscert',
    cause: { path: '/nowhere/cert.pem' },
  });
});

describe('a unix socket', () => {
  test('is its group’s and nobody else’s, and goes with its release', async () => {
    const path = join(dir, 'api.sock');
    const release = await listenAt(
      { kind: 'unix', path },
      { ...options(), group: '54321', socketMode: 0o640 },
    );
    const { mode, gid } = statSync(path);
    expect([mode & 0o777, gid]).toEqual([0o640, 54_321]);
    await release();
    expect(() => statSync(path)).toThrow('ENOENT');
  });

  test('is refused to a group that is not there', async () => {
    const path = join(dir, 'none.sock');
    await expect(
      listenAt({ kind: 'unix', path }, { ...options(), group: 'no such group' }),
    ).rejects.toThrow('--group no such group: /etc/group has no such group');
    expect(() => statSync(path)).toThrow('ENOENT');
  });
});

describe('limits', () => {
  let path: string;
  beforeEach(async () => {
    path = join(dir, 'limits.sock');
    await listenAt({ kind: 'unix', path }, options());
  });
  const raw = (text: string): { socket: Socket; ended: Promise<string> } => {
    const socket = connectTcp({ path });
    sockets.push(socket);
    let received = '';
    socket.on('data', (chunk) => {
      received += String(chunk);
    });
    socket.on('error', () => {});
    socket.write(text);
    return { socket, ended: new Promise((resolve) => socket.on('close', () => resolve(received))) };
  };

  test('1,000 streams are open at once, the next one is told to wait, what is none is served', async () => {
    let open = 0;
    const all = new Promise<void>((resolve) => {
      server.add('GET', '/events', (context) => {
        context.stream('application/json');
        if (++open === STREAMS_MAX) resolve();
      });
    });
    const request = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`;
    const streams: ReturnType<typeof raw>[] = [];
    while (streams.length < STREAMS_MAX) {
      const stream = raw(request('/events'));
      streams.push(stream);
      // One after the other: the kernel holds a few hundred that are not accepted yet, and refuses more.
      await new Promise((resolve) => stream.socket.once('connect', resolve));
    }
    await all;
    const last = (target: string): string =>
      request(target).replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');
    expect(await raw(last('/events')).ended).toMatch(
      /^HTTP\/1\.1 503 .*1000 streams are open, which is the most/s,
    );
    expect(await raw(last('/info')).ended).toMatch(/^HTTP\/1\.1 200 /);
    const [first] = streams;
    first!.socket.destroy();
    await first!.ended;
    const { socket } = raw(request('/events'));
    const head = await new Promise((resolve) => socket.once('data', (it) => resolve(String(it))));
    expect(head).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('headers that do not come are waited for 10 s', { timeout: 20_000 }, async () => {
    const startedMs = performance.now();
    expect(await raw('GET /info HTTP/1.1\r\nHost: x\r\nX-Slow: ').ended).toMatch(
      /^HTTP\/1\.1 408 /,
    );
    expect(performance.now() - startedMs).toBeGreaterThan(9_000);
  });
});
