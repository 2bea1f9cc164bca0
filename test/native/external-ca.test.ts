// The external authority's protocol over real TLS, against a small server of our own that speaks CFSSL's sign endpoint.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:https';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../common/model/cluster.ts';
import { parseCertificate } from '../../common/pki/certificate.ts';
import { isIssuedBy, verifyNodeCertificate } from '../../common/pki/chain.ts';
import { ExternalCaClient } from '../../common/pki/external-ca.ts';
import { IdentityHolder } from '../../common/pki/identity.ts';
import { createRequest, createRoot } from '../../common/pki/issue.ts';
import { joinThroughAny } from '../../common/rpc/join-cluster.ts';
import { createCluster } from '../../manager/ca/bootstrap.ts';
import { TestAuthority } from '../support/identities.ts';
import { idleSwarmNode, initRequest } from '../support/swarm-node.ts';

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
/** that asks nobody who it is */
let openServer: Server;
let openUrl = '';
let respond: (body: string) => string = () => '';
/** who asked last, by its certificate */
let client: string | undefined;
/** that clients sent */
const serverNames: string[] = [];
let cluster: TestAuthority;
let external: ExternalCaClient;
let rootPem = '';

beforeAll(async () => {
  const root = await createRoot({ nowMs: clock.wallMs(), random, unit: 'outside' });
  rootPem = root.certPem;
  writeFileSync(file('root.pem'), root.certPem);
  writeFileSync(file('root.key'), root.keyPem);
  writeFileSync(file('ip'), 'subjectAltName=IP:127.0.0.1,IP:::ffff:127.0.0.1\n');
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
  [server, url] = await serve(true);
  [openServer, openUrl] = await serve(false);
});

/** @param knowsClients refuses those whose certificate is not of the cluster */
async function serve(knowsClients: boolean): Promise<[Server, string]> {
  const made = createServer(
    {
      cert: readFileSync(file('server.pem')),
      key: readFileSync(file('server.key')),
      ca: cluster.authority.certPem,
      requestCert: true,
      rejectUnauthorized: knowsClients,
      SNICallback: (name, answer) => {
        serverNames.push(name);
        answer(null);
      },
    },
    (request, response) => {
      client = (request.socket as TLSSocket).getPeerX509Certificate()?.subject;
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => response.end(respond(Buffer.concat(parts).toString())));
    },
  );
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
  const { port } = made.address() as AddressInfo;
  return [made, `https://127.0.0.1:${port}/api/v1/cfssl/sign`];
}

afterAll(async () => {
  for (const one of [server, openServer]) await new Promise((resolve) => one.close(resolve));
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

  test('signs for the first manager of a new cluster, if it need not know who asks', async () => {
    respond = success;
    const failed: string[] = [];
    const create = (at: string) =>
      createCluster({
        ...{ random, nowMs: clock.wallMs() },
        spec: { ...DEFAULT_CLUSTER_SPEC, externalCas: [{ ...named(), url: at }] },
        external: {
          failed: ({ url: asked }) => failed.push(asked),
          signer: (current) => new ExternalCaClient({ credentials: { current }, clock }),
          nowMs: () => clock.wallMs(),
        },
      });
    const { cluster: made, identity } = await create(openUrl);
    expect(made.rootCa).toMatchObject({
      certPem: parseCertificate(rootPem).toString(),
      keyPem: '',
    });
    expect(verifyNodeCertificate(identity.certPem, rootPem, clock.wallMs())).toMatchObject({
      ...{ nodeId: identity.nodeId, role: 'manager', clusterId: made.id },
    });
    expect(failed).toEqual([]);
    await expect(create(url)).rejects.toMatchObject({ code: 'unavailable' });
    expect(failed).toEqual([url]);
  });

  test('signs for who joins a cluster that was made with it', async () => {
    respond = success;
    const externalCas = [{ ...named(), url: openUrl }];
    const request = await initRequest({ ...DEFAULT_CLUSTER_SPEC, externalCas });
    const failures: unknown[] = [];
    mkdirSync(file('node'));
    const node = idleSwarmNode(file('node'), (err) => failures.push(err));
    try {
      await node.init(request);
      const { rootCa } = await node.requireManager().control.getCluster();
      const token = rootCa.joinTokens.worker;
      const parts = { token, availability: 'active' as const, clock };
      const identity = await joinThroughAny([request.listenAddress], parts);
      expect(verifyNodeCertificate(identity.certPem, rootPem, clock.wallMs()).role).toBe('worker');
      expect(client).toContain('CN=');
    } finally {
      await node.stop();
    }
    expect(failures).toEqual([]);
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
    await external.check(
      { ...named(), url: url.replace('127.0.0.1', '[::ffff:127.0.0.1]') },
      rootPem,
    );
    expect(serverNames).toEqual([]); // an address is no server name
    const other = await createRoot({ nowMs: clock.wallMs(), random, unit: 'other' });
    await expect(external.check(named(), other.certPem)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('connect to external CA https://127.0.0.1'),
    });
    const closed = { ...named(), url: 'https://127.0.0.1:1/' };
    await expect(external.check(closed, rootPem)).rejects.toThrow('ECONNREFUSED');
  });
});
