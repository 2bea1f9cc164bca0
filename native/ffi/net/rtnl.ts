/**
 * Builders and readers of rtnetlink messages: links, addresses, routes, rules, neighbours. Pure:
 * bytes in, bytes out; what to build is the caller's decision.
 */
import { addressBytes, addressText, isIpv6, parsePrefix } from './address.ts';
import {
  attributes,
  MessageBatch,
  type NetlinkMessage,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  textOf,
} from './message.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;

const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_BRIDGE = 7;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_FD = 28;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
const IFLA_PROTINFO = 12;
const BRPORT_LEARNING = 8;
const BRPORT_UNICAST_FLOOD = 9;
const BRPORT_ISOLATED = 33;
const VETH_INFO_PEER = 1;
const IFF_UP = 1;

const NUD_PERMANENT = 0x80;
const NUD_NOARP = 0x40;
const NTF_SELF = 0x02;
const NTF_MASTER = 0x04;
const NDA_DST = 1;
const NDA_LLADDR = 2;

const IFA_F_NODAD = 2;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_TABLE = 15;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const RTPROT_STATIC = 4;
const RTN_UNICAST = 1;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
export const MAIN_TABLE = 254;
const IPV6_METRIC_DEFAULT = 1024;
/** Of routes to the subnets of a link's own addresses. */
export const IPV6_METRIC_CONNECTED = 256;

/** Which families a dump is of. */
export type Families = 'ipv4' | 'both';
const FAMILY_NUMBER: Readonly<Record<Families, number>> = { ipv4: AF_INET, both: AF_UNSPEC };

const familyOf = (address: string): number => (isIpv6(address) ? AF_INET6 : AF_INET);
const isIp = (family: number | undefined): boolean => family === AF_INET || family === AF_INET6;

export interface LinkOptions {
  readonly name?: string;
  readonly mac?: Uint8Array;
  /** bytes */
  readonly mtu?: number;
  /** ifindex of the bridge, in the namespace where the link ends up */
  readonly master?: number;
  readonly up?: boolean;
  /** descriptor of the namespace to create it in (or, for an existing link, to move it to) */
  readonly netnsFd?: number;
  /** ifindex of the link that it stands on, in the namespace of the socket */
  readonly parent?: number;
}

function linkHeader(batch: MessageBatch, index: number, options: LinkOptions): void {
  batch.u8(AF_UNSPEC);
  batch.u8(0);
  batch.u16(0);
  batch.u32(index);
  batch.u32(options.up === true ? IFF_UP : 0);
  batch.u32(options.up === undefined ? 0 : IFF_UP);
}

function linkAttributes(batch: MessageBatch, options: LinkOptions): void {
  if (options.name !== undefined) batch.attrText(IFLA_IFNAME, options.name);
  if (options.mac) batch.attrBytes(IFLA_ADDRESS, options.mac);
  if (options.mtu !== undefined) batch.attrU32(IFLA_MTU, options.mtu);
  if (options.master !== undefined) batch.attrU32(IFLA_MASTER, options.master);
  if (options.netnsFd !== undefined) batch.attrU32(IFLA_NET_NS_FD, options.netnsFd);
  if (options.parent !== undefined) batch.attrU32(IFLA_LINK, options.parent);
}

function addLink(
  batch: MessageBatch,
  kind: string,
  options: LinkOptions & { readonly name: string },
  data: (() => void) | null,
): void {
  batch.message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, `create ${kind} ${options.name}`, () => {
    linkHeader(batch, 0, options);
    linkAttributes(batch, options);
    batch.nest(IFLA_LINKINFO, () => {
      batch.attrText(IFLA_INFO_KIND, kind);
      if (data) batch.nest(IFLA_INFO_DATA, data);
    });
  });
}

export function addBridge(batch: MessageBatch, options: LinkOptions & { readonly name: string }) {
  addLink(batch, 'bridge', options, () => {
    batch.attrU32(5, 0); // IFLA_BR_STP_STATE: off, ports forward at once
    batch.attrU8(23, 0); // IFLA_BR_MCAST_SNOOPING: nobody queries
    batch.attrU8(36, 0); // IFLA_BR_NF_CALL_IPTABLES: bridged frames are not the firewall's business
  });
}

/** A veth pair; each end may be created directly in its own namespace. */
export function addVeth(
  batch: MessageBatch,
  end: LinkOptions & { readonly name: string },
  peer: LinkOptions & { readonly name: string },
): void {
  addLink(batch, 'veth', end, () => {
    batch.nest(VETH_INFO_PEER, () => {
      linkHeader(batch, 0, peer);
      linkAttributes(batch, peer);
    });
  });
}

/** What macvlan and ipvlan links do among one another (linux/if_link.h). */
const MACVLAN_MODES: Readonly<Record<string, number>> = {
  private: 1,
  vepa: 2,
  bridge: 4,
  passthru: 8,
};
const IPVLAN_MODES: Readonly<Record<string, number>> = { l2: 0, l3: 1, l3s: 2 };

/** A link with a MAC (macvlan) or addresses (ipvlan) of its own on `options.parent`. */
export function addSubLink(
  batch: MessageBatch,
  kind: 'macvlan' | 'ipvlan',
  mode: string,
  options: LinkOptions & { readonly name: string; readonly parent: number },
): void {
  addLink(batch, kind, options, () => {
    if (kind === 'macvlan') batch.attrU32(1, MACVLAN_MODES[mode] ?? 4);
    else batch.attrU16(1, IPVLAN_MODES[mode] ?? 0);
  });
}

/** The part of `options.parent`'s traffic with an 802.1Q tag. */
export function addVlan(
  batch: MessageBatch,
  vlanId: number,
  options: LinkOptions & { readonly name: string; readonly parent: number },
): void {
  addLink(batch, 'vlan', options, () => batch.attrU16(1, vlanId));
}

export interface VxlanOptions {
  /** 24 bits */
  readonly vni: number;
  /** outer source address */
  readonly local: string;
  /** UDP port */
  readonly port: number;
}

/** No learning, no multicast, ARP answered from the neighbour table: a table-driven VXLAN device. */
export function addVxlan(
  batch: MessageBatch,
  options: LinkOptions & { readonly name: string },
  vxlan: VxlanOptions,
): void {
  addLink(batch, 'vxlan', options, () => {
    batch.attrU32(1, vxlan.vni); // IFLA_VXLAN_ID
    // IFLA_VXLAN_LOCAL or IFLA_VXLAN_LOCAL6
    batch.attrBytes(isIpv6(vxlan.local) ? 17 : 4, addressBytes(vxlan.local));
    batch.attrU8(7, 0); // IFLA_VXLAN_LEARNING
    batch.attrU8(11, 1); // IFLA_VXLAN_PROXY
    batch.attrBe16(15, vxlan.port); // IFLA_VXLAN_PORT
    // IFLA_VXLAN_UDP_ZERO_CSUM6_RX: over IPv6 as over IPv4, either is taken
    if (isIpv6(vxlan.local)) batch.attrU8(20, 1);
  });
}

/** Its socket stays in the namespace of the socket that this is sent by, wherever the link is. */
export function addWireguard(
  batch: MessageBatch,
  options: LinkOptions & { readonly name: string },
): void {
  addLink(batch, 'wireguard', options, null);
}

/** Changes an existing link, named by index or by `byName`. */
export function setLink(
  batch: MessageBatch,
  link: { readonly index: number } | { readonly byName: string },
  options: Omit<LinkOptions, 'name'>,
): void {
  const name = 'byName' in link ? link.byName : '';
  batch.message(RTM_SETLINK, 0, `set link ${name === '' ? '' : name}`, () => {
    linkHeader(batch, 'index' in link ? link.index : 0, options);
    linkAttributes(batch, name === '' ? options : { ...options, name });
  });
}

export interface BridgePortOptions {
  readonly learning?: boolean;
  /** frames to unknown MACs go out here */
  readonly unicastFlood?: boolean;
  /** no frames to or from other isolated ports */
  readonly isolated?: boolean;
}

export function setBridgePort(
  batch: MessageBatch,
  index: number,
  options: BridgePortOptions,
): void {
  batch.message(RTM_SETLINK, 0, 'set bridge port', () => {
    batch.u8(AF_BRIDGE);
    batch.u8(0);
    batch.u16(0);
    batch.u32(index);
    batch.u32(0);
    batch.u32(0);
    batch.nest(IFLA_PROTINFO, () => {
      if (options.learning !== undefined) batch.attrU8(BRPORT_LEARNING, options.learning ? 1 : 0);
      if (options.unicastFlood !== undefined)
        batch.attrU8(BRPORT_UNICAST_FLOOD, options.unicastFlood ? 1 : 0);
      if (options.isolated !== undefined) batch.attrU8(BRPORT_ISOLATED, options.isolated ? 1 : 0);
    });
  });
}

/** Deletes by name; `ENODEV` is success. */
export function deleteLink(batch: MessageBatch, name: string): void {
  batch.message(
    RTM_DELLINK,
    0,
    `delete link ${name}`,
    () => {
      linkHeader(batch, 0, {});
      batch.attrText(IFLA_IFNAME, name);
    },
    ['ENODEV'],
  );
}

export interface LinkInfo {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly mac: Buffer;
  readonly mtu: number;
  /** 0 = none */
  readonly master: number;
  /** settings as a port of its bridge; null when it is none */
  readonly port: Required<BridgePortOptions> | null;
  /** `veth`, `bridge`, ...; '' for physical ones */
  readonly kind: string;
  /** null for other kinds */
  readonly vxlan: VxlanOptions | null;
}

/** Asks for one link; `ENODEV` is an empty answer. */
export function getLink(batch: MessageBatch, name: string): void {
  batch.message(
    RTM_GETLINK,
    0,
    `look up link ${name}`,
    () => {
      linkHeader(batch, 0, {});
      batch.attrText(IFLA_IFNAME, name);
    },
    ['ENODEV'],
  );
}

export function dumpLinks(): MessageBatch {
  const batch = new MessageBatch(64);
  batch.message(RTM_GETLINK, NLM_F_DUMP, 'list links', () => linkHeader(batch, 0, {}));
  return batch;
}

export function readLinks(messages: readonly NetlinkMessage[]): LinkInfo[] {
  return messages
    .filter((message) => message.type === RTM_NEWLINK)
    .map(({ payload }) => {
      const found = attributes(payload.subarray(16));
      const info = attributes(found.get(IFLA_LINKINFO) ?? Buffer.alloc(0));
      const kind = textOf(info.get(IFLA_INFO_KIND) ?? Buffer.alloc(0));
      const isPort = textOf(info.get(IFLA_INFO_SLAVE_KIND) ?? Buffer.alloc(0)) === 'bridge';
      return {
        index: payload.readInt32LE(4),
        name: textOf(found.get(IFLA_IFNAME) ?? Buffer.alloc(0)),
        up: (payload.readUInt32LE(8) & IFF_UP) !== 0,
        mac: found.get(IFLA_ADDRESS) ?? Buffer.alloc(0),
        port: isPort ? readPort(info.get(IFLA_INFO_SLAVE_DATA) ?? Buffer.alloc(0)) : null,
        mtu: found.get(IFLA_MTU)?.readUInt32LE() ?? 0,
        master: found.get(IFLA_MASTER)?.readUInt32LE() ?? 0,
        kind,
        vxlan: kind === 'vxlan' ? readVxlan(info.get(IFLA_INFO_DATA) ?? Buffer.alloc(0)) : null,
      };
    });
}

function readPort(data: Buffer): Required<BridgePortOptions> {
  const found = attributes(data);
  const flag = (type: number): boolean => found.get(type)?.readUInt8(0) === 1;
  return {
    learning: flag(BRPORT_LEARNING),
    unicastFlood: flag(BRPORT_UNICAST_FLOOD),
    isolated: flag(BRPORT_ISOLATED),
  };
}

function readVxlan(data: Buffer): VxlanOptions {
  const found = attributes(data);
  const local = found.get(4) ?? found.get(17);
  return {
    vni: found.get(1)?.readUInt32LE() ?? 0,
    local: local ? addressText(local) : '',
    port: found.get(15)?.readUInt16BE() ?? 0,
  };
}

/** `cidr` such as `10.0.1.5/24` or `fd00::5/64`; the same address being there already is success. */
export function addAddress(batch: MessageBatch, index: number, cidr: string): void {
  const { address, length } = parsePrefix(cidr);
  const bytes = addressBytes(address);
  batch.message(
    RTM_NEWADDR,
    NLM_F_CREATE | NLM_F_REPLACE,
    `add address ${cidr}`,
    () => {
      batch.u8(familyOf(address));
      batch.u8(length);
      // Nobody else can have it: usable at once, without asking around first.
      batch.u8(isIpv6(address) ? IFA_F_NODAD : 0);
      batch.u8(RT_SCOPE_UNIVERSE);
      batch.u32(index);
      batch.attrBytes(2, bytes); // IFA_LOCAL
      batch.attrBytes(1, bytes); // IFA_ADDRESS
    },
    ['EEXIST'],
  );
}

export interface AddressInfo {
  readonly index: number;
  readonly address: string;
  readonly length: number;
}

export function dumpAddresses(families: Families = 'ipv4'): MessageBatch {
  const batch = new MessageBatch(64);
  batch.message(RTM_GETADDR, NLM_F_DUMP, 'list addresses', () => {
    batch.u32(FAMILY_NUMBER[families]);
    batch.u32(0);
  });
  return batch;
}

export function readAddresses(messages: readonly NetlinkMessage[]): AddressInfo[] {
  const found: AddressInfo[] = [];
  for (const { type, payload } of messages) {
    if (type !== RTM_NEWADDR || !isIp(payload[0])) continue;
    const attrs = attributes(payload.subarray(8));
    const local = attrs.get(2) ?? attrs.get(1); // IPv6 has IFA_ADDRESS only
    if (!local) continue;
    found.push({
      index: payload.readUInt32LE(4),
      address: addressText(local),
      length: payload.readUInt8(1),
    });
  }
  return found;
}

export interface RouteOptions {
  /** CIDR; `0.0.0.0/0` and `::/0` = default */
  readonly to: string;
  readonly via?: string;
  readonly index: number;
  readonly source?: string;
  readonly table?: number;
  readonly metric?: number;
}

function routeBody(batch: MessageBatch, route: RouteOptions): void {
  const { address, length } = parsePrefix(route.to);
  const table = route.table ?? MAIN_TABLE;
  batch.u8(familyOf(address));
  batch.u8(length);
  batch.u8(0);
  batch.u8(0);
  batch.u8(table < 256 ? table : 0);
  batch.u8(RTPROT_STATIC);
  batch.u8(route.via === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  batch.u8(RTN_UNICAST);
  batch.u32(0);
  if (length > 0) batch.attrBytes(RTA_DST, addressBytes(address));
  batch.attrU32(RTA_OIF, route.index);
  if (route.via !== undefined) batch.attrBytes(RTA_GATEWAY, addressBytes(route.via));
  if (route.source !== undefined) batch.attrBytes(RTA_PREFSRC, addressBytes(route.source));
  if (route.metric !== undefined) batch.attrU32(RTA_PRIORITY, route.metric);
  batch.attrU32(RTA_TABLE, table);
}

/** Adds or replaces. */
export function addRoute(batch: MessageBatch, route: RouteOptions): void {
  batch.message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, `add route to ${route.to}`, () =>
    routeBody(batch, route),
  );
}

/** Beside another one to the same prefix; that it is there already is success. */
export function appendRoute(batch: MessageBatch, route: RouteOptions): void {
  const flags = NLM_F_CREATE | NLM_F_APPEND;
  const body = (): void => routeBody(batch, route);
  batch.message(RTM_NEWROUTE, flags, `add route to ${route.to}`, body, ['EEXIST']);
}

export function deleteRoute(batch: MessageBatch, route: RouteOptions): void {
  batch.message(RTM_DELROUTE, 0, `delete route to ${route.to}`, () => routeBody(batch, route), [
    'ESRCH',
  ]);
}

export interface RouteInfo {
  readonly to: string;
  readonly length: number;
  readonly index: number;
  /** null = on the link itself */
  readonly via: string | null;
  readonly table: number;
  readonly metric: number;
}

export function dumpRoutes(families: Families = 'ipv4'): MessageBatch {
  const batch = new MessageBatch(64);
  batch.message(RTM_GETROUTE, NLM_F_DUMP, 'list routes', () => {
    batch.u32(FAMILY_NUMBER[families]);
    batch.u32(0);
    batch.u32(0);
  });
  return batch;
}

export function readRoutes(messages: readonly NetlinkMessage[]): RouteInfo[] {
  const found: RouteInfo[] = [];
  for (const { type, payload } of messages) {
    if (type !== RTM_NEWROUTE || !isIp(payload[0])) continue;
    const attrs = attributes(payload.subarray(12));
    const destination = attrs.get(RTA_DST);
    const anywhere = payload[0] === AF_INET6 ? '::' : '0.0.0.0';
    found.push({
      to: destination ? addressText(destination) : anywhere,
      length: payload.readUInt8(1),
      index: attrs.get(RTA_OIF)?.readUInt32LE() ?? 0,
      via: textOrNull(attrs.get(RTA_GATEWAY)),
      table: attrs.get(RTA_TABLE)?.readUInt32LE() ?? payload.readUInt8(4),
      metric: metricOf(payload[0], attrs.get(RTA_PRIORITY)?.readUInt32LE() ?? 0),
    });
  }
  return found;
}

/** What the kernel gives IPv6 routes that name none is none. */
function metricOf(family: number | undefined, metric: number): number {
  return family === AF_INET6 && metric === IPV6_METRIC_DEFAULT ? 0 : metric;
}

function textOrNull(address: Buffer | undefined): string | null {
  return address ? addressText(address) : null;
}

export interface MarkRule {
  readonly family: 'ipv4' | 'ipv6';
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
  readonly priority: number;
}

function ruleBody(batch: MessageBatch, rule: MarkRule): void {
  batch.u8(rule.family === 'ipv6' ? AF_INET6 : AF_INET);
  batch.u8(0);
  batch.u8(0);
  batch.u8(0);
  batch.u8(rule.table < 256 ? rule.table : 0);
  batch.u8(0);
  batch.u8(0);
  batch.u8(1); // FR_ACT_TO_TBL
  batch.u32(0);
  batch.attrU32(FRA_PRIORITY, rule.priority);
  batch.attrU32(FRA_FWMARK, rule.mark);
  batch.attrU32(FRA_FWMASK, rule.mask);
  batch.attrU32(FRA_TABLE, rule.table);
}

export function addMarkRule(batch: MessageBatch, rule: MarkRule): void {
  batch.message(
    RTM_NEWRULE,
    NLM_F_CREATE | NLM_F_EXCL,
    `add rule for mark ${rule.mark}`,
    () => ruleBody(batch, rule),
    ['EEXIST'],
  );
}

export function deleteMarkRule(batch: MessageBatch, rule: MarkRule): void {
  batch.message(RTM_DELRULE, 0, `delete rule for mark ${rule.mark}`, () => ruleBody(batch, rule), [
    'ENOENT',
    'EAFNOSUPPORT',
  ]);
}

/** Of both families. */
export function dumpMarkRules(): MessageBatch {
  const batch = new MessageBatch(64);
  batch.message(RTM_GETRULE, NLM_F_DUMP, 'list routing rules', () => {
    batch.u8(AF_UNSPEC);
    batch.u8(0);
    batch.u16(0);
    batch.u32(0);
    batch.u32(0);
  });
  return batch;
}

/** The rules that go by a mark. */
export function readMarkRules(messages: readonly NetlinkMessage[]): MarkRule[] {
  const found: MarkRule[] = [];
  for (const { type, payload } of messages) {
    if (type !== RTM_NEWRULE || !isIp(payload[0])) continue;
    const attrs = attributes(payload.subarray(12));
    const number = (attribute: number): number => attrs.get(attribute)?.readUInt32LE() ?? 0;
    if (!attrs.has(FRA_FWMARK)) continue;
    found.push({
      family: payload[0] === AF_INET6 ? 'ipv6' : 'ipv4',
      mark: number(FRA_FWMARK),
      mask: number(FRA_FWMASK),
      table: attrs.has(FRA_TABLE) ? number(FRA_TABLE) : payload.readUInt8(4),
      priority: number(FRA_PRIORITY),
    });
  }
  return found;
}

function neighbourBody(
  batch: MessageBatch,
  family: number,
  index: number,
  state: number,
  flags: number,
): void {
  batch.u8(family);
  batch.u8(0);
  batch.u16(0);
  batch.u32(index);
  batch.u16(state);
  batch.u8(flags);
  batch.u8(0);
}

/** Frames for `mac` leave through the VXLAN device `index` to the host at `host`. */
export function addRemoteMac(batch: MessageBatch, index: number, mac: Uint8Array, host: string) {
  batch.message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, `forward to host ${host}`, () => {
    neighbourBody(batch, AF_BRIDGE, index, NUD_PERMANENT | NUD_NOARP, NTF_SELF);
    batch.attrBytes(NDA_LLADDR, mac);
    batch.attrBytes(NDA_DST, addressBytes(host));
  });
}

export function deleteRemoteMac(batch: MessageBatch, index: number, mac: Uint8Array): void {
  batch.message(
    RTM_DELNEIGH,
    0,
    'delete forwarding entry',
    () => {
      neighbourBody(batch, AF_BRIDGE, index, NUD_PERMANENT, NTF_SELF);
      batch.attrBytes(NDA_LLADDR, mac);
    },
    ['ENOENT'],
  );
}

/** The bridge that port `index` belongs to knows `mac` to be there, whatever frames claim. */
export function addPortMac(batch: MessageBatch, index: number, mac: Uint8Array): void {
  batch.message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, 'pin MAC to bridge port', () => {
    neighbourBody(batch, AF_BRIDGE, index, NUD_NOARP, NTF_MASTER);
    batch.attrBytes(NDA_LLADDR, mac);
  });
}

export function dumpForwarding(): MessageBatch {
  const batch = new MessageBatch(64);
  batch.message(RTM_GETNEIGH, NLM_F_DUMP, 'list bridge forwarding entries', () => {
    // The kernel tells a bridge dump by an ifinfomsg header here, not an ndmsg.
    batch.u8(AF_BRIDGE);
    batch.u8(0);
    batch.u16(0);
    batch.u32(0);
    batch.u32(0);
    batch.u32(0);
  });
  return batch;
}

export interface ForwardingEntry {
  readonly index: number;
  readonly mac: Buffer;
  /** the remote host, null for entries of a bridge */
  readonly host: string | null;
  /** put there for good (`addPortMac`), not learnt, not a port's own */
  readonly pinned: boolean;
}

export function readForwarding(messages: readonly NetlinkMessage[]): ForwardingEntry[] {
  const found: ForwardingEntry[] = [];
  for (const { type, payload } of messages) {
    if (type !== RTM_NEWNEIGH || payload[0] !== AF_BRIDGE) continue;
    const attrs = attributes(payload.subarray(12));
    const mac = attrs.get(NDA_LLADDR);
    const host = attrs.get(NDA_DST);
    if (!mac) continue;
    found.push({
      index: payload.readInt32LE(4),
      mac,
      host: host ? addressText(host) : null,
      pinned: payload.readUInt16LE(8) === NUD_NOARP,
    });
  }
  return found;
}

/** A permanent entry (ARP, or neighbour discovery) on link `index`: the VXLAN device answers for it. */
export function addNeighbour(
  batch: MessageBatch,
  index: number,
  address: string,
  mac: Uint8Array,
): void {
  batch.message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, `add neighbour ${address}`, () => {
    neighbourBody(batch, familyOf(address), index, NUD_PERMANENT, 0);
    batch.attrBytes(NDA_DST, addressBytes(address));
    batch.attrBytes(NDA_LLADDR, mac);
  });
}

export function deleteNeighbour(batch: MessageBatch, index: number, address: string): void {
  batch.message(
    RTM_DELNEIGH,
    0,
    `delete neighbour ${address}`,
    () => {
      neighbourBody(batch, familyOf(address), index, 0, 0);
      batch.attrBytes(NDA_DST, addressBytes(address));
    },
    ['ENOENT'],
  );
}

export function dumpNeighbours(): MessageBatch {
  const batch = new MessageBatch(64);
  batch.message(RTM_GETNEIGH, NLM_F_DUMP, 'list neighbours', () =>
    neighbourBody(batch, AF_UNSPEC, 0, 0, 0),
  );
  return batch;
}

export interface NeighbourInfo {
  readonly index: number;
  readonly address: string;
  readonly mac: Buffer;
}

/** The permanent ones: what was put there. */
export function readNeighbours(messages: readonly NetlinkMessage[]): NeighbourInfo[] {
  const found: NeighbourInfo[] = [];
  for (const { type, payload } of messages) {
    if (type !== RTM_NEWNEIGH || !isIp(payload[0])) continue;
    const attrs = attributes(payload.subarray(12));
    const address = attrs.get(NDA_DST);
    const mac = attrs.get(NDA_LLADDR);
    if (!address || !mac || (payload.readUInt16LE(8) & NUD_PERMANENT) === 0) continue;
    found.push({ index: payload.readInt32LE(4), address: addressText(address), mac });
  }
  return found;
}
