/**
 * How a task answers connections from outside through the node that let them in: the connection is
 * marked by the MAC of that node's seat in the ingress network, replies are routed by the mark. So
 * the client's address needs no translation. Pure: rules and routes as values.
 */
import {
  addressBytes,
  isIpv6,
  macOf,
  maskNumber,
  networkOf,
  type Prefix,
  parsePrefix,
} from '../../native/ffi/net/address.ts';
import type { MessageBatch } from '../../native/ffi/net/message.ts';
import { NFT_TYPE, numberKey, type TableWriter } from '../../native/ffi/net/nft.ts';
import {
  connectionDirection,
  connectionMarked,
  dnatTo,
  fromInterface,
  IPPROTO,
  l4Protocol,
  markConnectionBySourceMac,
  markFromConnection,
  sourceIn,
  sourceIn6,
  zoneBySourceMac,
} from '../../native/ffi/net/nft-expressions.ts';
import {
  addMarkRule,
  addRoute,
  deleteMarkRule,
  deleteRoute,
  type MarkRule,
} from '../../native/ffi/net/rtnl-route.ts';
import { PRIORITY } from './kernel-names.ts';

const ENTRY_NODES = 'entry_nodes';
/** Marks and routing tables in a task's namespace are ours: one per entry node. */
const MARK_BASE = 0x5ce00000;
const MARK_MASK = 0xffffffff;
/** Before the main table (32766): a client may have an address that a task's network has too. */
export const ENTRY_PRIORITY = 1000;

export interface EntryRules {
  /** the task's link in the ingress network */
  readonly link: string;
  /** addresses of the nodes' seats in the ingress network */
  readonly nodes: readonly string[];
  /** what the task's sockets send from by default; UDP and SCTP are delivered to it, so that replies match */
  readonly localAddress: string;
  /** of the ingress network: what comes from it is answered to it directly; null = no other address is replied from */
  readonly subnet: Prefix | null;
}

/**
 * Mark and table of an entry node: the last 20 bits of its address, of either family, tell them apart. The last 16 are the
 * zone of its connections.
 */
export function entryMark(nodeAddress: string): number {
  return MARK_BASE + (macOf(nodeAddress).readUInt32BE(2) & 0xfffff);
}

export function isEntryMark(mark: number): boolean {
  return (mark & 0xfff00000) >>> 0 === MARK_BASE;
}

export function writeEntryRules(table: TableWriter, entry: EntryRules): void {
  table.addSet(ENTRY_NODES, {
    keyType: NFT_TYPE.etherAddress,
    keyBytes: 6,
    data: { type: NFT_TYPE.mark, bytes: 4 },
  });
  table.addElements(
    ENTRY_NODES,
    entry.nodes.map((address) => ({ key: macOf(address), data: numberKey(entryMark(address)) })),
  );
  // A client may use the same port towards several nodes: the task would see one connection, and its replies one node.
  // By zones they are several; where they clash the kernel gives the later one another port, never another address.
  table.addChain('entry_zone', { type: 'filter', hook: 'prerouting', priority: PRIORITY.raw });
  table.addRule('entry_zone', [...fromInterface(entry.link), ...zoneBySourceMac(ENTRY_NODES)]);
  table.addChain('entry', { type: 'filter', hook: 'prerouting', priority: PRIORITY.mangle });
  table.addRule('entry', [
    ...fromInterface(entry.link),
    ...connectionMarked(false),
    ...connectionDirection('original'),
    ...markConnectionBySourceMac(ENTRY_NODES),
  ]);
  if (entry.subnet) writeUnboundRules(table, entry, entry.subnet);
  table.addChain('reply', { type: 'route', hook: 'output', priority: PRIORITY.mangle });
  table.addRule('reply', [
    ...connectionDirection('reply'),
    ...connectionMarked(),
    ...markFromConnection(),
  ]);
}

/**
 * A socket of UDP or SCTP that is bound to no address replies from the address of the default route; were that
 * not the one the connection has, the reply would leave untranslated by another way.
 */
function writeUnboundRules(table: TableWriter, entry: EntryRules, prefix: Prefix): void {
  table.addChain('entry_nat', { type: 'nat', hook: 'prerouting', priority: PRIORITY.dstnat });
  const network = parsePrefix(networkOf(prefix));
  const outside = isIpv6(prefix.address)
    ? sourceIn6(addressBytes(network.address), network.length, true)
    : sourceIn(addressBytes(network.address), maskNumber(network.length), true);
  for (const protocol of [IPPROTO.udp, IPPROTO.sctp]) {
    table.addRule('entry_nat', [
      ...fromInterface(entry.link),
      ...l4Protocol(protocol),
      ...outside,
      ...dnatTo(addressBytes(entry.localAddress), null),
    ]);
  }
}

export const familyOf = (address: string): MarkRule['family'] =>
  isIpv6(address) ? 'ipv6' : 'ipv4';
/** Everything in the family of `address`, in CIDR notation. */
export const anywhereOf = (address: string): string => (isIpv6(address) ? '::/0' : '0.0.0.0/0');

function ruleOf(nodeAddress: string): MarkRule {
  const table = entryMark(nodeAddress);
  const family = familyOf(nodeAddress);
  return { family, mark: table, mask: MARK_MASK, table, priority: ENTRY_PRIORITY };
}

/** Replies with the mark of `nodeAddress` leave through it. */
export function addEntryRoute(batch: MessageBatch, nodeAddress: string, linkIndex: number): void {
  const table = entryMark(nodeAddress);
  addRoute(batch, { to: anywhereOf(nodeAddress), via: nodeAddress, index: linkIndex, table });
  addMarkRule(batch, ruleOf(nodeAddress));
}

export function removeEntryRoute(
  batch: MessageBatch,
  nodeAddress: string,
  linkIndex: number,
): void {
  const table = entryMark(nodeAddress);
  deleteMarkRule(batch, ruleOf(nodeAddress));
  deleteRoute(batch, { to: anywhereOf(nodeAddress), via: nodeAddress, index: linkIndex, table });
}
