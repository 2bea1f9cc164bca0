/** How the IPv6 addresses of a network follow from its IPv4 ones. */
import ipaddr from 'ipaddr.js';

/** Longest prefix of a subnet whose addresses end with an IPv4 address. */
export const SUBNET6_PREFIX_MAX = 96;

/**
 * The address in an IPv6 subnet (96 bits at most) that ends with an IPv4 address: a seat has both, and
 * whoever knows the one knows the other. Both must be well-formed.
 */
export function address6Of(subnet6: string, address: string): string {
  const bytes = ipaddr.IPv6.parse(subnet6.split('/')[0] ?? '').toByteArray();
  const last = ipaddr.IPv4.parse(address).toByteArray();
  return new ipaddr.IPv6([...bytes.slice(0, 12), ...last]).toString();
}

/** As `address6Of`, of an interface's address in CIDR notation: `10.0.1.5/24` -> `fd00::a00:105/64`. */
export function interface6Of(subnet6: string, cidr: string): string {
  const [address = ''] = cidr.split('/');
  return `${address6Of(subnet6, address)}/${subnet6.split('/')[1]}`;
}
