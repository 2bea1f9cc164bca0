/** What a server of gRPC says to clients that are not ours. Loopback only; needs no root. */
import { connect, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { Scope } from '../../common/base/lifecycle.ts';
import { silentLogger } from '../../common/base/log.ts';
import { type Identity, IdentityHolder } from '../../common/pki/identity.ts';
import { encodeGrpcMessage } from '../../common/rpc/grpc-messages.ts';
import { MESSAGE_BYTES_MAX } from '../../common/rpc/limits.ts';
import { type Codec, unary } from '../../common/rpc/method.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import { TestAuthority } from '../support/identities.ts';

const clock = new SystemClock();
const text: Codec<string> = {
  encode: (message) => Buffer.from(message),
  decode: (bytes) => Buffer.from(bytes).toString(),
};
const manage = unary({
  path: '/skep.Test/Manage',
  request: text,
  response: text,
  roles: ['manager'],
});
const greet = unary({ path: '/skep.Test/Greet', request: text, response: text, roles: ['anyone'] });

let identity: Identity;
let scope = new Scope();

beforeAll(async () => {
  identity = await (await TestAuthority.create(clock.wallMs())).identity('manager', 'manager-1');
});

afterEach(async () => {
  await scope.close();
  scope = new Scope();
});

async function startServer(): Promise<RpcServer> {
  const server = new RpcServer({
    credentials: new IdentityHolder(identity),
    clock,
    logger: silentLogger,
    onFailure: (err) => {
      throw err;
    },
  });
  scope.defer(() => server.stop());
  await server.listen('127.0.0.1', 0);
  return server;
}

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One stream on a connection of its own. `body` is sent in two parts where it has more than one byte. */
async function ask(
  { address }: { readonly address: string },
  headers: IncomingHttpHeaders,
  body: Buffer,
): Promise<Answer> {
  const session = connect(`https://${address}`, { rejectUnauthorized: false });
  scope.defer(() => session.destroy());
  const stream = session.request({
    ...{ ':method': 'POST', ':path': greet.path, 'content-type': 'application/grpc' },
    ...headers,
  });
  const answer = { headers: {}, trailers: {}, body: Buffer.alloc(0) };
  stream.on('response', (given) => Object.assign(answer.headers, given));
  stream.on('trailers', (given) => Object.assign(answer.trailers, given));
  stream.on('data', (chunk: Buffer) => {
    answer.body = Buffer.concat([answer.body, chunk]);
  });
  const middle = body.length >> 1;
  stream.write(body.subarray(0, middle));
  stream.end(body.subarray(middle));
  await new Promise<void>((resolve, reject) => {
    stream.on('close', resolve);
    stream.on('error', reject);
  });
  return answer;
}

describe('a client of gRPC', () => {
  test('is answered with headers, a message and a good status', async () => {
    const server = await startServer();
    server.handleUnary(greet, async (name, { metadata }) => `hello ${name} ${metadata.get('x-a')}`);
    const request = encodeGrpcMessage(Buffer.from('you'));
    const { headers, trailers, body } = await ask(server, { 'x-a': 'there' }, request);
    expect(headers).toMatchObject({ ':status': 200, 'content-type': 'application/grpc' });
    expect(body).toEqual(encodeGrpcMessage(Buffer.from('hello you there')));
    expect(trailers['grpc-status']).toBe('0');
  });

  test.each([
    ['a method that nobody serves', { ':path': '/skep.Test/Other' }, 'you', '12'],
    ['a request without a message', {}, null, '3'],
  ])('is told at once of %s', async (_what, headers, message, status) => {
    const server = await startServer();
    server.handleUnary(greet, async () => 'hello');
    const body = message === null ? Buffer.alloc(0) : encodeGrpcMessage(Buffer.from(message));
    expect((await ask(server, headers, body)).headers['grpc-status']).toBe(status);
  });

  test('may not compress, nor send more than the limit', async () => {
    const server = await startServer();
    server.handleUnary(greet, async () => 'hello');
    const compressed = encodeGrpcMessage(Buffer.from('you'));
    compressed[0] = 1;
    expect((await ask(server, {}, compressed)).headers['grpc-status']).toBe('12');
    const large = encodeGrpcMessage(Buffer.from('you'));
    large.writeUInt32BE(MESSAGE_BYTES_MAX + 1, 1);
    expect((await ask(server, {}, large)).headers['grpc-status']).toBe('8');
  });

  test('is told when its time is over, and the handler too', async () => {
    const server = await startServer();
    let aborted = false;
    server.handleUnary(greet, async (_, { signal }) => {
      await clock.sleep(10_000, signal).catch(() => {
        aborted = true;
      });
      return 'late';
    });
    const request = encodeGrpcMessage(Buffer.from('you'));
    const { headers } = await ask(server, { 'grpc-timeout': '50m' }, request);
    expect(headers['grpc-status']).toBe('4');
    expect(aborted).toBe(true);
  });

  test('of which nothing is known but HTTP/2 is told that this is no web server', async () => {
    const server = await startServer();
    const answer = await ask(server, { 'content-type': 'text/html' }, Buffer.from('you'));
    expect(answer.headers[':status']).toBe(415);
  });

  test('that may not call is told before its request has come', async () => {
    const server = await startServer();
    server.handleUnary(manage, async () => 'done');
    const begun = encodeGrpcMessage(Buffer.alloc(1000)).subarray(0, 100);
    const session = connect(`https://${server.address}`, { rejectUnauthorized: false });
    scope.defer(() => session.destroy());
    const stream = session.request({
      ...{ ':method': 'POST', ':path': manage.path, 'content-type': 'application/grpc' },
    });
    stream.write(begun);
    const headers = await new Promise<IncomingHttpHeaders>((resolve) => {
      stream.on('response', resolve);
    });
    expect(headers['grpc-status']).toBe('16');
  });
});

test('a connection that speaks no HTTP/2 is closed, and leaves the next one its own', async () => {
  const server = await startServer();
  let calls = 0;
  server.handleUnary(greet, async (_, { peer }) => `${++calls} ${peer.address}`);
  const [host = '', port = ''] = server.address.split(':');
  const other = connectTls({ host, port: Number(port), rejectUnauthorized: false });
  await new Promise((resolve) => other.on('close', resolve).on('error', () => {}));
  const { body } = await ask(server, {}, encodeGrpcMessage(Buffer.from('you')));
  expect(body.subarray(5).toString()).toBe('1 127.0.0.1');
});
