/**
 * What the managers read of thousands of certificates, from their DER form: names as bytes, which Node does not give, and
 * times, for a hundredth of the time that OpenSSL takes to parse all of it. Only for certificates that are known to be some.
 */
import { SkepError } from '../base/errors.ts';

export interface CertificateFacts {
  /** name, DER */
  readonly issuer: Uint8Array;
  /** name, DER */
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Element of DER: where it and its content begin and end. */
interface Element {
  readonly tag: number;
  readonly start: number;
  readonly content: number;
  readonly end: number;
}

const CONTEXT_0 = 0xa0;
const UTC_TIME = 0x17;

/** RFC 5280, 4.1. Throws `invalid-argument` for what is no certificate. */
export function readCertificate(certificate: Uint8Array): CertificateFacts {
  const at = (start: number): Element => elementAt(certificate, start);
  const bytes = ({ start, end }: Element): Uint8Array =>
    new Uint8Array(certificate.subarray(start, end));
  const toBeSigned = at(at(0).content);
  let serialNumber = at(toBeSigned.content);
  if (serialNumber.tag === CONTEXT_0) serialNumber = at(serialNumber.end); // it was the version
  const issuer = at(at(serialNumber.end).end); // the algorithm comes between
  const validity = at(issuer.end);
  const notBefore = at(validity.content);
  return {
    issuer: bytes(issuer),
    subject: bytes(at(validity.end)),
    notBeforeMs: timeMs(certificate, notBefore),
    notAfterMs: timeMs(certificate, at(notBefore.end)),
  };
}

/** `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on. */
function timeMs(certificate: Uint8Array, { tag, content, end }: Element): number {
  const digits = Buffer.from(certificate.subarray(content, end)).toString('latin1');
  const century = Number(digits.slice(0, 2)) < 50 ? '20' : '19';
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(
    tag === UTC_TIME ? century + digits : digits,
  );
  if (!match) throw damaged();
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number);
  return Date.UTC(year!, month! - 1, day, hour, minute, second);
}

function elementAt(bytes: Uint8Array, start: number): Element {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw damaged();
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const content = start + 2 + lengthBytes;
  let length = first < 0x80 ? first : 0;
  for (const byte of bytes.subarray(start + 2, content)) length = length * 256 + byte;
  if (content + length > bytes.length) throw damaged();
  return { tag, start, content, end: content + length };
}

function damaged(): SkepError {
  return new SkepError('invalid-argument', 'read certificate: its DER form is damaged');
}
