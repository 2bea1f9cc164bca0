import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import type { RequestListener, Server } from 'node:http';
import http from 'node:http';
import https from 'node:https';
import { type AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SystemClock } from '../../../common/base/clock.ts';
import { describeError } from '../../../common/base/errors.ts';
import { RegistryClient } from '../../../worker/images/registry-client.ts';
import {
  type EndpointOptions,
  RegistryEndpoint,
} from '../../../worker/images/registry-endpoint.ts';
import { NO_PROXIES, ProxyRules } from '../../../worker/images/registry-settings.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { noTokens } from '../../support/no-tokens.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';
import { makeCertificates, type TestCertificates } from '../../support/test-certificates.ts';

const folder = temporaryFolders();
const ended: (() => unknown)[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const end of ended.splice(0).reverse()) await end();
});

/** Its host with port. */
async function listening(server: Server, port = 0): Promise<string> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  ended.push(() => stopped(server));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function stopped(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

const ok: RequestListener = (_request, response) => void response.end('{}');

function tlsServer(files: TestCertificates, listener = ok, more: https.ServerOptions = {}): Server {
  const pair = { cert: readFileSync(files.certificate), key: readFileSync(files.key) };
  return https.createServer({ ...pair, ...more }, listener);
}

function endpointTo(host: string, options: Partial<EndpointOptions> = {}): RegistryEndpoint {
  const endpoint = new RegistryEndpoint({
    clock: new SystemClock(),
    host,
    isInsecure: () => false,
    certificateDirs: [],
    scheme: null,
    proxies: new ProxyRules(NO_PROXIES),
    ...options,
  });
  ended.push(() => endpoint.close());
  return endpoint;
}

/** The status of a GET, or the words of its failure. */
async function get(endpoint: RegistryEndpoint, url?: string): Promise<number | string> {
  try {
    const response = await endpoint.request(url ?? `${await endpoint.baseUrl()}/v2/`);
    await buffer(response);
    return response.statusCode ?? 0;
  } catch (err) {
    return describeError(err);
  }
}

describe('registry endpoint', () => {
  test('an authority that is added after a failure counts from the next request on', async () => {
    const files = makeCertificates(await folder());
    const host = await listening(tlsServer(files));
    const certificates = await folder();
    const endpoint = endpointTo(host, { certificateDirs: [certificates] });
    expect(await get(endpoint)).toContain('certificate signed by unknown authority "Test CA"');
    mkdirSync(join(certificates, host));
    copyFileSync(files.ca, join(certificates, host, 'ca.crt'));
    expect(await get(endpoint)).toBe(200);
  });

  test('so does a certificate of the client, on connections that are open as well', async () => {
    const files = makeCertificates(await folder());
    const authority = readFileSync(files.ca);
    const listener: RequestListener = (request, response) => {
      const isKnown = (request.socket as TLSSocket).getPeerCertificate().subject !== undefined;
      response.writeHead(isKnown ? 200 : 400).end();
    };
    const more = { ca: authority, requestCert: true, rejectUnauthorized: false };
    const host = await listening(tlsServer(files, listener, more));
    const certificates = await folder();
    mkdirSync(join(certificates, host));
    copyFileSync(files.ca, join(certificates, host, 'ca.crt'));
    const endpoint = endpointTo(host, { certificateDirs: [certificates] });
    expect(await get(endpoint)).toBe(400);
    copyFileSync(files.clientKey, join(certificates, host, 'client.key'));
    copyFileSync(files.clientCertificate, join(certificates, host, 'client.cert'));
    expect(await get(endpoint)).toBe(200);
  });

  test('an insecure host that changes its scheme is found again, both ways', async () => {
    const files = makeCertificates(await folder());
    const first = http.createServer(ok);
    const host = await listening(first);
    const port = Number(host.split(':')[1]);
    const endpoint = endpointTo(host, { isInsecure: () => true });
    expect([await endpoint.baseUrl(), await get(endpoint)]).toEqual([`http://${host}`, 200]);
    await stopped(first);
    const second = tlsServer(files);
    await listening(second, port);
    await get(endpoint);
    expect([await endpoint.baseUrl(), await get(endpoint)]).toEqual([`https://${host}`, 200]);
    await stopped(second);
    await listening(http.createServer(ok), port);
    await get(endpoint);
    expect([await endpoint.baseUrl(), await get(endpoint)]).toEqual([`http://${host}`, 200]);
  });

  test('an answer of 400 to plain HTTP does not show that a host speaks it', async () => {
    let status = 400;
    const host = await listening(
      http.createServer((_request, response) => void response.writeHead(status).end()),
    );
    const endpoint = endpointTo(host, { isInsecure: () => true });
    await expect(endpoint.baseUrl()).rejects.toThrow('server gave HTTP response to HTTPS client');
    status = 200;
    expect(await endpoint.baseUrl()).toBe(`http://${host}`);
    status = 400;
    await get(endpoint);
    await expect(endpoint.baseUrl()).rejects.toThrow('server gave HTTP response to HTTPS client');
  });

  test('what is allowed for an insecure registry is not for hosts that it names', async () => {
    const files = makeCertificates(await folder());
    const other = await listening(tlsServer(files));
    const host = await listening(tlsServer(files));
    const endpoint = endpointTo(host, { isInsecure: (name) => name === host });
    expect(await get(endpoint)).toBe(200);
    expect(await get(endpoint, `https://${other}/token`)).toContain('unknown authority "Test CA"');
  });

  test('a certificate of this client is shown to its own host alone, its authorities count for others', async () => {
    const files = makeCertificates(await folder());
    const listener: RequestListener = (request, response) => {
      const isKnown = (request.socket as TLSSocket).getPeerCertificate().subject !== undefined;
      response.writeHead(isKnown ? 200 : 204).end();
    };
    const more = { requestCert: true, rejectUnauthorized: false };
    const other = await listening(tlsServer(files, listener, more));
    const host = await listening(tlsServer(files, listener, more));
    const certificates = await folder();
    mkdirSync(join(certificates, host));
    copyFileSync(files.ca, join(certificates, host, 'ca.crt'));
    copyFileSync(files.clientKey, join(certificates, host, 'client.key'));
    copyFileSync(files.clientCertificate, join(certificates, host, 'client.cert'));
    const endpoint = endpointTo(host, { certificateDirs: [certificates] });
    expect([await get(endpoint), await get(endpoint, `https://${other}/`)]).toEqual([200, 204]);
  });

  test('a registry behind TLS has no password sent to a token service in the clear', async () => {
    const files = makeCertificates(await folder());
    const seen: (string | undefined)[] = [];
    const plain = await listening(
      http.createServer((request, response) => {
        seen.push(request.headers.authorization);
        response.end('{"token":"t"}');
      }),
    );
    const listener: RequestListener = ({ headers }, response) => {
      const challenge = { 'WWW-Authenticate': `Bearer realm="http://${plain}/token",service="r"` };
      if (headers.authorization === 'Bearer t') response.end('{}');
      else response.writeHead(401, challenge).end();
    };
    const host = await listening(tlsServer(files, listener));
    const certificates = await folder();
    mkdirSync(join(certificates, host));
    copyFileSync(files.ca, join(certificates, host, 'ca.crt'));
    const manifest = async (insecure: string | null): Promise<string> => {
      const isInsecure = (name: string): boolean => name === insecure;
      const endpoint = endpointTo(host, { certificateDirs: [certificates], isInsecure });
      const client = new RegistryClient({
        ...{ endpoint, repository: 'web', domain: host, clock: new SystemClock() },
        ...{ auth: { username: 'alice', password: 'secret' }, exchange: noTokens },
      });
      return client.manifest('1').then(String, describeError);
    };
    const words = `get token from http://${plain}/token: led from TLS to plain HTTP`;
    expect([await manifest(null), seen]).toEqual([words, []]);
    expect([await manifest(plain), seen]).toEqual(['{}', ['Basic YWxpY2U6c2VjcmV0']]);
  });

  test('a host to which there is no connection in ten seconds is given up', async () => {
    // As of an address that drops what comes.
    const connects = vi.spyOn(Socket.prototype, 'connect').mockImplementation(function (
      this: Socket,
    ) {
      Object.assign(this, { connecting: true });
      return this;
    });
    const clock = new FakeClock();
    const endpoint = endpointTo('127.0.0.1:1', { clock });
    let said: number | string = '';
    const asked = get(endpoint, 'http://127.0.0.1:1/v2/').then((words) => {
      said = words;
    });
    await expect.poll(() => connects.mock.calls.length, { interval: 2 }).toBe(1);
    await settle();
    await clock.advance(9_999);
    await settle();
    expect(said).toBe('');
    await clock.advance(1);
    await expect.poll(() => said, { interval: 2 }).toContain('no answer in 10000 ms');
    await asked;
  });
});
