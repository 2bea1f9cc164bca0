/** IPv4 addresses, prefixes and MAC addresses as text, numbers and bytes. No I/O. */
import { SkepError } from '../../../common/base/errors.ts';

export interface Prefix {
  /** as given, host bits kept */
  readonly address: string;
  readonly length: number;
}

/** Throws `invalid-argument` unless `text` is a dotted quad. */
export function ipv4Number(text: string): number {
  const parts = text.split('.');
  let value = 0;
  for (const part of parts) {
    const octet = Number(part);
    if (!/^\d{1,3}$/.test(part) || octet > 255) throw badAddress(text);
    value = value * 256 + octet;
  }
  if (parts.length !== 4) throw badAddress(text);
  return value;
}

function badAddress(text: string): SkepError {
  return new SkepError('invalid-argument', `read address: "${text}" is not an IPv4 address`);
}

export function ipv4Text(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}

export function ipv4Bytes(text: string): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(ipv4Number(text));
  return bytes;
}

export function textOfIpv4(bytes: Buffer): string {
  return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
}

/** `10.0.1.5/24`; an address alone is a /32. */
export function parsePrefix(text: string): Prefix {
  const [address = '', length] = text.split('/');
  const bits = length === undefined ? 32 : Number(length);
  ipv4Number(address);
  if (!Number.isInteger(bits) || bits < 0 || bits > 32) {
    throw new SkepError('invalid-argument', `read prefix: "${text}" is not an IPv4 prefix`);
  }
  return { address, length: bits };
}

export function maskNumber(length: number): number {
  return length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
}

export function networkNumber(prefix: Prefix): number {
  return (ipv4Number(prefix.address) & maskNumber(prefix.length)) >>> 0;
}

/** True when the two prefixes share an address. */
export function overlap(a: Prefix, b: Prefix): boolean {
  const shorter = Math.min(a.length, b.length);
  const mask = maskNumber(shorter);
  return (ipv4Number(a.address) & mask) >>> 0 === (ipv4Number(b.address) & mask) >>> 0;
}

/** `02:42:<address>`: the MAC of every seat in an overlay network is known from its address. */
export function macOf(address: string): Buffer {
  return Buffer.concat([Buffer.from([0x02, 0x42]), ipv4Bytes(address)]);
}

/** `02:42:0a:00:01:05` */
export function macText(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
