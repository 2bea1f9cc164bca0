/**
 * What a container outside of services wants of its networks, and what it has there, of this node's and of the
 * cluster's. Pure.
 */
import { SkepError } from '../../common/base/errors.ts';
import { DEFAULT_BRIDGE_ID, GATEWAY_NETWORK_ID } from './local-network.ts';
import type { LocalPlace, LocalSeat } from './local-plan.ts';

/** Another name that one container alone has for one in the same network. */
export interface NetworkLink {
  readonly alias: string;
  /** name or id of the other */
  readonly target: string;
}

/** What a person wants of one network. */
export interface EndpointWish {
  /** name or id */
  readonly network: string;
  readonly aliases: readonly string[];
  /** '' = any */
  readonly address: string;
  /** '' = by the address */
  readonly mac: string;
  /** absent = none */
  readonly links?: readonly NetworkLink[];
  /** it is one of the cluster's: nothing can be done while this node has no part there */
  readonly isOfCluster?: true;
}

/** A container's place in one network; to be kept over restarts of the daemon. */
export interface ContainerSeat extends LocalSeat {
  readonly name: string;
  readonly aliases: readonly string[];
  /** absent = none */
  readonly links?: readonly NetworkLink[];
  /** absent = in a network of this node */
  readonly ofCluster?: {
    /** no way out by it */
    readonly internal: boolean;
  };
}

export interface ContainerPlace extends LocalPlace {
  readonly seats: readonly ContainerSeat[];
}

export const NO_PLACE: ContainerPlace = { seats: [], ports: [] };

/** True when names are asked of the resolver in the container's own namespace. */
export function hasResolver({ seats }: Pick<ContainerPlace, 'seats'>): boolean {
  return seats.some(({ networkId }) => isNamed(networkId));
}

/** By which it is known in its networks. */
export function addressesOf({ seats }: Pick<ContainerPlace, 'seats'>): string[] {
  const known = seats.filter(({ networkId }) => networkId !== GATEWAY_NETWORK_ID);
  return known.map(({ address }) => address);
}

/** The first of `eth0`, `eth1`, ... that no seat has. */
export function freeLink(seats: readonly ContainerSeat[]): string {
  const taken = new Set(seats.map(({ link }) => link));
  for (let i = 0; ; i++) if (!taken.has(`eth${i}`)) return `eth${i}`;
}

/** In `bridge`, and on the way out, nobody has a name. */
export function isNamed(networkId: string): boolean {
  return networkId !== DEFAULT_BRIDGE_ID && networkId !== GATEWAY_NETWORK_ID;
}

/** The network `bridge` is for what wants nothing of it. */
export function refuseOnBridge(address: string, aliases: readonly string[]): void {
  if (address !== '') {
    const words = 'user specified IP address is supported on user defined networks only';
    throw new SkepError('invalid-argument', words);
  }
  if (aliases.length === 0) return;
  const words = 'network-scoped aliases are only supported for containers in user-defined networks';
  throw new SkepError('invalid-argument', words);
}
