/**
 * Certificates that vouch for one another: a node's, those sent along with it, the trust root. During a change of the
 * root the node's is issued by the new one, and the new one signed by the former.
 */
import type { X509Certificate } from 'node:crypto';
import { SkepError } from '../base/errors.ts';
import {
  type NodeSubject,
  notAfterMs,
  notBeforeMs,
  parseCertificate,
  parseNodeCertificate,
} from './certificate.ts';
import { readCertificate } from './der.ts';

/** Certificates between a node's and the root: two rotations leave no more. */
const INTERMEDIATES_MAX = 4;
const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** Every certificate of a PEM text, in its order; none is an empty list. Throws `invalid-argument`. */
export function parseCertificates(pem: string): readonly X509Certificate[] {
  return (pem.match(BLOCK) ?? []).map((block) => parseCertificate(block));
}

/** Whether these are the same certificate. */
export function sameCertificate(a: X509Certificate, b: X509Certificate): boolean {
  return a.raw.equals(b.raw);
}

export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/**
 * The node a certificate is for, once it is known to come from `rootPem` and to be valid now.
 * Throws `unauthenticated` with the reason.
 * @param certPem the node's certificate, then those that lead to the root, if any
 */
export function verifyNodeCertificate(
  certPem: string,
  rootPem: string,
  nowMs: number,
): NodeSubject {
  const [certificate, ...intermediates] = parseCertificates(certPem);
  if (!certificate) throw new SkepError('invalid-argument', 'verify certificate: there is none');
  if (!leadsTo(certificate, intermediates, parseCertificates(rootPem))) {
    throw new SkepError(
      'unauthenticated',
      "verify certificate: it was not issued by this cluster's root",
    );
  }
  if (nowMs < notBeforeMs(certificate) || nowMs > notAfterMs(certificate)) {
    throw new SkepError(
      'unauthenticated',
      `verify certificate: it is valid from ${certificate.validFrom} to ${certificate.validTo} only`,
    );
  }
  const subject = parseNodeCertificate(certificate);
  if (!subject) {
    throw new SkepError(
      'unauthenticated',
      'verify certificate: it does not name a node and its role',
    );
  }
  return subject;
}

function leadsTo(
  certificate: X509Certificate,
  intermediates: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): boolean {
  let current = certificate;
  for (let i = 0; i <= INTERMEDIATES_MAX; i++) {
    if (roots.some((root) => isIssuedBy(current, root))) return true;
    const next = intermediates.find(
      (one) => one.ca && !sameCertificate(one, current) && isIssuedBy(current, one),
    );
    if (!next) return false;
    current = next;
  }
  return false;
}

/** An authority as Docker's API names it. */
export interface Issuer {
  /** DER */
  readonly subject: Uint8Array;
  /** DER (SubjectPublicKeyInfo) */
  readonly publicKey: Uint8Array;
}

/** An authority by its own certificate. */
export function issuerFrom(authority: X509Certificate): Issuer {
  return {
    subject: readCertificate(authority.raw).subject,
    publicKey: authority.publicKey.export({ type: 'spki', format: 'der' }),
  };
}

export function sameIssuer(a: Issuer, b: Issuer): boolean {
  return (
    Buffer.compare(a.subject, b.subject) === 0 && Buffer.compare(a.publicKey, b.publicKey) === 0
  );
}

/** Who issued a node's certificate; null when neither those sent along nor the root did. */
export function issuerOf(certPem: string, rootPem: string): Issuer | null {
  const [certificate, ...intermediates] = parseCertificates(certPem);
  if (!certificate) return null;
  const candidates = [...parseCertificates(rootPem), ...intermediates];
  const issuer = candidates.find((candidate) => isIssuedBy(certificate, candidate));
  return issuer ? issuerFrom(issuer) : null;
}
