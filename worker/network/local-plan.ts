/**
 * What ought to be in the kernel for the networks of this node and the containers in them: links, rules,
 * guarded ports. Pure.
 */
import { macOf, parsePrefix } from '../../native/ffi/net/address.ts';
import { localPortName, type OwnNames } from './kernel-names.ts';
import type { WantedBridge, WantedLink } from './local-links.ts';
import { deviceOf, type LocalNetwork, macBytes } from './local-network.ts';
import type { BoundPort } from './local-ports.ts';
import type { PublishedPort, RuledBridge } from './local-rules.ts';
import type { GuardedSeat } from './port-guard.ts';

/** What a container has in one network; to be kept over restarts of the daemon. */
export interface LocalSeat {
  readonly networkId: string;
  /** in the container, e.g. `eth0` */
  readonly link: string;
  /** without prefix length */
  readonly address: string;
  readonly prefixLength: number;
  /** '' = no way out */
  readonly gateway: string;
  /** `02:42:ac:11:00:02`; '' = that of the parent */
  readonly mac: string;
}

export interface LocalPlace {
  readonly seats: readonly LocalSeat[];
  readonly ports: readonly BoundPort[];
}

/** A container with places in networks of this node. */
export interface Holder {
  readonly id: string;
  /** held: the namespace of a pid that ended may be another's by now */
  readonly namespaceFd: number;
  seats: readonly LocalSeat[];
  ports: readonly BoundPort[];
}

/** The networks as they are known, and who is in them. */
export interface LocalScene {
  readonly names: OwnNames;
  readonly networks: ReadonlyMap<string, LocalNetwork>;
  readonly holders: ReadonlyMap<string, Holder>;
}

/** Of the namespace; as long as the descriptor is held. */
export const pathOf = ({ namespaceFd }: Holder): string => `/proc/self/fd/${namespaceFd}`;

/** The first that leads out. */
export function wayOutOf({ seats }: Holder): LocalSeat | null {
  return seats.find(({ gateway }) => gateway !== '') ?? null;
}

/** Where connections to published ports go: the way out if it is a bridge, else another bridge. */
export function publishingSeat({ networks }: LocalScene, { seats }: Holder): LocalSeat | undefined {
  return seats.find(({ networkId, gateway }) => {
    const network = networks.get(networkId);
    return network !== undefined && deviceOf(network).kind === 'bridge' && gateway !== '';
  });
}

/** In the order of the container's seats; none for a network that is not known. */
export function linksOf({ names, networks }: LocalScene, { id, seats }: Holder): WantedLink[] {
  return seats.flatMap((seat) => {
    const network = networks.get(seat.networkId);
    if (!network) return [];
    const device = deviceOf(network);
    const port = device.kind === 'bridge' ? localPortName(names, network.id, id) : '';
    const { networkId, link, address, prefixLength, mac } = seat;
    return [{ networkId, device, port, link, address, prefixLength, mac }];
  });
}

export function allLinks(scene: LocalScene): WantedLink[] {
  return [...scene.holders.values()].flatMap((holder) => linksOf(scene, holder));
}

/** Bridges with somebody on them. */
export function wantedBridges(scene: LocalScene): WantedBridge[] {
  const links = allLinks(scene);
  return [...scene.networks.values()].flatMap((network) => {
    const device = deviceOf(network);
    const seats = links.filter(({ networkId }) => networkId === network.id);
    if (device.kind !== 'bridge' || !network.ipam || seats.length === 0) return [];
    const { gateway, subnet } = network.ipam;
    const cidr = `${gateway}/${parsePrefix(subnet).length}`;
    return [{ networkId: network.id, device, cidr, mac: macOf(gateway), seats }];
  });
}

export function ruledBridges(scene: LocalScene): RuledBridge[] {
  return wantedBridges(scene).map(({ networkId, device, cidr }) => ({
    link: device.link,
    subnet: parsePrefix(cidr),
    internal: scene.networks.get(networkId)?.spec.internal === true,
    isolated: device.isolated,
    masquerade: device.masquerade,
  }));
}

export function publishedPorts(scene: LocalScene): PublishedPort[] {
  return [...scene.holders.values()].flatMap((holder) => {
    const seat = publishingSeat(scene, holder);
    return seat ? holder.ports.map((port) => ({ address: seat.address, port })) : [];
  });
}

export function guardedPorts(scene: LocalScene): Map<string, GuardedSeat> {
  const onBridges = allLinks(scene).filter(({ port }) => port !== '');
  return new Map(
    onBridges.map(({ port, address, mac }) => [port, { address, mac: macBytes(mac) }]),
  );
}
