/**
 * Making certificates: the cluster's root, requests of nodes, node certificates. The X.509 library
 * takes half a second to load, so that it is loaded at first use.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, webcrypto } from 'node:crypto';
import { assert } from '../base/assert.ts';
import { SkepError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { NodeRole } from '../model/node.ts';
import { CA_NAME, ROLE_UNITS } from './certificate.ts';

const DAY_MS = 24 * 3600 * 1000;
const ROOT_VALIDITY_MS = 20 * 365 * DAY_MS;
/** Certificates begin this long ago, so that clocks may differ. */
export const BACKDATE_MS = 3600 * 1000;
const SERIAL_BYTES = 16;
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** By OpenSSL's names. */
const CURVES: Readonly<Record<string, { readonly namedCurve: string; readonly hash: string }>> = {
  prime256v1: { namedCurve: 'P-256', hash: 'SHA-256' },
  secp384r1: { namedCurve: 'P-384', hash: 'SHA-384' },
  secp521r1: { namedCurve: 'P-521', hash: 'SHA-512' },
};
const RSA_BITS_MIN = 2048;

/** A certificate authority's own pair, PEM. Never changed: what is made of it is kept as long as the object. */
export interface CertificateAuthority {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface CertificateRequest {
  /** PKCS#10, PEM */
  readonly csrPem: string;
  /** stays with the node */
  readonly keyPem: string;
}

export interface NodeCertificateParts {
  readonly authority: CertificateAuthority;
  readonly csrPem: string;
  readonly nodeId: string;
  readonly role: NodeRole;
  readonly clusterId: string;
  /** now, ms since 1970 */
  readonly nowMs: number;
  /** > 0; the part before now is added */
  readonly validityMs: number;
  readonly random: Random;
}

type X509 = typeof import('@peculiar/x509');
type Name = import('@peculiar/x509').Name;
interface SigningAlgorithm {
  readonly name: string;
  readonly hash: string;
  readonly namedCurve?: string;
}
let loading: Promise<X509> | null = null;

function loadX509(): Promise<X509> {
  loading ??= (async () => {
    await import('reflect-metadata'); // needed by the library before its first line
    return import('@peculiar/x509');
  })();
  return loading;
}

/**
 * A self-signed root: ECDSA P-256, valid for 20 years, CN `swarm-ca`. One that follows another has a unit (OU) of its own:
 * OpenSSL finds issuers by their names.
 */
export async function createRoot(options: {
  readonly nowMs: number;
  readonly random: Random;
  /** default: none */
  readonly unit?: string;
}): Promise<CertificateAuthority> {
  const x509 = await loadX509();
  const keyPem = newKeyPem();
  const { unit } = options;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: newSerial(options.random),
      name: unit === undefined ? `CN=${CA_NAME}` : `OU=${unit}, CN=${CA_NAME}`,
      notBefore: new Date(options.nowMs - BACKDATE_MS),
      notAfter: new Date(options.nowMs + ROOT_VALIDITY_MS),
      keys: await keyPair(keyPem),
      signingAlgorithm: ECDSA,
      extensions: authorityExtensions(x509),
    },
    webcrypto,
  );
  return { certPem: `${certificate.toString('pem')}\n`, keyPem };
}

/**
 * `certPem`, the root that is to come, signed by `authority`, the present one: who trusts the present one trusts what the
 * other issues when it sees this. It ends with the one that ends first.
 */
export async function crossSign(parts: {
  readonly authority: CertificateAuthority;
  readonly certPem: string;
  readonly random: Random;
}): Promise<string> {
  const x509 = await loadX509();
  const { issuerName, signingKey, algorithm, notAfter } = await signerOf(x509, parts.authority);
  const next = new x509.X509Certificate(parts.certPem);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: newSerial(parts.random),
      subject: next.subjectName,
      issuer: issuerName,
      notBefore: next.notBefore,
      notAfter: new Date(Math.min(next.notAfter.getTime(), notAfter.getTime())),
      publicKey: next.publicKey,
      signingKey,
      signingAlgorithm: algorithm,
      extensions: authorityExtensions(x509),
    },
    webcrypto,
  );
  return `${certificate.toString('pem')}\n`;
}

/** A request of an authority for a certificate of its own name and key, for who is to sign it across. */
export async function createAuthorityRequest(authority: CertificateAuthority): Promise<string> {
  const x509 = await loadX509();
  const { subjectName, publicKey } = new x509.X509Certificate(authority.certPem);
  const { privateKey, algorithm } = await importKey(authority.keyPem);
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      name: subjectName,
      keys: { privateKey, publicKey: await publicKey.export(algorithm, ['verify'], webcrypto) },
      signingAlgorithm: algorithm,
    },
    webcrypto,
  );
  return `${request.toString('pem')}\n`;
}

function authorityExtensions(x509: X509) {
  return [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
  ];
}

/** A fresh key and a request for it. Names in it mean nothing: the authority sets them. */
export async function createRequest(): Promise<CertificateRequest> {
  const x509 = await loadX509();
  const keyPem = newKeyPem();
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    { name: 'CN=node', keys: await keyPair(keyPem), signingAlgorithm: ECDSA },
    webcrypto,
  );
  return { csrPem: `${request.toString('pem')}\n`, keyPem };
}

/**
 * A node certificate: CN node id, OU role, O cluster id; alternative names role, node id and, for
 * managers, `swarm-ca`. Throws `invalid-argument` for a request that is damaged or not signed by
 * its own key.
 */
export async function issueNodeCertificate(parts: NodeCertificateParts): Promise<string> {
  const x509 = await loadX509();
  const publicKey = await requestedKey(x509, parts.csrPem);
  const { authority, nodeId, role, clusterId, nowMs, validityMs } = parts;
  const { issuerName, signingKey, algorithm } = await signerOf(x509, authority);
  const names = certificateNames(role, nodeId);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: newSerial(parts.random),
      subject: `O=${clusterId}, OU=${ROLE_UNITS[role]}, CN=${nodeId}`,
      issuer: issuerName,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + validityMs),
      publicKey,
      signingKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
          true,
        ),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.serverAuth,
          x509.ExtendedKeyUsage.clientAuth,
        ]),
        new x509.SubjectAlternativeNameExtension(
          names.map((value) => ({ type: 'dns' as const, value })),
        ),
      ],
    },
    webcrypto,
  );
  return `${certificate.toString('pem')}\n`;
}

/** What a node's certificate is good for as a server's name. */
export function certificateNames(role: NodeRole, nodeId: string): readonly string[] {
  return [ROLE_UNITS[role], nodeId, ...(role === 'manager' ? [CA_NAME] : [])];
}

/** Throws `invalid-argument` as `issueNodeCertificate` does. */
export async function checkRequest(csrPem: string): Promise<void> {
  await requestedKey(await loadX509(), csrPem);
}

interface Signer {
  readonly issuerName: Name;
  readonly notAfter: Date;
  readonly signingKey: webcrypto.CryptoKey;
  readonly algorithm: SigningAlgorithm;
}

/** Parsing the authority's pair takes as long as signing with it, and thousands of nodes may join at once. */
const signers = new WeakMap<CertificateAuthority, Promise<Signer>>();

function signerOf(x509: X509, authority: CertificateAuthority): Promise<Signer> {
  let signer = signers.get(authority);
  if (!signer) {
    signer = importKey(authority.keyPem).then(({ privateKey, algorithm }) => {
      const { subjectName, notAfter } = new x509.X509Certificate(authority.certPem);
      return { issuerName: subjectName, notAfter, signingKey: privateKey, algorithm };
    });
    signers.set(authority, signer);
  }
  return signer;
}

async function requestedKey(x509: X509, csrPem: string) {
  try {
    const request = new x509.Pkcs10CertificateRequest(csrPem);
    const algorithm = request.publicKey.algorithm as { name: string; namedCurve?: string };
    if (algorithm.name !== 'ECDSA' || algorithm.namedCurve !== 'P-256') {
      throw new Error('its key is not ECDSA P-256');
    }
    if (!(await request.verify(webcrypto))) throw new Error('its signature is wrong');
    return request.publicKey;
  } catch (cause) {
    throw new SkepError('invalid-argument', 'check certificate request', { cause });
  }
}

/** What to sign with a key: the hash of its own strength. */
function algorithmOf(key: KeyObject): SigningAlgorithm | null {
  if (key.asymmetricKeyType === 'rsa') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''];
  return curve ? { name: 'ECDSA', ...curve } : null;
}

/** Whether an authority with this key can sign here: ECDSA on a NIST curve of 256 bits or more, RSA of 2048 or more. */
export function canSign(key: KeyObject): boolean {
  const { modulusLength = RSA_BITS_MIN } = key.asymmetricKeyDetails ?? {};
  return algorithmOf(key) !== null && modulusLength >= RSA_BITS_MIN;
}

async function importKey(keyPem: string) {
  const key = createPrivateKey(keyPem);
  const algorithm = algorithmOf(key);
  assert(algorithm !== null, 'an authority has a key that can sign');
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const privateKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']);
  return { privateKey, algorithm };
}

function newKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

async function keyPair(keyPem: string): Promise<webcrypto.CryptoKeyPair> {
  const key = createPrivateKey(keyPem);
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const privateKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, ECDSA, false, ['sign']);
  const { x, y } = key.export({ format: 'jwk' });
  const jwk = { kty: 'EC', crv: 'P-256', x: x!, y: y! };
  const publicKey = await webcrypto.subtle.importKey('jwk', jwk, ECDSA, true, ['verify']);
  return { privateKey, publicKey };
}

/** Positive and of full length, so that its DER form never varies in size. */
function newSerial(random: Random): string {
  const bytes = Buffer.from(random.bytes(SERIAL_BYTES));
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString('hex');
}
