/** The one thing of a certificate's DER form that Node does not give: the bytes of its subject's name. */
import { SkepError } from '../base/errors.ts';

/** Element of DER: where its content begins and ends. */
interface Element {
  readonly tag: number;
  readonly start: number;
  readonly content: number;
  readonly end: number;
}

const CONTEXT_0 = 0xa0;
/** serial number, signature algorithm, issuer, validity */
const BEFORE_SUBJECT = 4;

/** Throws `invalid-argument` for what is no certificate. */
export function subjectDer(certificate: Uint8Array): Uint8Array {
  const toBeSigned = elementAt(certificate, elementAt(certificate, 0).content);
  let element = elementAt(certificate, toBeSigned.content);
  if (element.tag === CONTEXT_0) element = elementAt(certificate, element.end); // the version
  for (let i = 0; i < BEFORE_SUBJECT; i++) element = elementAt(certificate, element.end);
  return new Uint8Array(certificate.subarray(element.start, element.end));
}

function elementAt(bytes: Uint8Array, start: number): Element {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw damaged();
  if (first < 0x80)
    return checked(bytes, { tag, start, content: start + 2, end: start + 2 + first });
  const lengthBytes = first & 0x7f;
  const content = start + 2 + lengthBytes;
  let length = 0;
  for (const byte of bytes.subarray(start + 2, content)) length = length * 256 + byte;
  return checked(bytes, { tag, start, content, end: content + length });
}

function checked(bytes: Uint8Array, element: Element): Element {
  if (element.end > bytes.length) throw damaged();
  return element;
}

function damaged(): SkepError {
  return new SkepError('invalid-argument', 'read certificate: its DER form is damaged');
}
