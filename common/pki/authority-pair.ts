/** A trust root that somebody brings: is it one, and is the key its own? */
import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { SkepError } from '../base/errors.ts';
import { notAfterMs, notBeforeMs } from './certificate.ts';
import { parseCertificates } from './chain.ts';
import { canSign } from './issue.ts';

const ROOT_VALIDITY_MIN_MS = 365 * 24 * 3600 * 1000;

/** As `checkAuthorityPair`, for a root that nodes are to trust from now on: one that is valid, and for a year at least. */
export function checkNextRoot(certPem: string, keyPem: string, nowMs: number): X509Certificate {
  const certificate = checkAuthorityPair(certPem, keyPem);
  if (notBeforeMs(certificate) > nowMs) {
    throw invalid(`CA certificate is not valid before ${certificate.validFrom}`);
  }
  if (notAfterMs(certificate) < nowMs + ROOT_VALIDITY_MIN_MS) {
    throw invalid(
      `CA certificate expires too soon: it ends ${certificate.validTo}, and must last for a year`,
    );
  }
  return certificate;
}

/**
 * The one certificate of `certPem`. Throws `invalid-argument`, in Swarm's words where it has them, for none, for several,
 * for one that is no authority or did not sign itself, and for a key that is not its own or cannot sign here.
 * @param keyPem '' = it is elsewhere
 */
function checkAuthorityPair(certPem: string, keyPem: string): X509Certificate {
  const certificates = readCertificates(certPem);
  const [certificate] = certificates;
  if (!certificate) throw invalid('could not parse the desired CA certificate');
  if (certificates.length > 1) {
    throw invalid('the desired CA certificate cannot contain multiple certificates');
  }
  if (!certificate.ca) throw invalid('the desired CA certificate is not that of an authority');
  if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey)) {
    throw invalid('the desired CA certificate is not self-signed: it cannot be a trust root');
  }
  if (keyPem === '') return certificate;
  const key = readKey(keyPem);
  if (!certificate.checkPrivateKey(key)) {
    throw invalid('the signing CA key is not that of the signing CA certificate');
  }
  if (!canSign(key)) {
    throw invalid('the signing CA key must be ECDSA (P-256, P-384, P-521), or RSA of 2048 bits');
  }
  return certificate;
}

function readCertificates(certPem: string): readonly X509Certificate[] {
  try {
    return parseCertificates(certPem);
  } catch (cause) {
    throw new SkepError('invalid-argument', 'could not parse the desired CA certificate', {
      cause,
    });
  }
}

/** What OpenSSL says of a key that it cannot read is not repeated: it might quote it. */
function readKey(keyPem: string): KeyObject {
  try {
    return createPrivateKey(keyPem);
  } catch {
    throw invalid('could not parse the signing CA key: it must be PEM without a passphrase');
  }
}

function invalid(message: string): SkepError {
  return new SkepError('invalid-argument', message);
}
