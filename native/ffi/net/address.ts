/** IP addresses of both families, prefixes and MAC addresses as text, numbers and bytes. No I/O. */
import ipaddr from 'ipaddr.js';
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

export const isIpv6 = (text: string): boolean => text.includes(':');

/** 4 or 16 bytes. Throws `invalid-argument` unless `text` is an IP address. */
export function addressBytes(text: string): Buffer {
  if (!isIpv6(text)) return ipv4Bytes(text);
  if (!ipaddr.IPv6.isValid(text) || text.includes('%')) {
    throw new SkepError('invalid-argument', `read address: "${text}" is not an IPv6 address`);
  }
  return Buffer.from(ipaddr.IPv6.parse(text).toByteArray());
}

/** Of 4 or 16 bytes; an IPv6 address in its shortest form. */
export function addressText(bytes: Buffer): string {
  return bytes.length === 4 ? textOfIpv4(bytes) : new ipaddr.IPv6([...bytes]).toString();
}

/** `10.0.1.5/24`, `fd00::5/64`; an address alone is a /32 or /128. */
export function parsePrefix(text: string): Prefix {
  const [address = '', length] = text.split('/');
  const bitsMax = addressBytes(address).length * 8;
  const bits = length === undefined ? bitsMax : Number(length);
  if (!Number.isInteger(bits) || bits < 0 || bits > bitsMax) {
    const family = bitsMax === 32 ? 'IPv4' : 'IPv6';
    throw new SkepError('invalid-argument', `read prefix: "${text}" is not an ${family} prefix`);
  }
  return { address, length: bits };
}

/** The network of a prefix, host bits cleared, in CIDR notation. */
export function networkOf({ address, length }: Prefix): string {
  const bytes = addressBytes(address);
  for (const [i, byte] of bytes.entries()) {
    const kept = Math.min(8, Math.max(0, length - i * 8));
    bytes[i] = byte & (0xff << (8 - kept));
  }
  return `${addressText(bytes)}/${length}`;
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

/** `02:42:<last 4 bytes>`: the MAC of every seat in an overlay network is known from its address, of either family. */
export function macOf(address: string): Buffer {
  return Buffer.concat([Buffer.from([0x02, 0x42]), addressBytes(address).subarray(-4)]);
}

/** The link-local address that the kernel gives a link with this MAC (modified EUI-64). */
export function linkLocalOf(mac: Uint8Array): string {
  const bytes = Buffer.alloc(16);
  bytes.set([0xfe, 0x80]);
  bytes.set([(mac[0] ?? 0) ^ 2, ...mac.subarray(1, 3), 0xff, 0xfe, ...mac.subarray(3, 6)], 8);
  return addressText(bytes);
}

/** `02:42:0a:00:01:05` */
export function macText(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
