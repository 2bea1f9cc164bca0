import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { certificateDigest, parseNodeCertificate } from '../../../common/pki/certificate.ts';
import { verifyNodeCertificate } from '../../../common/pki/chain.ts';
import { IdentityHolder, identityOf, renewalTimeMs } from '../../../common/pki/identity.ts';
import { createRequest, createRoot, issueNodeCertificate } from '../../../common/pki/issue.ts';

const NOW_MS = Date.UTC(2026, 0, 15, 12);
const HOUR_MS = 3600_000;
const DAY_MS = 24 * HOUR_MS;
const NODE = 'n'.repeat(25);
const CLUSTER = 'c'.repeat(25);
const random = new SeededRandom(1);

async function issue(role: 'worker' | 'manager' = 'worker') {
  const authority = await createRoot({ nowMs: NOW_MS, random });
  const { csrPem, keyPem } = await createRequest();
  const certPem = await issueNodeCertificate({
    authority,
    csrPem,
    nodeId: NODE,
    role,
    clusterId: CLUSTER,
    nowMs: NOW_MS,
    validityMs: 90 * DAY_MS,
    random,
  });
  return { authority, certPem, keyPem };
}

describe('root certificate', () => {
  test('is a P-256 authority named swarm-ca for twenty years, and verifies itself', async () => {
    const { certPem } = await createRoot({ nowMs: NOW_MS, random });
    const root = new X509Certificate(certPem);
    expect(root.subject).toBe('CN=swarm-ca');
    expect(root.ca).toBe(true);
    expect(root.verify(root.publicKey)).toBe(true);
    expect(root.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(Date.parse(root.validTo) - NOW_MS).toBe(20 * 365 * DAY_MS);
    expect(certificateDigest(root)).toMatch(/^[0-9a-z]{50}$/);
  });
});

describe('node certificate', () => {
  test.each([
    ['worker', `DNS:swarm-worker, DNS:${NODE}`],
    ['manager', `DNS:swarm-manager, DNS:${NODE}, DNS:swarm-ca`],
  ] as const)('of a %s names node, role and cluster', async (role, names) => {
    const { authority, certPem } = await issue(role);
    const certificate = new X509Certificate(certPem);
    expect(certificate.subject).toBe(`O=${CLUSTER}\nOU=swarm-${role}\nCN=${NODE}`);
    expect(certificate.subjectAltName).toBe(names);
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(Date.parse(certificate.validFrom)).toBe(NOW_MS - HOUR_MS);
    expect(Date.parse(certificate.validTo)).toBe(NOW_MS + 90 * DAY_MS);
    expect(parseNodeCertificate(certificate)).toEqual({ nodeId: NODE, role, clusterId: CLUSTER });
    expect(verifyNodeCertificate(certPem, authority.certPem, NOW_MS).role).toBe(role);
  });

  test('is refused under another root, and outside its time', async () => {
    const { authority, certPem } = await issue();
    const other = await createRoot({ nowMs: NOW_MS, random });
    const verify = (root: string, nowMs: number) => () =>
      verifyNodeCertificate(certPem, root, nowMs);
    expect(verify(other.certPem, NOW_MS)).toThrow("not issued by this cluster's root");
    expect(verify(authority.certPem, NOW_MS - 2 * HOUR_MS)).toThrow('is valid from');
    expect(verify(authority.certPem, NOW_MS + 91 * DAY_MS)).toThrow('is valid from');
  });

  test('is not issued for a request with a changed signature', async () => {
    const authority = await createRoot({ nowMs: NOW_MS, random });
    const { csrPem } = await createRequest();
    const der = Buffer.from(csrPem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    der[der.length - 5]! ^= 1;
    const body = der.toString('base64');
    const broken = `-----BEGIN CERTIFICATE REQUEST-----\n${body}\n-----END CERTIFICATE REQUEST-----\n`;
    const parts = { nodeId: NODE, role: 'worker', clusterId: CLUSTER, random } as const;
    for (const bad of [broken, 'not a request', '']) {
      await expect(
        issueNodeCertificate({
          ...parts,
          authority,
          csrPem: bad,
          nowMs: NOW_MS,
          validityMs: DAY_MS,
        }),
      ).rejects.toMatchObject({ code: 'invalid-argument' });
    }
  });
});

describe('identity', () => {
  test('needs the key of its certificate', async () => {
    const { authority, certPem } = await issue();
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const parts = { certPem, keyPem, rootPem: authority.certPem };
    expect(() => identityOf(parts, NOW_MS)).toThrow('the key is not that of the certificate');
  });

  test('is renewed between half and four fifths of its life', async () => {
    const { authority, certPem, keyPem } = await issue();
    const identity = identityOf({ certPem, keyPem, rootPem: authority.certPem }, NOW_MS);
    const lifeMs = 90 * DAY_MS + HOUR_MS;
    for (let i = 0; i < 100; i++) {
      const share = (renewalTimeMs(identity, random) - (NOW_MS - HOUR_MS)) / lifeMs;
      expect(share).toBeGreaterThanOrEqual(0.5);
      expect(share).toBeLessThan(0.8);
    }
  });

  test('tells its users when it rotates, until they leave', async () => {
    const { authority, certPem, keyPem } = await issue();
    const identity = identityOf({ certPem, keyPem, rootPem: authority.certPem }, NOW_MS);
    const holder = new IdentityHolder(identity);
    let told = 0;
    const release = holder.onChange(() => told++);
    holder.rotate({ ...identity });
    release();
    holder.rotate({ ...identity });
    expect(told).toBe(1);
    expect(() => holder.rotate({ ...identity, nodeId: 'x' as never })).toThrow('same node');
  });
});
