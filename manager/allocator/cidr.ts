/**
 * IPv4 addresses and subnets as numbers. The only file of the manager that knows ipaddr.js; it knows
 * nothing of pools or networks.
 */
import ipaddr from 'ipaddr.js';
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';

const ADDRESS_BITS = 32;

/** A subnet. INVARIANT: `base` has no bit set below the prefix. */
export interface Ipv4Subnet {
  /** first address, 0..2^32-1 */
  readonly base: number;
  /** 0..32 */
  readonly prefixLength: number;
}

/** Throws `invalid-argument` for anything but a dotted IPv4 address. */
export function parseIpv4(text: string): number {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text)) {
    throw new SkepError('invalid-argument', `parse address: '${text}' is not an IPv4 address`);
  }
  const [a, b, c, d] = ipaddr.IPv4.parse(text).octets;
  return ((a! << 24) | (b! << 16) | (c! << 8) | d!) >>> 0;
}

export function formatIpv4(address: number): string {
  assert(Number.isInteger(address) && address >= 0 && address < 2 ** 32, `address ${address}`);
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Host bits are cleared. Throws `invalid-argument`. */
export function parseIpv4Subnet(text: string): Ipv4Subnet {
  const slash = text.indexOf('/');
  const prefixText = text.slice(slash + 1);
  if (slash < 0 || !/^\d{1,2}$/.test(prefixText) || Number(prefixText) > ADDRESS_BITS) {
    throw new SkepError('invalid-argument', `parse subnet: '${text}' is not an IPv4 CIDR`);
  }
  return subnetOf(parseIpv4(text.slice(0, slash)), Number(prefixText));
}

/** The subnet of `prefixLength` that holds `address`. */
export function subnetOf(address: number, prefixLength: number): Ipv4Subnet {
  const size = 2 ** (ADDRESS_BITS - prefixLength);
  return { base: address - (address % size), prefixLength };
}

export function formatSubnet(subnet: Ipv4Subnet): string {
  return `${formatIpv4(subnet.base)}/${subnet.prefixLength}`;
}

/** An interface's address: with the prefix length of its subnet. */
export function formatInterface(address: number, subnet: Ipv4Subnet): string {
  return `${formatIpv4(address)}/${subnet.prefixLength}`;
}

/** The address of `10.0.1.5/24` or `10.0.1.5`. Throws `invalid-argument`. */
export function parseInterfaceAddress(text: string): number {
  const slash = text.indexOf('/');
  return parseIpv4(slash < 0 ? text : text.slice(0, slash));
}

/** Addresses in the subnet, network and broadcast address included. */
export function subnetSize(subnet: Ipv4Subnet): number {
  return 2 ** (ADDRESS_BITS - subnet.prefixLength);
}

export function contains(subnet: Ipv4Subnet, address: number): boolean {
  return address >= subnet.base && address < subnet.base + subnetSize(subnet);
}

export function overlaps(a: Ipv4Subnet, b: Ipv4Subnet): boolean {
  return a.base < b.base + subnetSize(b) && b.base < a.base + subnetSize(a);
}
