/**
 * The table `filter` of iptables-legacy as the kernel gives and takes it, a block of bytes with offsets into itself: taken
 * apart into rules that refer to one another, changed, and put together again. Layouts are those of
 * linux/netfilter_ipv4/ip_tables.h and linux/netfilter_ipv6/ip6_tables.h on 64-bit machines. Pure.
 */
import { SkepError } from '../../../common/base/errors.ts';
import { AF_INET6 } from './rtnl-family.ts';

const NAME_BYTES = 32;
const HOOKS = 5;
/** NF_INET_FORWARD */
const FORWARD = 2;
export const INFO_BYTES = NAME_BYTES + 4 + HOOKS * 8 + 8;
/** struct ipt_get_entries before the entries, which are aligned to 8 bytes. */
export const ENTRIES_HEADER_BYTES = 40;
/** struct ipt_replace before the entries. */
const REPLACE_HEADER_BYTES = 96;
export const COUNTER_BYTES = 16;
const COUNTERS_HEADER_BYTES = 40;
/** struct xt_standard_target: header of 32 bytes, verdict, padding. */
const TARGET_BYTES = 40;
const TARGET_NAME_AT = 2;
const VERDICT_AT = 32;
const ACCEPT = -2;
const DROP = -1;

interface Layout {
  readonly entryBytes: number;
  /** of the name of the link by which a packet comes; that by which it leaves follows, then both masks, 16 bytes each */
  readonly linkAt: number;
  readonly targetAt: number;
}

const LAYOUTS = {
  ipv4: { entryBytes: 112, linkAt: 16, targetAt: 88 },
  ipv6: { entryBytes: 168, linkAt: 64, targetAt: 140 },
} as const satisfies Record<string, Layout>;

const layoutOf = (family: number): Layout => LAYOUTS[family === AF_INET6 ? 'ipv6' : 'ipv4'];

/** A rule, or the head or end of a chain. */
interface Entry {
  readonly bytes: Buffer;
  /** to where its verdict jumps, or falls through */
  jump: Entry | null;
  /** place among those that the kernel has; null = it is new */
  readonly before: number | null;
}

export interface LegacyTable {
  readonly family: number;
  readonly name: Buffer;
  readonly validHooks: number;
  readonly entries: readonly Entry[];
  /** first of each hook's chain, and the one with its policy; null for hooks that the table has not */
  readonly first: readonly (Entry | null)[];
  readonly policy: readonly (Entry | null)[];
  /** of those that the kernel has */
  readonly countBefore: number;
}

/** @param info struct ipt_getinfo and @param block struct ipt_get_entries, as the kernel filled them */
export function readLegacyTable(family: number, info: Buffer, block: Buffer): LegacyTable {
  const { targetAt } = layoutOf(family);
  const validHooks = info.readUInt32LE(NAME_BYTES);
  const places = new Map<number, Entry>();
  const all = block.subarray(ENTRIES_HEADER_BYTES);
  for (let at = 0; at < all.length; ) {
    const length = all.readUInt16LE(at + targetAt + 2);
    if (length < targetAt || at + length > all.length) {
      throw new SkepError('internal', `read legacy table: an entry of ${length} bytes at ${at}`);
    }
    places.set(at, {
      bytes: Buffer.from(all.subarray(at, at + length)),
      jump: null,
      before: places.size,
    });
    at += length;
  }
  const entries = [...places.values()];
  for (const entry of entries) {
    const verdict = verdictOf(entry, targetAt);
    if (verdict !== null && verdict >= 0) entry.jump = places.get(verdict) ?? null;
  }
  const hooked = (start: number) =>
    Array.from({ length: HOOKS }, (_, hook) =>
      (validHooks & (1 << hook)) === 0
        ? null
        : (places.get(info.readUInt32LE(start + hook * 4)) ?? null),
    );
  return {
    family,
    name: Buffer.from(info.subarray(0, NAME_BYTES)),
    validHooks,
    entries,
    first: hooked(NAME_BYTES + 4),
    policy: hooked(NAME_BYTES + 4 + HOOKS * 4),
    countBefore: entries.length,
  };
}

/** null = no standard verdict, but a target with a name */
function verdictOf({ bytes }: Entry, targetAt: number): number | null {
  const target = bytes.readUInt16LE(targetAt);
  if (bytes[target + TARGET_NAME_AT] !== 0) return null;
  return bytes.readInt32LE(target + VERDICT_AT);
}

/** What is forwarded is dropped unless a rule lets it pass. */
export function dropsForwarded({ family, policy }: LegacyTable): boolean {
  const end = policy[FORWARD];
  return end != null && verdictOf(end, layoutOf(family).targetAt) === DROP;
}

/**
 * The rules for `links` stand at the head of the chain FORWARD, before them nothing but rules of their kind, and those for others of
 * `known` are not there.
 */
export function hasPermits(
  table: LegacyTable,
  links: readonly string[],
  known: readonly string[],
): boolean {
  const { family, entries } = table;
  const start = entries.indexOf(table.first[FORWARD] as Entry);
  const others = entries.findIndex((entry, i) => i >= start && !isPermit(family, entry, null));
  const wanted = permitsOf(family, links);
  const head = entries.slice(Math.max(start, 0), others < 0 ? entries.length : others);
  const ours = new Set([...links, ...known]);
  const all = entries.filter((entry) => isPermit(family, entry, ours));
  return (
    all.length === wanted.length &&
    wanted.every(({ bytes }) => head.some((entry) => isSame(family, entry, bytes)))
  );
}

/** The same with rules that let pass what goes by `links`, at the head of FORWARD. */
export function withPermits(
  table: LegacyTable,
  links: readonly string[],
  known: readonly string[],
): LegacyTable {
  const bare = withoutPermits(table, [...links, ...known]);
  const head = bare.first[FORWARD];
  if (!head) throw new SkepError('internal', 'permit in legacy table: it has no chain FORWARD');
  const at = bare.entries.indexOf(head);
  const permits = permitsOf(table.family, links);
  return {
    ...bare,
    entries: [...bare.entries.slice(0, at), ...permits, ...bare.entries.slice(at)],
    first: bare.first.map((it, hook) => (hook === FORWARD ? (permits[0] ?? it) : it)),
  };
}

/** The same without these rules. */
export function withoutPermits(table: LegacyTable, links: readonly string[]): LegacyTable {
  const { entries } = table;
  const ours = new Set(links);
  const gone = new Set(entries.filter((entry) => isPermit(table.family, entry, ours)));
  const places = new Map(entries.map((entry, at) => [entry, at]));
  /** An entry, or the next one that stays. */
  const kept = (entry: Entry | null): Entry | null => {
    if (!entry) return null;
    let at = places.get(entry) ?? entries.length;
    while (gone.has(entries[at] as Entry)) at++;
    return entries[at] ?? null;
  };
  const left = entries.filter((entry) => !gone.has(entry));
  for (const entry of left) if (entry.jump) entry.jump = kept(entry.jump);
  return { ...table, entries: left, first: table.first.map(kept) };
}

/** struct ipt_replace with its entries. */
export function legacyReplacement(table: LegacyTable): Buffer {
  const { targetAt } = layoutOf(table.family);
  const places = new Map<Entry, number>();
  let size = 0;
  for (const entry of table.entries) {
    places.set(entry, size);
    size += entry.bytes.length;
  }
  const block = Buffer.alloc(REPLACE_HEADER_BYTES + size);
  table.name.copy(block);
  let at = block.writeUInt32LE(table.validHooks, NAME_BYTES);
  at = block.writeUInt32LE(table.entries.length, at);
  at = block.writeUInt32LE(size, at);
  for (const entry of [...table.first, ...table.policy]) {
    at = block.writeUInt32LE(entry ? (places.get(entry) ?? 0) : 0, at);
  }
  block.writeUInt32LE(table.countBefore, at);
  for (const [entry, place] of places) {
    const start = REPLACE_HEADER_BYTES + place;
    entry.bytes.copy(block, start);
    if (!entry.jump) continue;
    const target = entry.bytes.readUInt16LE(targetAt);
    block.writeInt32LE(places.get(entry.jump) ?? 0, start + target + VERDICT_AT);
  }
  return block;
}

/** struct xt_counters_info: what the entries of before had counted. @param before their counters, as the kernel gave them */
export function legacyCounters(table: LegacyTable, before: Buffer): Buffer {
  const block = Buffer.alloc(COUNTERS_HEADER_BYTES + table.entries.length * COUNTER_BYTES);
  table.name.copy(block);
  block.writeUInt32LE(table.entries.length, NAME_BYTES);
  for (const [i, { before: place }] of table.entries.entries()) {
    if (place === null) continue;
    const from = place * COUNTER_BYTES;
    before.copy(block, COUNTERS_HEADER_BYTES + i * COUNTER_BYTES, from, from + COUNTER_BYTES);
  }
  return block;
}

/** Two for each link: by it in, and by it out. */
function permitsOf(family: number, links: readonly string[]): Entry[] {
  return links.flatMap((link) => [permit(family, link, 'in'), permit(family, link, 'out')]);
}

function permit(family: number, link: string, way: 'in' | 'out'): Entry {
  const { entryBytes, linkAt, targetAt } = layoutOf(family);
  const bytes = Buffer.alloc(entryBytes + TARGET_BYTES);
  const nameAt = linkAt + (way === 'in' ? 0 : 16);
  bytes.write(link, nameAt, 'latin1');
  bytes.fill(0xff, nameAt + 32, nameAt + 32 + link.length + 1); // the end of the name counts
  bytes.writeUInt16LE(entryBytes, targetAt);
  bytes.writeUInt16LE(bytes.length, targetAt + 2);
  bytes.writeUInt16LE(TARGET_BYTES, entryBytes);
  bytes.writeInt32LE(ACCEPT, entryBytes + VERDICT_AT);
  return { bytes, jump: null, before: null };
}

/** A rule of our kind. @param links for one of which it is to be; null = any */
function isPermit(family: number, entry: Entry, links: ReadonlySet<string> | null): boolean {
  const { entryBytes, linkAt } = layoutOf(family);
  const { bytes } = entry;
  if (bytes.length !== entryBytes + TARGET_BYTES) return false;
  const way = bytes[linkAt] === 0 ? 'out' : 'in';
  const nameAt = linkAt + (way === 'in' ? 0 : 16);
  const name = bytes.toString('latin1', nameAt, nameAt + 16).split('\0')[0] ?? '';
  if (links && !links.has(name)) return false;
  return isSame(family, entry, permit(family, name, way).bytes);
}

/** But for what the kernel itself writes there: where it came from and what it counted. */
function isSame(family: number, { bytes: found }: Entry, wanted: Buffer): boolean {
  const { entryBytes, targetAt } = layoutOf(family);
  if (found.length !== wanted.length) return false;
  const headEnd = targetAt - 4;
  return (
    found.subarray(0, headEnd).equals(wanted.subarray(0, headEnd)) &&
    found.readUInt32LE(targetAt) === wanted.readUInt32LE(targetAt) &&
    found.subarray(entryBytes).equals(wanted.subarray(entryBytes))
  );
}
