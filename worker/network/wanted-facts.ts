/**
 * What ought to be in the kernel, as facts: pure functions from what is wanted of a namespace. Knows
 * neither how it is made nor what is there.
 */
import { address6Of } from '../../common/base/ipv6.ts';
import { isIpv6, macOf, macText, networkOf, parsePrefix } from '../../native/ffi/net/address.ts';
import type { VxlanOptions } from '../../native/ffi/net/rtnl-link.ts';
import { IPV6_METRIC_CONNECTED, LOCAL_TABLE, MAIN_TABLE } from '../../native/ffi/net/rtnl-route.ts';
import type { PortsApart } from './bridged-packets.ts';
import { anywhereOf, ENTRY_PRIORITY, entryMark, familyOf, isEntryMark } from './entry-rules.ts';
import { FACT, type Facts, portWords, vxlanWords } from './kernel-facts.ts';
import {
  GATEWAY_BRIDGE,
  INGRESS_LINK,
  IPV4_FORWARDING,
  IPV6_FORWARDING,
  OVERLAY_BRIDGE,
  OVERLAY_VXLAN,
} from './kernel-names.ts';
import { loopbackReturnFacts } from './loopback6.ts';

/** Worse than any route a user adds. */
export const LAST_METRIC = 0x7fffffff;

/** A link with an address of ours; its MAC follows from the address. */
export interface WantedSeat {
  readonly link: string;
  /** CIDR */
  readonly address: string;
  /** CIDR; absent = IPv4 only */
  readonly address6?: string | undefined;
  /** bytes */
  readonly mtu: number;
}

/** A link and an address on it, in CIDR notation. */
export interface SeatAddress {
  readonly link: string;
  readonly address: string;
}

/** The resolver of a namespace is at one that follows from it. */
export const LOOPBACK: SeatAddress = { link: 'lo', address: '127.0.0.1/8' };

export interface WantedOverlay {
  /** bytes */
  readonly mtu: number;
  readonly vxlan: VxlanOptions;
  /** CIDR in which every seat has an address too; '' = IPv4 only */
  readonly subnet6: string;
  /** address -> the other host that holds it */
  readonly remote: ReadonlyMap<string, string>;
  /** link -> the address behind it */
  readonly ports: ReadonlyMap<string, string>;
}

export interface WantedTask {
  readonly legs: readonly WantedSeat[];
  /** null = no way out */
  readonly wayOut:
    | (WantedSeat & { readonly via: string; readonly via6?: string | undefined })
    | null;
  /** replies to clients from outside; null = no seat in the ingress network */
  readonly entry: {
    readonly link: string;
    /** addresses of both families */
    readonly nodes: readonly string[];
  } | null;
}

export interface WantedHost {
  /** null = no task here has a way out yet */
  readonly gateway: {
    readonly seat: WantedSeat;
    /** link -> the address behind it */
    readonly ports: ReadonlyMap<string, string>;
    readonly apart: PortsApart;
  } | null;
  /** the host's own seat in the ingress network */
  readonly ingress: WantedSeat | null;
}

/** The subnet of an address in CIDR notation. */
export function subnetOf(cidr: string): string {
  return networkOf(parsePrefix(cidr));
}

export const addressOf = (cidr: string): string => parsePrefix(cidr).address;

export function overlayFacts({ mtu, vxlan, subnet6, remote, ports }: WantedOverlay): Facts {
  const facts = new Map<string, string>();
  const addLink = (name: string, kind: string): void => {
    facts.set(FACT.link(name), kind);
    facts.set(FACT.state(name), 'up');
    facts.set(FACT.mtu(name), `${mtu}`);
  };
  addLink(OVERLAY_BRIDGE, 'bridge');
  addLink(OVERLAY_VXLAN, 'vxlan');
  facts.set(FACT.vxlan(OVERLAY_VXLAN), vxlanWords(vxlan));
  facts.set(FACT.master(OVERLAY_VXLAN), OVERLAY_BRIDGE);
  const trunk = { learning: false, unicastFlood: true, isolated: false };
  facts.set(FACT.port(OVERLAY_VXLAN), portWords(trunk));
  for (const [link, address] of ports) {
    addLink(link, 'veth');
    addPort(facts, link, OVERLAY_BRIDGE, address, { isolated: false, hairpin: false });
  }
  for (const [address, host] of remote) {
    const mac = macOf(address);
    facts.set(FACT.remoteMac(OVERLAY_VXLAN, mac), host);
    facts.set(FACT.neighbour(OVERLAY_VXLAN, address), macText(mac));
    if (subnet6 === '') continue;
    facts.set(FACT.neighbour(OVERLAY_VXLAN, address6Of(subnet6, address)), macText(mac));
  }
  return facts;
}

function addPort(
  facts: Map<string, string>,
  link: string,
  bridge: string,
  address: string,
  apart: PortsApart,
): void {
  facts.set(FACT.state(link), 'up');
  facts.set(FACT.master(link), bridge);
  facts.set(FACT.port(link), portWords({ learning: false, unicastFlood: false, ...apart }));
  facts.set(FACT.pinnedMac(link, macOf(address)), 'pinned');
}

/** Nobody but us says who is beyond the VXLAN device. */
export function isOverlayFactOfOurs(what: string): boolean {
  return what.endsWith(` beyond ${OVERLAY_VXLAN}`) || what.endsWith(` on ${OVERLAY_VXLAN}`);
}

/** Of both families. */
export function addressesOf(seats: readonly WantedSeat[]): SeatAddress[] {
  return seats.flatMap(({ link, address, address6 }) => [
    { link, address },
    ...(address6 === undefined ? [] : [{ link, address: address6 }]),
  ]);
}

/**
 * Without which nothing reaches an address: the kernel makes them with it, and who may alter routes can take them away. Of IPv4
 * alone: those of IPv6 come some time after the address, and would be missed where nothing is missing.
 */
export function deliveryOf({ link, address }: SeatAddress): string[] {
  if (isIpv6(address)) return [];
  const own = `${addressOf(address)}/32`;
  return link === LOOPBACK.link ? [own, subnetOf(address)] : [own];
}

/** Of the loopback link, and of what is delivered in a namespace. */
export function deliveryFacts(addresses: readonly SeatAddress[]): Facts {
  const facts = new Map([
    [FACT.state(LOOPBACK.link), 'up'],
    [FACT.address(LOOPBACK.link, LOOPBACK.address), 'there'],
  ]);
  for (const seat of [LOOPBACK, ...addresses]) {
    for (const to of deliveryOf(seat)) {
      facts.set(FACT.linkRoute(LOCAL_TABLE, to, seat.link), 'there');
    }
  }
  return facts;
}

function addSeat(facts: Map<string, string>, seat: WantedSeat, kind: string): void {
  const { link, address, address6, mtu } = seat;
  facts.set(FACT.link(link), kind);
  facts.set(FACT.state(link), 'up');
  facts.set(FACT.mtu(link), `${mtu}`);
  facts.set(FACT.mac(link), macText(macOf(addressOf(address))));
  facts.set(FACT.address(link, address), 'there');
  facts.set(FACT.linkRoute(MAIN_TABLE, subnetOf(address), link), 'there');
  if (address6 === undefined) return;
  facts.set(FACT.address(link, address6), 'there');
  const connected = FACT.linkRoute(MAIN_TABLE, subnetOf(address6), link, IPV6_METRIC_CONNECTED);
  facts.set(connected, 'there');
}

export function taskFacts({ legs, wayOut, entry }: WantedTask): Facts {
  const facts = new Map(deliveryFacts(addressesOf(wayOut ? [...legs, wayOut] : legs)));
  for (const seat of legs) addSeat(facts, seat, 'veth');
  if (wayOut) {
    addSeat(facts, wayOut, 'veth');
    facts.set(FACT.route(MAIN_TABLE, '0.0.0.0/0'), `via ${wayOut.via} on ${wayOut.link}`);
    if (wayOut.via6 !== undefined) {
      facts.set(FACT.route(MAIN_TABLE, '::/0'), `via ${wayOut.via6} on ${wayOut.link}`);
    }
  }
  if (!entry) return facts;
  if (!wayOut) facts.set(FACT.linkRoute(MAIN_TABLE, '0.0.0.0/0', 'lo', LAST_METRIC), 'there');
  if (entry.nodes.some(isIpv6)) {
    facts.set(FACT.linkRoute(MAIN_TABLE, '::/0', entry.link, LAST_METRIC), 'there');
  }
  for (const node of entry.nodes) {
    const table = entryMark(node);
    facts.set(FACT.markRule(ENTRY_PRIORITY, table, familyOf(node)), `table ${table}`);
    facts.set(FACT.route(table, anywhereOf(node)), `via ${node} on ${entry.link}`);
  }
  return facts;
}

/** Entry rules are ours alone; all else in a task's namespace the task may have added to. */
export function isTaskFactOfOurs(what: string): boolean {
  const prefix = FACT.markRule(ENTRY_PRIORITY, 0).slice(0, -1);
  const [mark = ''] = what.slice(prefix.length).split(' ');
  return what.startsWith(prefix) && isEntryMark(Number(mark));
}

export function hostFacts({ gateway, ingress }: WantedHost): Facts {
  const facts = new Map<string, string>();
  if (gateway) {
    addSeat(facts, gateway.seat, 'bridge');
    for (const [link, address] of gateway.ports) {
      facts.set(FACT.link(link), 'veth');
      addPort(facts, link, GATEWAY_BRIDGE, address, gateway.apart);
    }
  }
  if (ingress) addSeat(facts, ingress, 'veth');
  if (ingress?.address6) for (const fact of loopbackReturnFacts()) facts.set(...fact);
  for (const name of hostSettings({ gateway, ingress })) facts.set(FACT.setting(name), '1');
  return facts;
}

/** Files below /proc/sys/net that must say 1. */
export function hostSettings({ gateway, ingress }: WantedHost): string[] {
  return [
    ...(gateway || ingress ? [IPV4_FORWARDING] : []),
    // Published ports answer on 127.0.0.1 as well; what comes from outside is dropped by rule.
    ...(gateway ? [`ipv4/conf/${GATEWAY_BRIDGE}/route_localnet`] : []),
    ...(ingress ? [`ipv4/conf/${INGRESS_LINK}/route_localnet`] : []),
    ...(ingress?.address6 || gateway?.seat.address6 ? [IPV6_FORWARDING] : []),
  ];
}
