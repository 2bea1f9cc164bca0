// The external authority's protocol over real TLS, against a small server of our own that speaks CFSSL's sign endpoint.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:https';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { parseCertificate } from '../../common/pki/certificate.ts';
import { isIssuedBy, verifyNodeCertificate } from '../../common/pki/chain.ts';
import { ExternalCaClient } from '../../common/pki/external-ca.ts';
import { IdentityHolder } from '../../common/pki/identity.ts';
import { createRequest, createRoot } from '../../common/pki/issue.ts';
import { TestAuthority } from '../support/identities.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const dir = mkdtempSync(join(tmpdir(), 'external-ca-'));
const file = (name: string): string => join(dir, name);

interface SignRequest {
  readonly certificate_request: string;
  readonly hosts: readonly string[];
  readonly subject: { readonly CN: string; readonly names: readonly Record<string, string>[] };
  readonly profile?: string;
  readonly extensions?: readonly { readonly id: string; readonly value: string }[];
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' });
}

/** As CFSSL: names come from `subject` and `hosts`, the key from the request. OpenSSL does the signing. */
function signed(request: SignRequest): string {
  const { CN, names } = request.subject;
  const parts = names.flatMap((name) =>
    Object.entries(name).map(([key, value]) => `${key}=${value}`),
  );
  const isAuthority = request.profile === 'CA';
  writeFileSync(file('csr'), request.certificate_request);
  writeFileSync(
    file('ext'),
    isAuthority
      ? request.extensions!.map(({ id, value }) => `${id}=critical,DER:${value}`).join('\n')
      : `extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=${request.hosts.map((h) => `DNS:${h}`).join(',')}`,
  );
  openssl(
    ...['x509', '-req', '-in', file('csr'), '-CA', file('root.pem'), '-CAkey', file('root.key')],
    ...['-CAcreateserial', '-days', '30', '-extfile', file('ext'), '-out', file('cert')],
    ...['-subj', `/${[...parts, `CN=${CN}`].join('/')}`],
  );
  return readFileSync(file('cert'), 'utf8');
}

let server: Server;
let url = '';
let respond: (body: string) => string = () => '';
/** who asked last, by its certificate */
let client: string | undefined;
let cluster: TestAuthority;
let external: ExternalCaClient;
let rootPem = '';

beforeAll(async () => {
  const root = await createRoot({ nowMs: clock.wallMs(), random, unit: 'outside' });
  rootPem = root.certPem;
  writeFileSync(file('root.pem'), root.certPem);
  writeFileSync(file('root.key'), root.keyPem);
  writeFileSync(file('ip'), 'subjectAltName=IP:127.0.0.1\n');
  openssl(
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-keyout', file('server.key'), '-out', file('server.csr'), '-subj', '/CN=ca'],
  );
  openssl(
    ...['x509', '-req', '-in', file('server.csr'), '-CA', file('root.pem')],
    ...['-CAkey', file('root.key'), '-CAcreateserial', '-days', '2'],
    ...['-extfile', file('ip'), '-out', file('server.pem')],
  );
  cluster = await TestAuthority.create(clock.wallMs());
  const manager = new IdentityHolder(await cluster.identity('manager', 'm'.repeat(25)));
  external = new ExternalCaClient({ credentials: manager, clock });
  server = createServer(
    {
      cert: readFileSync(file('server.pem')),
      key: readFileSync(file('server.key')),
      ca: cluster.authority.certPem,
      requestCert: true,
      rejectUnauthorized: true,
    },
    (request, response) => {
      client = (request.socket as TLSSocket).getPeerX509Certificate()?.subject;
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => response.end(respond(Buffer.concat(parts).toString())));
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1/cfssl/sign`;
});

afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true });
});

const success = (body: string): string =>
  JSON.stringify({
    success: true,
    result: { certificate: signed(JSON.parse(body) as SignRequest) },
    errors: [],
    messages: [],
  });

describe('an external authority', () => {
  const named = () => ({ protocol: 'cfssl' as const, url, options: {}, certPem: rootPem });

  async function ask() {
    const { csrPem } = await createRequest();
    const parts = { nodeId: 'n'.repeat(25), role: 'manager' as const, clusterId: 'c'.repeat(25) };
    return external.sign(named(), rootPem, { csrPem, ...parts });
  }

  test('signs what a manager asks for, which shows its own certificate', async () => {
    respond = success;
    const certPem = await ask();
    expect(verifyNodeCertificate(certPem, rootPem, clock.wallMs())).toMatchObject({
      nodeId: 'n'.repeat(25),
      role: 'manager',
    });
    expect(parseCertificate(certPem).subjectAltName).toBe(
      `DNS:swarm-manager, DNS:${'n'.repeat(25)}, DNS:swarm-ca`,
    );
    expect(client).toContain(`CN=${'m'.repeat(25)}`);
  });

  test('signs another root across', async () => {
    respond = success;
    const next = await createRoot({ nowMs: clock.wallMs(), random, unit: 'next' });
    const crossed = parseCertificate(await external.crossSign(named(), rootPem, next));
    expect(crossed.ca).toBe(true);
    expect(isIssuedBy(crossed, parseCertificate(rootPem))).toBe(true);
    expect(crossed.publicKey.equals(parseCertificate(next.certPem).publicKey)).toBe(true);
    expect(crossed.subject.split('\n').sort()).toEqual(['CN=swarm-ca', 'OU=next']);
  });

  test.each([
    [
      '{"success":false,"result":null,"errors":[{"code":1,"message":"policy"}]}',
      'it refuses: policy',
    ],
    ['{"success":true,"result":{}}', 'it refuses: no reason given'],
    ['null', 'it refuses'],
    ['<html>', 'its answer is not JSON'],
    ['x'.repeat(300_000), 'its answer is too long'],
  ])('that answers %.60s has not signed', async (answer, words) => {
    respond = () => answer;
    await expect(ask()).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(words),
    });
  });

  test('is there when somebody of that root listens, and not when another does, or nobody', async () => {
    await external.check(named(), rootPem);
    const other = await createRoot({ nowMs: clock.wallMs(), random, unit: 'other' });
    await expect(external.check(named(), other.certPem)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('connect to external CA https://127.0.0.1'),
    });
    const closed = { ...named(), url: 'https://127.0.0.1:1/' };
    await expect(external.check(closed, rootPem)).rejects.toThrow('ECONNREFUSED');
  });
});
