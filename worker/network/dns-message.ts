/**
 * DNS messages: reads the question of a query and writes the answers we give, by hand for A records
 * (the hot path, ~2x a general codec) and with dns-packet for the rest. No sockets, no tables.
 */
import dnsPacket from 'dns-packet';
import { addressBytes, addressText, isIpv6 } from '../../native/ffi/net/address.ts';

export const TYPE = { a: 1, ptr: 12, aaaa: 28, srv: 33, any: 255 } as const;
export const RCODE = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const;

const CLASS_IN = 1;
const CLASS_ANY = 255;
const HEADER_BYTES = 12;
const RESPONSE_FLAG = 0x8000;
/** RFC 1035: what a client without EDNS takes over UDP. */
const PLAIN_UDP_BYTES = 512;
/** Fits every link without fragments (DNS flag day 2020), whatever the client offers. */
const EDNS_UDP_BYTES = 1232;
/** Of a record whose name was in the question; the address follows. */
const RECORD_HEADER_BYTES = 12;
const TYPE_OPT = 41;

export interface Question {
  /** lower case, without the last dot */
  readonly name: string;
  readonly type: number;
  /** where the question ends in the message */
  readonly end: number;
  /** most bytes of an answer over UDP */
  readonly udpBytesMax: number;
}

/**
 * False for what is no query, a response above all: whoever answers one, and is answered by another such server,
 * never ends.
 */
export function isQuery(message: Buffer): boolean {
  return message.length >= HEADER_BYTES && (message.readUInt16BE(2) & RESPONSE_FLAG) === 0;
}

/** null unless the message is a standard query with one plain question of class IN. */
export function readQuestion(query: Buffer): Question | null {
  if (query.length < HEADER_BYTES + 5) return null;
  const flags = query.readUInt16BE(2);
  const plain =
    (flags & 0xf800) === 0 && query.readUInt16BE(4) === 1 && query.readUInt32BE(6) === 0;
  if (!plain) return null;
  let at = HEADER_BYTES;
  let name = '';
  for (;;) {
    const length = query[at] ?? 0xff;
    if (length > 63 || at + length + 5 > query.length) return null;
    if (length === 0) break;
    const label = query.toString('latin1', at + 1, at + 1 + length);
    name = name === '' ? label : `${name}.${label}`;
    at += length + 1;
  }
  const type = query.readUInt16BE(at + 1);
  const queryClass = query.readUInt16BE(at + 3);
  if (queryClass !== CLASS_IN && queryClass !== CLASS_ANY) return null;
  const end = at + 5;
  return { name: name.toLowerCase(), type, end, udpBytesMax: udpLimit(query, end) };
}

function udpLimit(query: Buffer, end: number): number {
  const hasOption =
    query.readUInt16BE(10) > 0 &&
    query.length >= end + 11 &&
    query[end] === 0 &&
    query.readUInt16BE(end + 1) === TYPE_OPT;
  if (!hasOption) return PLAIN_UDP_BYTES;
  return Math.max(PLAIN_UDP_BYTES, Math.min(EDNS_UDP_BYTES, query.readUInt16BE(end + 3)));
}

/** Header and question of a response: recursion available, `recursion desired` as it was asked. */
function head(query: Buffer, end: number, rcode: number, answers: number, bytes: number): Buffer {
  const response = Buffer.alloc(bytes);
  query.copy(response, 0, 0, end);
  response.writeUInt16BE(0x8080 | (query.readUInt16BE(2) & 0x7900) | rcode, 2);
  response.writeUInt16BE(answers, 6);
  response.fill(0, 8, HEADER_BYTES);
  return response;
}

/** A response without records. For a query without a readable question the header alone. */
export function emptyAnswer(query: Buffer, question: Question | null, rcode: number): Buffer {
  if (question) return head(query, question.end, rcode, 0, question.end);
  const response = head(query, HEADER_BYTES, rcode, 0, HEADER_BYTES);
  response.writeUInt16BE(0, 4);
  return response;
}

/** Records of addresses, A or AAAA by their family (all of one); what does not fit into `bytesMax` is left out and the response marked as cut. */
export function addressAnswer(
  query: Buffer,
  question: Question,
  addresses: readonly string[],
  ttlSeconds: number,
  bytesMax: number,
): Buffer {
  const isIpv4 = !addresses.some(isIpv6);
  const recordBytes = RECORD_HEADER_BYTES + (isIpv4 ? 4 : 16);
  const room = Math.floor((bytesMax - question.end) / recordBytes);
  const count = Math.max(0, Math.min(room, addresses.length));
  const end = question.end + count * recordBytes;
  const response = head(query, question.end, RCODE.noError, count, end);
  if (count < addresses.length) response.writeUInt16BE(response.readUInt16BE(2) | 0x0200, 2);
  let at = question.end;
  for (let i = 0; i < count; i++) {
    at = response.writeUInt16BE(0xc000 | HEADER_BYTES, at);
    at = response.writeUInt16BE(isIpv4 ? TYPE.a : TYPE.aaaa, at);
    at = response.writeUInt16BE(CLASS_IN, at);
    at = response.writeUInt32BE(ttlSeconds, at);
    const bytes = addressBytes(addresses[i] as string);
    at = response.writeUInt16BE(bytes.length, at);
    at += bytes.copy(response, at);
  }
  return response;
}

/** PTR records. */
export function pointerAnswer(
  query: Buffer,
  question: Question,
  names: readonly string[],
  ttlSeconds: number,
): Buffer {
  const asked = query.readUInt16BE(2) & 0x0100;
  return dnsPacket.encode({
    type: 'response',
    id: query.readUInt16BE(0),
    flags: dnsPacket.RECURSION_AVAILABLE | asked,
    questions: [{ type: 'PTR', name: question.name }],
    answers: names.map((data) => ({
      type: 'PTR' as const,
      name: question.name,
      ttl: ttlSeconds,
      data,
    })),
  });
}

/** Where a service's port is to be found. */
export interface ServiceTarget {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/**
 * SRV records with the addresses of their targets (RFC 2782), all alike in priority and weight. Addresses
 * that do not fit are left out; when records do not either, the response is marked as cut.
 */
export function serviceAnswer(
  query: Buffer,
  question: Question,
  targets: readonly ServiceTarget[],
  ttlSeconds: number,
  bytesMax: number,
): Buffer {
  const encode = (withRecords: boolean, withAddresses: boolean): Buffer =>
    dnsPacket.encode({
      type: 'response',
      id: query.readUInt16BE(0),
      flags:
        dnsPacket.RECURSION_AVAILABLE |
        (query.readUInt16BE(2) & 0x0100) |
        (withRecords ? 0 : dnsPacket.TRUNCATED_RESPONSE),
      questions: [{ type: 'SRV', name: question.name }],
      answers: (withRecords ? targets : []).map(({ name, port }) => ({
        type: 'SRV' as const,
        name: question.name,
        ttl: ttlSeconds,
        data: { priority: 0, weight: 0, port, target: name },
      })),
      additionals: (withAddresses ? targets : []).map(({ name, address }) => ({
        type: 'A' as const,
        name,
        ttl: ttlSeconds,
        data: address,
      })),
    });
  const whole = encode(true, true);
  if (whole.length <= bytesMax) return whole;
  const records = encode(true, false);
  return records.length <= bytesMax ? records : encode(false, false);
}

/** The port and service that an SRV question names: `_PORT._PROTOCOL.SERVICE`; null for others. */
export function serviceQuestion(
  name: string,
): { readonly port: string; readonly protocol: string; readonly service: string } | null {
  const match = /^_([^.]+)\._(tcp|udp|sctp)\.(.+)$/.exec(name);
  return match ? { port: match[1]!, protocol: match[2]!, service: match[3]! } : null;
}

/** The address that a reverse name asks for, null for other names. */
export function reverseAddress(name: string): string | null {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  if (match) return `${match[4]}.${match[3]}.${match[2]}.${match[1]}`;
  const nibbles = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)?.[1];
  if (nibbles === undefined) return null;
  const hex = nibbles.replaceAll('.', '').split('').reverse().join('');
  return addressText(Buffer.from(hex, 'hex'));
}
