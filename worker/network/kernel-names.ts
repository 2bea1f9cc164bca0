/**
 * Names and numbers of what we make in the kernel. Everything is derived from ids, so that what
 * belongs to whom can be told after a restart. No I/O.
 */
import { createHash } from 'node:crypto';
import type { TaskId } from '../../common/model/ids.ts';
import { isIpv6 } from '../../native/ffi/net/address.ts';

/** The nft tables of the families `ip`, `ip6` and `bridge` that hold our rules of the cluster, in every namespace. */
export const NFT_TABLE = 'skep';
/** Names in the host's namespace of networks whose links this node makes by itself, of one of the two kinds. */
export interface OwnNames {
  /** of the tables of the families `ip` and `bridge` */
  readonly table: 'skep_local' | 'skep_made';
  /** of the host's ends of links */
  readonly portPrefix: string;
}
/** Of the networks of this node alone. */
export const LOCAL_NAMES: OwnNames = { table: 'skep_local', portPrefix: 'skl' };
/** Of networks of the cluster that each node makes for itself. */
export const MADE_NAMES: OwnNames = { table: 'skep_made', portPrefix: 'skm' };

/** Below /proc/sys/net: whether packets of IPv4 pass between links of the host. */
export const IPV4_FORWARDING = 'ipv4/ip_forward';
/** The same of IPv6. */
export const IPV6_FORWARDING = 'ipv6/conf/all/forwarding';

/** How the links of the host that lead to tasks are called. */
export const HOST_LINK_PREFIX = 'skep_';
/** Bridge for outbound traffic and host-mode ports, in the host's namespace. */
export const GATEWAY_BRIDGE = `${HOST_LINK_PREFIX}gw`;
/** The host's own seat in the ingress network. */
export const INGRESS_LINK = `${HOST_LINK_PREFIX}in`;
/** Inside an overlay's namespace. */
export const OVERLAY_BRIDGE = 'br0';
export const OVERLAY_VXLAN = 'vx0';
/** The overlay's end of the host's ingress leg. */
export const INGRESS_PORT = 'vhost';

export const DEFAULT_VXLAN_PORT = 4789;
/** In the namespace that encrypted networks' VXLAN devices send from. */
export const WIREGUARD_LINK = 'skep_wg';

/** Inner Ethernet (14), VXLAN (8), UDP (8) and IP (20 or 40) headers. */
const VXLAN_OVERHEAD_BYTES = { ipv4: 50, ipv6: 70 } as const;
/** WireGuard's header and tag (32), UDP (8) and IP (20 or 40) headers. */
const WIREGUARD_OVERHEAD_BYTES = { ipv4: 60, ipv6: 80 } as const;

/** The kernel takes IPv6 away from a link that carries less (RFC 8200): larger packets go in fragments then. */
const IPV6_MTU_MIN = 1280;

/** What a link of an encrypted network's packets can carry, bytes. @param host address of this host */
export function encryptedMtu(underlayMtu: number, host: string): number {
  const six = isIpv6(host);
  const mtu = underlayMtu - WIREGUARD_OVERHEAD_BYTES[six ? 'ipv6' : 'ipv4'];
  return six ? Math.max(mtu, IPV6_MTU_MIN) : mtu;
}

/** The IP packet between hosts that carries the largest one inside, bytes. @param host address of this host */
export function outerBytes(
  { encrypted }: { readonly encrypted: boolean },
  mtu: number,
  host: string,
): number {
  const family = isIpv6(host) ? 'ipv6' : 'ipv4';
  return mtu + VXLAN_OVERHEAD_BYTES[family] + (encrypted ? WIREGUARD_OVERHEAD_BYTES[family] : 0);
}

/** What a network can carry inside, bytes. */
export function overlayMtu(
  network: { readonly mtu: number; readonly encrypted: boolean; readonly subnet6: string },
  underlayMtu: number,
  host: string,
): number {
  if (network.mtu > 0) return network.mtu;
  const below = network.encrypted ? encryptedMtu(underlayMtu, host) : underlayMtu;
  const mtu = below - VXLAN_OVERHEAD_BYTES[isIpv6(host) ? 'ipv6' : 'ipv4'];
  return network.subnet6 === '' ? mtu : Math.max(mtu, IPV6_MTU_MIN);
}

/** UDP port of WireGuard on every host: the one after VXLAN's. */
export function encryptedPort({ dataPathPort }: { readonly dataPathPort: number }): number {
  return (dataPathPort || DEFAULT_VXLAN_PORT) + 1;
}

/** Priorities of nf_tables hooks (linux/netfilter_ipv4.h). */
export const PRIORITY = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  srcnat: 100,
} as const;

function shortHash(text: string, chars: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, chars);
}

/** Interface names have at most 15 characters. */
export function overlayPortName(taskId: TaskId): string {
  return `v${shortHash(taskId, 13)}`;
}

export function gatewayPortName(taskId: TaskId): string {
  return `skg${shortHash(taskId, 11)}`;
}

export function isGatewayPortName(name: string): boolean {
  return /^skg[0-9a-f]{11}$/.test(name);
}

/** The host's end of a container's link into a network whose links this node makes. */
export function localPortName(
  { portPrefix }: OwnNames,
  networkId: string,
  containerId: string,
): string {
  return `${portPrefix}${shortHash(`${networkId}/${containerId}`, 11)}`;
}

export function isLocalPortName({ portPrefix }: OwnNames, name: string): boolean {
  return name.startsWith(portPrefix) && /^[0-9a-f]{11}$/.test(name.slice(portPrefix.length));
}
