/** The address that a published port answers on, and which published ports exclude one another. */
import ipaddr from 'ipaddr.js';
import { SkepError } from '../base/errors.ts';
import type { PortConfig } from './service.ts';

/** Every address of a node, as people write it. */
const EVERY = ['0.0.0.0', '::'];

/**
 * In the one way that it is kept: `''` for every address of a node, IPv6 in the form of RFC 5952; brackets
 * around it are left out. Throws `invalid-argument` for what is no address of a host.
 */
export function parseHostIp(text: string): string {
  const bare = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  if (bare === '' || EVERY.includes(bare)) return '';
  const isWritten = ipaddr.IPv6.isValid(bare) || ipaddr.IPv4.isValidFourPartDecimal(bare);
  if (!isWritten || bare.includes('%')) throw refused(text, 'no IP address');
  const address = ipaddr.parse(bare);
  if (address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress()) {
    throw refused(text, 'a mapped IPv4 address: write it as IPv4');
  }
  if (['multicast', 'broadcast', 'unspecified'].includes(address.range())) {
    throw refused(text, 'no address that a host can have');
  }
  return address.toString();
}

function refused(text: string, why: string): SkepError {
  return new SkepError('invalid-argument', `address of a published port: '${text}' is ${why}`);
}

/** What of a port must be told apart from others'. */
export type PublishedPort = Pick<PortConfig, 'protocol' | 'publishedPort' | 'hostIp'>;

/** Both would have the same port of some address. */
export function sharesPort(a: PublishedPort, b: PublishedPort): boolean {
  const isSame = a.protocol === b.protocol && a.publishedPort === b.publishedPort;
  return isSame && (a.hostIp === b.hostIp || a.hostIp === '' || b.hostIp === '');
}

/** `tcp/80`, with an address `tcp/80/10.0.0.5`. */
export function publishedKey({ protocol, publishedPort, hostIp }: PublishedPort): string {
  return `${protocol}/${publishedPort}${hostIp === '' ? '' : `/${hostIp}`}`;
}
