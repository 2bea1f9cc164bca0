/**
 * Builders and readers of rtnetlink messages about links and bridge ports. Pure: bytes in, bytes out;
 * what to build is the caller's decision.
 */
import { addressBytes, addressText, isIpv6 } from './address.ts';
import {
  attributes,
  MessageBatch,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  textOf,
} from './message.ts';
import { AF_BRIDGE, AF_UNSPEC } from './rtnl-family.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;

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
const BRPORT_HAIRPIN = 4;
const BRPORT_LEARNING = 8;
const BRPORT_UNICAST_FLOOD = 9;
const BRPORT_ISOLATED = 33;
const VETH_INFO_PEER = 1;
const IFF_UP = 1;

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
  /** frames may leave by the port that they came by */
  readonly hairpin?: boolean;
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
      if (options.hairpin !== undefined) batch.attrU8(BRPORT_HAIRPIN, options.hairpin ? 1 : 0);
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
    hairpin: flag(BRPORT_HAIRPIN),
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
