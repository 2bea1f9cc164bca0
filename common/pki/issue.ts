/**
 * Making certificates: the cluster's root, requests of nodes, node certificates. The X.509 library
 * takes half a second to load, so that it is loaded at first use.
 */
import { createPrivateKey, generateKeyPairSync, webcrypto } from 'node:crypto';
import { SkepError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { NodeRole } from '../model/node.ts';
import { CA_NAME, ROLE_UNITS } from './certificate.ts';

const DAY_MS = 24 * 3600 * 1000;
const ROOT_VALIDITY_MS = 20 * 365 * DAY_MS;
/** Certificates begin this long ago, so that clocks may differ. */
const BACKDATE_MS = 3600 * 1000;
const SERIAL_BYTES = 16;
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A certificate authority's own pair. Never changed: what is made of it is kept as long as the object. */
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
let loading: Promise<X509> | null = null;

function loadX509(): Promise<X509> {
  loading ??= (async () => {
    await import('reflect-metadata'); // needed by the library before its first line
    return import('@peculiar/x509');
  })();
  return loading;
}

/** A self-signed root: ECDSA P-256, CN `swarm-ca`, valid for 20 years. */
export async function createRoot(options: {
  readonly nowMs: number;
  readonly random: Random;
}): Promise<CertificateAuthority> {
  const x509 = await loadX509();
  const keyPem = newKeyPem();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: newSerial(options.random),
      name: `CN=${CA_NAME}`,
      notBefore: new Date(options.nowMs - BACKDATE_MS),
      notAfter: new Date(options.nowMs + ROOT_VALIDITY_MS),
      keys: await keyPair(keyPem),
      signingAlgorithm: ECDSA,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
          true,
        ),
      ],
    },
    webcrypto,
  );
  return { certPem: `${certificate.toString('pem')}\n`, keyPem };
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
  const { issuerName, signingKey } = await signerOf(x509, authority);
  const names = [ROLE_UNITS[role], nodeId, ...(role === 'manager' ? [CA_NAME] : [])];
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: newSerial(parts.random),
      subject: `O=${clusterId}, OU=${ROLE_UNITS[role]}, CN=${nodeId}`,
      issuer: issuerName,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + validityMs),
      publicKey,
      signingKey,
      signingAlgorithm: ECDSA,
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

interface Signer {
  readonly issuerName: string;
  readonly signingKey: webcrypto.CryptoKey;
}

/** Parsing the authority's pair takes as long as signing with it, and thousands of nodes may join at once. */
const signers = new WeakMap<CertificateAuthority, Promise<Signer>>();

function signerOf(x509: X509, authority: CertificateAuthority): Promise<Signer> {
  let signer = signers.get(authority);
  if (!signer) {
    signer = keyPair(authority.keyPem).then(({ privateKey }) => ({
      issuerName: new x509.X509Certificate(authority.certPem).subject,
      signingKey: privateKey,
    }));
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
