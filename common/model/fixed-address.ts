/** Addresses that a service's task is to have in networks of the cluster: which services and networks can have them. */
import { BlockList, isIPv4 } from 'node:net';
import type { IpamConfig } from './network.ts';
import { isPredefinedNetwork } from './predefined-networks.ts';
import type { NetworkAttachmentConfig, TaskSpec } from './service.ts';

/** Two tasks cannot have it at once: the one ends before the other comes, whatever order was asked for. */
export function hasFixedAddress({ networks }: Pick<TaskSpec, 'networks'>): boolean {
  return networks.some(({ addresses }) => addresses.length > 0);
}

/** What the rules look at. */
export interface AddressedService {
  readonly networks: readonly Pick<NetworkAttachmentConfig, 'target' | 'addresses'>[];
  /** null = it is of another mode */
  readonly replicas: number | null;
  /** of its updates and rollbacks, where it says one */
  readonly orders: readonly (string | undefined)[];
}

/** Why the service cannot have its addresses, in words; null = it can, or has none. */
export function fixedAddressProblem({
  networks,
  replicas,
  orders,
}: AddressedService): string | null {
  const fixed = networks.find(({ addresses }) => addresses.length > 0);
  if (!fixed) return null;
  for (const { target, addresses } of networks) {
    const problem = addressesProblem(target, addresses);
    if (problem !== null) return `network ${target}: ${problem}`;
  }
  const at = `network ${fixed.target}: address ${fixed.addresses[0]}`;
  if (replicas === null || replicas > 1) {
    const has = replicas === null ? 'is of another mode' : `has ${replicas}`;
    return `${at} is for one task: only a service of one replica can have it, this one ${has}`;
  }
  if (!orders.includes('start-first')) return null;
  return `${at} is for one task: its successor cannot start first, the order must be stop-first`;
}

function addressesProblem(network: string, addresses: readonly string[]): string | null {
  if (addresses.length === 0) return null;
  if (isPredefinedNetwork(network)) return 'tasks have no address of the cluster there';
  if (addresses.length > 1) return `${addresses.length} addresses: a task has one in each network`;
  return isIPv4(addresses[0]!) ? null : `address ${addresses[0]} is not an IPv4 address`;
}

type AddressedSubnet = Pick<IpamConfig, 'subnet' | 'gateway' | 'reserved'>;

/** Why no task can have the address in the network, in words; null = one can, unless another has it. */
export function addressProblem(
  address: string,
  name: string,
  configs: readonly AddressedSubnet[],
): string | null {
  const own = configs.filter(({ subnet }) => isIPv4(subnet.split('/')[0] ?? ''));
  if (own.length === 0) {
    return `network ${name}: address ${address}: the network needs a subnet that was chosen, not one from the pools`;
  }
  const home = own.find(({ subnet }) => isIn(address, subnet));
  if (!home) {
    const subnets = own.map(({ subnet }) => subnet).join(', ');
    return `network ${name}: address ${address} is not in its subnet ${subnets}`;
  }
  const withheld = withheldAddresses(home).find((one) => one.address === ipv4NumberOf(address));
  return withheld ? `network ${name}: address ${address} is ${withheld.what}` : null;
}

export interface WithheldAddress {
  /** 0..2^32-1 */
  readonly address: number;
  /** in words, after `is` */
  readonly what: string;
}

/**
 * Addresses of an IPv4 subnet that nobody is given: what no host can have there, and what others are to have. A subnet
 * without a gateway gets its first address as one. Texts that are no addresses are the concern of others.
 */
export function withheldAddresses({
  subnet,
  gateway,
  reserved,
}: AddressedSubnet): readonly WithheldAddress[] {
  const [start = '', prefix = ''] = subnet.split('/');
  const size = 2 ** (32 - Number(prefix));
  const base = Math.floor(ipv4NumberOf(start) / size) * size;
  return [
    { address: gateway === '' ? base + 1 : ipv4NumberOf(gateway), what: 'its gateway' },
    { address: base, what: 'that of the network itself' },
    { address: base + size - 1, what: 'its broadcast address' },
    ...Object.entries(reserved).map(([name, address]) => ({
      address: ipv4NumberOf(address),
      what: `reserved (${name})`,
    })),
  ];
}

/** 0..2^32-1; NaN of what is no IPv4 address */
export function ipv4NumberOf(address: string): number {
  if (!isIPv4(address)) return Number.NaN;
  return address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

function isIn(address: string, subnet: string): boolean {
  const [base = '', prefix = ''] = subnet.split('/');
  if (!/^\d{1,2}$/.test(prefix) || Number(prefix) > 32) return false; // others say that
  const block = new BlockList();
  block.addSubnet(base, Number(prefix), 'ipv4');
  return block.check(address);
}
