/** Network: what was asked for, and the addresses and ids that the allocator gave it. */
import type { NetworkId } from './ids.ts';
import type { Annotations, Meta, StringMap } from './objects.ts';

/** No underlay carries less (RFC 8200), and what is below leaves overlays no room: nobody is to take them from all. */
export const UNDERLAY_MTU_MIN = 1280;

export interface IpamConfig {
  /** CIDR; empty = from the pools */
  readonly subnet: string;
  readonly gateway: string;
  /** CIDR inside the subnet from which addresses are given; empty = the subnet */
  readonly range: string;
  /** name -> address that must not be given */
  readonly reserved: StringMap;
}

export interface NetworkSpec extends Annotations {
  /** `overlay`, `bridge`, `host`, `none`, `macvlan` */
  readonly driver: string;
  readonly driverOptions: StringMap;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly ingress: boolean;
  readonly ipv6: boolean;
  readonly ipam: {
    readonly driver: string;
    readonly options: StringMap;
    readonly configs: readonly IpamConfig[];
  };
}

export interface Network {
  readonly id: NetworkId;
  readonly meta: Meta;
  readonly spec: NetworkSpec;
  /** resolved subnets and gateways, IPv4 first; empty until allocated */
  readonly ipam: readonly IpamConfig[];
  /** VXLAN network id; null until allocated or for other drivers */
  readonly vxlanId: number | null;
}

export const isIpv6Config = ({ subnet }: IpamConfig): boolean => subnet.includes(':');

/** CIDR of the subnet that the network's IPv6 addresses are in; '' = it has none. */
export function subnet6Of({ ipam }: Network): string {
  return ipam.find(isIpv6Config)?.subnet ?? '';
}

/** Whether containers outside of services may be in it. */
export function isAttachable({ attachable, ingress, driver }: NetworkSpec): boolean {
  return attachable && !ingress && driver === 'overlay';
}

/** Option that has packets between hosts encrypted: there and not `false`, also without a value. */
export const ENCRYPTED_OPTION = 'encrypted';

export function isEncrypted({ driverOptions }: NetworkSpec): boolean {
  const value = driverOptions[ENCRYPTED_OPTION];
  return value !== undefined && value !== 'false';
}

/** Name of the plugin of nodes whose kernel has WireGuard. */
export const ENCRYPTION_PLUGIN = 'wireguard';

/** Network plugins that a node needs for it. */
export function networkPlugins(spec: NetworkSpec): readonly string[] {
  return isEncrypted(spec) ? [spec.driver, ENCRYPTION_PLUGIN] : [spec.driver];
}

/** Option that fixes the MTU inside an overlay network. */
export const MTU_OPTION = 'com.docker.network.driver.mtu';
