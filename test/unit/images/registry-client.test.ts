import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../../common/base/clock.ts';
import { describeError } from '../../../common/base/errors.ts';
import type { RegistryAuth } from '../../../worker/images/registry-authorizer.ts';
import { RegistryClient } from '../../../worker/images/registry-client.ts';
import { RegistryEndpoint } from '../../../worker/images/registry-endpoint.ts';
import { isTransient } from '../../../worker/images/registry-errors.ts';
import { NO_PROXIES, ProxyRules } from '../../../worker/images/registry-settings.ts';
import { noTokens } from '../../support/no-tokens.ts';

let server: Server | null = null;
let endpoint: RegistryEndpoint | null = null;

afterEach(async () => {
  endpoint?.close();
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
});

/** Wall and monotonic time of the machine, put forward by hand. */
class AheadClock extends SystemClock {
  aheadMs = 0;

  override monotonicMs(): number {
    return super.monotonicMs() + this.aheadMs;
  }
}

async function serving(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  server = http.createServer(answer);
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clock = new AheadClock();
  const made = new RegistryEndpoint({
    ...{ clock, host, isInsecure: () => true, certificateDirs: [], scheme: 'http' },
    proxies: new ProxyRules(NO_PROXIES),
  });
  endpoint = made;
  const client = (auth: RegistryAuth | null = null): RegistryClient =>
    new RegistryClient({
      ...{ endpoint: made, repository: 'web', auth, clock },
      ...{ domain: made.host, exchange: noTokens },
    });
  return { clock, client };
}

/** Of one manifest, as text. */
async function manifest(client: RegistryClient): Promise<string> {
  try {
    return (await client.manifest('1')).toString();
  } catch (err) {
    return describeError(err);
  }
}

describe('registry client', () => {
  test('an error with a long page is told by its status, and another attempt may cure it', async () => {
    const { client } = await serving((_request, response) => {
      response.writeHead(502, { 'Content-Type': 'text/html' }).end('<p>'.repeat(1_000_000));
    });
    const failure = await client()
      .manifest('1')
      .catch((err: unknown) => err);
    expect(failure).toMatchObject({ status: 502 });
    expect(isTransient(failure)).toBe(true);
  });

  test('a long pause that the registry asks for is kept by all who are the same user', async () => {
    let asked = 0;
    let retryAfter = '600';
    const { clock, client } = await serving((_request, response) => {
      asked++;
      if (retryAfter === '') response.end('{}');
      else response.writeHead(429, { 'Retry-After': retryAfter }).end();
    });
    const words = 'toomanyrequests: too many requests';
    expect([await manifest(client()), await manifest(client()), asked]).toEqual([words, words, 1]);
    retryAfter = '';
    expect(await manifest(client({ username: 'alice', password: 'x' }))).toBe('{}');
    clock.aheadMs = 599_000;
    expect([await manifest(client()), asked]).toEqual([words, 2]);
    clock.aheadMs = 601_000;
    expect([await manifest(client()), asked]).toEqual(['{}', 3]);
  });

  test('a short pause is for the caller to wait for, an endless one is not believed', async () => {
    let retryAfter = '30';
    const { clock, client } = await serving((_request, response) => {
      if (retryAfter === '') response.end('{}');
      else response.writeHead(429, { 'Retry-After': retryAfter }).end();
    });
    await manifest(client());
    retryAfter = '999999999';
    await manifest(client());
    retryAfter = '';
    expect(await manifest(client())).toContain('toomanyrequests');
    clock.aheadMs = 3_601_000;
    expect(await manifest(client())).toBe('{}');
  });
});
