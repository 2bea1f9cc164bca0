/** Finds and deletes connection tracking entries by the address they were translated to. */
import { addressBytes, isIpv6 } from './address.ts';
import { attributes, MessageBatch, type NetlinkMessage, NLM_F_DUMP } from './message.ts';
import { AF_INET, AF_INET6 } from './rtnl-family.ts';
import type { NetlinkSocket } from './sockets.ts';

const SUBSYSTEM = 1 << 8;
const CT_GET = SUBSYSTEM | 1;
const CT_DELETE = SUBSYSTEM | 2;
const CT_GET_STATISTICS = SUBSYSTEM | 5;
const CTA_STATS_GLOBAL_ENTRIES = 1;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_ID = 12;
const CTA_TUPLE_IP = 1;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V6_SRC = 3;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const UDP = 17;
const DELETES_PER_BATCH = 200;

/** Which connections are to be forgotten, by who answers them. */
export interface EndedConnections {
  /** of these addresses a connection may be meant: `AF_INET`, `AF_INET6` */
  readonly families: readonly number[];
  /** @param address that answers, in hexadecimal */
  readonly areMeant: (address: string, isUdp: boolean) => boolean;
}

/** Those that end at one of `addresses`, of every protocol or of UDP alone. */
export function answeredBy(
  addresses: ReadonlySet<string>,
  which: 'all' | 'udp' = 'all',
): EndedConnections {
  const wanted = new Set([...addresses].map((address) => addressBytes(address).toString('hex')));
  const some = [...addresses];
  return {
    families: [...(some.every(isIpv6) ? [] : [AF_INET]), ...(some.some(isIpv6) ? [AF_INET6] : [])],
    areMeant: (address, isUdp) => wanted.has(address) && (isUdp || which === 'all'),
  };
}

function header(batch: MessageBatch, family: number): void {
  batch.u8(family);
  batch.u8(0);
  batch.u16(0);
}

/** A request for every entry of one family of the socket's namespace. */
export function dumpConnections(family = AF_INET): MessageBatch {
  const batch = new MessageBatch(64);
  batch.message(CT_GET, NLM_F_DUMP, 'list connections', () => header(batch, family));
  return batch;
}

/** How many entries the socket's namespace has. */
export async function connectionCount(socket: NetlinkSocket): Promise<number> {
  const batch = new MessageBatch(64);
  batch.message(CT_GET_STATISTICS, 0, 'count connections', () => header(batch, AF_INET));
  for (const { payload } of await socket.transact(batch)) {
    const entries = attributes(payload.subarray(4)).get(CTA_STATS_GLOBAL_ENTRIES);
    if (entries) return entries.readUInt32BE();
  }
  return 0;
}

/** The entries of a dump that are meant: original tuple and id. */
export function endedAmong(
  messages: readonly NetlinkMessage[],
  { areMeant }: EndedConnections,
): { readonly tuple: Buffer; readonly id: Buffer }[] {
  const found: { tuple: Buffer; id: Buffer }[] = [];
  for (const { payload } of messages) {
    const entry = attributes(payload.subarray(4));
    const tuple = entry.get(CTA_TUPLE_ORIG);
    const reply = entry.get(CTA_TUPLE_REPLY);
    const id = entry.get(CTA_ID);
    const source = reply && attributes(attributes(reply).get(CTA_TUPLE_IP) ?? reply);
    const address = (source?.get(CTA_IP_V4_SRC) ?? source?.get(CTA_IP_V6_SRC))?.toString('hex');
    if (!tuple || !id || address === undefined) continue;
    if (areMeant(address, protocolOf(tuple) === UDP)) found.push({ tuple, id });
  }
  return found;
}

function protocolOf(tuple: Buffer): number | undefined {
  const protocol = attributes(tuple).get(CTA_TUPLE_PROTO);
  return protocol && attributes(protocol).get(CTA_PROTO_NUM)?.readUInt8();
}

/** Forgets the connections that are meant; returns how many there were. */
export async function flushConnections(
  socket: NetlinkSocket,
  ended: EndedConnections,
): Promise<number> {
  // A dump goes through the whole machine's table, whosever entries they are: milliseconds.
  if (ended.families.length === 0 || (await connectionCount(socket)) === 0) return 0;
  let count = 0;
  for (const family of ended.families) count += await flushFamily(socket, family, ended);
  return count;
}

async function flushFamily(
  socket: NetlinkSocket,
  family: number,
  ended: EndedConnections,
): Promise<number> {
  const entries = endedAmong(await socket.dump(dumpConnections(family)), ended);
  for (let at = 0; at < entries.length; at += DELETES_PER_BATCH) {
    const batch = new MessageBatch();
    for (const { tuple, id } of entries.slice(at, at + DELETES_PER_BATCH)) {
      const fill = (): void => {
        header(batch, family);
        batch.attrBytes(CTA_TUPLE_ORIG | 0x8000, tuple);
        batch.attrBytes(CTA_ID, id);
      };
      batch.message(CT_DELETE, 0, 'delete connection', fill, ['ENOENT']);
    }
    await socket.transact(batch);
  }
  return entries.length;
}
