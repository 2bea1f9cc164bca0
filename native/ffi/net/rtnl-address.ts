/** Builders and readers of rtnetlink messages about addresses of links. Pure: bytes in, bytes out. */
import { addressBytes, addressText, isIpv6, parsePrefix } from './address.ts';
import {
  attributes,
  MessageBatch,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
} from './message.ts';
import { FAMILY_NUMBER, type Families, familyOf, isIp } from './rtnl-family.ts';

const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

const IFA_F_NODAD = 2;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_HOST = 254;

/** `cidr` such as `10.0.1.5/24` or `fd00::5/64`; the same address being there already is success. */
export function addAddress(batch: MessageBatch, index: number, cidr: string): void {
  const flags = NLM_F_CREATE | NLM_F_REPLACE;
  const body = (): void => addressBody(batch, index, cidr);
  batch.message(RTM_NEWADDR, flags, `add address ${cidr}`, body, ['EEXIST']);
}

/** With it go the routes that the kernel made for it. That there is none is success. */
export function deleteAddress(batch: MessageBatch, index: number, cidr: string): void {
  const body = (): void => addressBody(batch, index, cidr);
  batch.message(RTM_DELADDR, 0, `delete address ${cidr}`, body, ['EADDRNOTAVAIL']);
}

function addressBody(batch: MessageBatch, index: number, cidr: string): void {
  const { address, length } = parsePrefix(cidr);
  const bytes = addressBytes(address);
  batch.u8(familyOf(address));
  batch.u8(length);
  // Nobody else can have it: usable at once, without asking around first.
  batch.u8(isIpv6(address) ? IFA_F_NODAD : 0);
  // With any other scope it would be what is sent from by links that have no address.
  batch.u8(address.startsWith('127.') ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE);
  batch.u32(index);
  batch.attrBytes(2, bytes); // IFA_LOCAL
  batch.attrBytes(1, bytes); // IFA_ADDRESS
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
