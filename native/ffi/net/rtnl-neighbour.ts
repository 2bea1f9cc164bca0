/**
 * Builders and readers of rtnetlink messages about neighbours and bridges' forwarding entries. Pure:
 * bytes in, bytes out.
 */
import { addressBytes, addressText } from './address.ts';
import {
  attributes,
  MessageBatch,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
} from './message.ts';
import { AF_BRIDGE, AF_UNSPEC, familyOf, isIp } from './rtnl-family.ts';

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;

const NUD_PERMANENT = 0x80;
const NUD_NOARP = 0x40;
const NTF_SELF = 0x02;
const NTF_MASTER = 0x04;
const NDA_DST = 1;
const NDA_LLADDR = 2;

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
