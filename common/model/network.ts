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
  /** `overlay`, or one of `NODE_DRIVERS` */
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
  /** nothing but words for networks of the same node that name it: no container is in it; never in the store */
  readonly configOnly: boolean;
  /** name of the config-only network that each node takes options and addresses from, its own one; '' = none */
  readonly configFrom: string;
}

export interface Network {
  readonly id: NetworkId;
  readonly meta: Meta;
  readonly spec: NetworkSpec;
  /** resolved subnets and gateways, IPv4 first; empty until allocated, and where nodes give the addresses */
  readonly ipam: readonly IpamConfig[];
  /** VXLAN network id; null until allocated or for other drivers */
  readonly vxlanId: number | null;
}

/** Drivers whose links and addresses each node makes itself, for networks of its own and of the cluster alike. */
export const NODE_DRIVERS: readonly string[] = ['bridge', 'macvlan', 'ipvlan'];

export const isNodeMade = ({ driver }: Pick<NetworkSpec, 'driver'>): boolean =>
  NODE_DRIVERS.includes(driver);

/** Networks that join the hosts; only these have addresses and ids from the allocator. */
export const isOverlay = ({ driver }: Pick<NetworkSpec, 'driver'>): boolean => driver === 'overlay';

/** Whether tasks on different nodes reach each other in it, by the link that each node has below: they have names there. */
export const joinsNodes = ({ driver }: Pick<NetworkSpec, 'driver'>): boolean => driver !== 'bridge';

export const isIpv6Config = ({ subnet }: IpamConfig): boolean => subnet.includes(':');

/** CIDR of the subnet that the network's IPv6 addresses are in; '' = it has none. */
export function subnet6Of({ ipam }: Network): string {
  return ipam.find(isIpv6Config)?.subnet ?? '';
}

/** Whether containers outside of services may be in it. */
export function isAttachable({ attachable, ingress, driver }: NetworkSpec): boolean {
  return attachable && !ingress && isOverlay({ driver });
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
