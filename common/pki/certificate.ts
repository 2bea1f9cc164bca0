/**
 * Node certificates as values: reading and verifying. Issuing is in issue.ts (it needs a heavy
 * library); everything here is node:crypto.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { SkepError } from '../base/errors.ts';
import { asId, type ClusterId, type NodeId } from '../model/ids.ts';
import type { Node, NodeRole } from '../model/node.ts';

/** Subject and subject alternative name of the cluster's own root and of managers. */
export const CA_NAME = 'swarm-ca';

/** The role as certificates spell it, in the organizational unit: Swarm's words. */
export const ROLE_UNITS: Readonly<Record<NodeRole, string>> = {
  worker: 'swarm-worker',
  manager: 'swarm-manager',
};

export interface NodeSubject {
  readonly nodeId: NodeId;
  readonly role: NodeRole;
  readonly clusterId: ClusterId;
}

/** Parses PEM or DER. Throws `invalid-argument`. */
export function parseCertificate(data: string | Uint8Array): X509Certificate {
  try {
    return new X509Certificate(data);
  } catch (cause) {
    throw new SkepError('invalid-argument', 'parse certificate', { cause });
  }
}

/** Who a node certificate is for; null when it is not one. Does not verify. */
export function parseNodeCertificate(certificate: X509Certificate): NodeSubject | null {
  const fields = subjectFields(certificate.subject);
  return nodeSubject({ cn: fields.get('CN'), ou: fields.get('OU'), o: fields.get('O') });
}

/** As `parseNodeCertificate`, from the fields themselves. */
export function nodeSubject(fields: {
  readonly cn: string | undefined;
  readonly ou: string | undefined;
  readonly o: string | undefined;
}): NodeSubject | null {
  const { cn, ou, o } = fields;
  if (!cn || !o) return null;
  if (ou !== ROLE_UNITS.manager && ou !== ROLE_UNITS.worker) return null;
  const role: NodeRole = ou === ROLE_UNITS.manager ? 'manager' : 'worker';
  return { nodeId: asId<NodeId>(cn), role, clusterId: asId<ClusterId>(o) };
}

/** OpenSSL prints one `KEY=value` a line; a repeated key makes the subject unusable. */
function subjectFields(subject: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of subject.split('\n')) {
    const equals = line.indexOf('=');
    if (equals < 0) continue;
    const key = line.slice(0, equals);
    if (fields.has(key)) return new Map();
    fields.set(key, line.slice(equals + 1));
  }
  return fields;
}

export function notBeforeMs(certificate: X509Certificate): number {
  return Date.parse(certificate.validFrom);
}

export function notAfterMs(certificate: X509Certificate): number {
  return Date.parse(certificate.validTo);
}

/** When the last of all certificates of a node ends, wall ms; 0 = none is known. Older versions stored the last one alone. */
export function latestEndMs({
  certificate,
  certificatesEndMs,
}: Pick<Node, 'certificate' | 'certificatesEndMs'>): number {
  const lastEndMs = certificate === null ? 0 : notAfterMs(parseCertificate(certificate));
  return Math.max(certificatesEndMs, lastEndMs);
}

/** Base 36 SHA-256 of the DER form, 50 characters: the digest part of join tokens. */
export function certificateDigest(certificate: X509Certificate): string {
  const hash = createHash('sha256').update(certificate.raw).digest('hex');
  return BigInt(`0x${hash}`).toString(36).padStart(DIGEST_CHARS, '0');
}

/** 36^50 > 2^256, and no shorter power is. */
export const DIGEST_CHARS = 50;
