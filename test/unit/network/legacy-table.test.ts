import { describe, expect, test } from 'vitest';
import {
  COUNTER_BYTES,
  dropsForwarded,
  ENTRIES_HEADER_BYTES,
  hasPermits,
  INFO_BYTES,
  type LegacyTable,
  legacyCounters,
  legacyReplacement,
  readLegacyTable,
  withoutPermits,
  withPermits,
} from '../../../native/ffi/net/legacy-table.ts';
import { AF_INET, AF_INET6 } from '../../../native/ffi/net/rtnl-family.ts';

const LINKS = ['skep_gw', 'skep_in'];
const DROP = -1;
const RETURN = -5;
const HOOKS = { input: 1, forward: 2, output: 3 } as const;
const REPLACE_HEADER_BYTES = 96;
const SHAPE = {
  [AF_INET]: { entryBytes: 112, targetAt: 88 },
  [AF_INET6]: { entryBytes: 168, targetAt: 140 },
} as const;
type Family = keyof typeof SHAPE;

/** A rule of 40 bytes more than its entry, told apart by `id`; `to` is a verdict, or the id of where it jumps. */
interface Rule {
  readonly id: number;
  readonly to: number | { readonly rule: number };
}

/** INPUT and OUTPUT are empty; FORWARD jumps to a chain of the user's and falls through a rule that only counts. */
const RULES: readonly Rule[] = [
  { id: 1, to: -2 },
  { id: 2, to: { rule: 6 } },
  { id: 3, to: { rule: 4 } },
  { id: 4, to: DROP },
  { id: 5, to: -2 },
  { id: 6, to: RETURN },
];
const FIRST = { input: 1, forward: 2, output: 5 };
const POLICY = { input: 1, forward: 4, output: 5 };

/** As the kernel gives it. */
function given(family: Family): LegacyTable {
  const { entryBytes, targetAt } = SHAPE[family];
  const bytesOfRule = entryBytes + 40;
  const at = (id: number) => RULES.findIndex((rule) => rule.id === id) * bytesOfRule;
  const block = Buffer.alloc(ENTRIES_HEADER_BYTES + RULES.length * bytesOfRule);
  for (const { id, to } of RULES) {
    const start = ENTRIES_HEADER_BYTES + at(id);
    block.writeUInt8(id, start); // of the source's address
    block.writeUInt16LE(entryBytes, start + targetAt);
    block.writeUInt16LE(bytesOfRule, start + targetAt + 2);
    block.writeUInt16LE(40, start + entryBytes);
    block.writeInt32LE(typeof to === 'number' ? to : at(to.rule), start + entryBytes + 32);
  }
  const info = Buffer.alloc(INFO_BYTES);
  info.write('filter');
  info.writeUInt32LE(0b1110, 32);
  for (const [name, hook] of Object.entries(HOOKS)) {
    info.writeUInt32LE(at(FIRST[name as keyof typeof HOOKS]), 36 + hook * 4);
    info.writeUInt32LE(at(POLICY[name as keyof typeof HOOKS]), 56 + hook * 4);
  }
  return readLegacyTable(family, info, block);
}

/** Read again as the kernel would give it after that replacement. */
function replaced(family: Family, table: LegacyTable): LegacyTable {
  const block = legacyReplacement(table);
  const info = Buffer.alloc(INFO_BYTES);
  block.copy(info, 0, 0, 36);
  block.copy(info, 36, 44, 84); // hooks' first and policy
  const entries = Buffer.concat([
    Buffer.alloc(ENTRIES_HEADER_BYTES),
    block.subarray(REPLACE_HEADER_BYTES),
  ]);
  expect(block.readUInt32LE(40)).toBe(block.length - REPLACE_HEADER_BYTES);
  return readLegacyTable(family, info, entries);
}

/** Ids in order, with where they jump; `+` = ours. */
function drawn({ entries, first, policy }: LegacyTable): string {
  const idOf = (entry: LegacyTable['entries'][number] | null) => entry?.bytes.readUInt8() || '+';
  const rules = entries.map((it) => `${idOf(it)}${it.jump ? `>${idOf(it.jump)}` : ''}`);
  const heads = Object.values(HOOKS).map((hook) => `${idOf(first[hook]!)}-${idOf(policy[hook]!)}`);
  return `${rules.join(' ')} | ${heads.join(' ')}`;
}

describe.each([
  ['IPv4', AF_INET],
  ['IPv6', AF_INET6],
] as const)('a table of iptables-legacy, %s', (_, family) => {
  test('is put together as it was taken apart', () => {
    const table = given(family);
    expect(drawn(table)).toBe('1 2>6 3>4 4 5 6 | 1-1 2-4 5-5');
    expect(drawn(replaced(family, table))).toBe(drawn(table));
    expect(dropsForwarded(table)).toBe(true);
  });

  test('gets our rules at the head of FORWARD, and every jump goes where it went', () => {
    expect(hasPermits(given(family), LINKS, [])).toBe(false);
    const after = replaced(family, withPermits(given(family), LINKS, []));
    expect(drawn(after)).toBe('1 + + + + 2>6 3>4 4 5 6 | 1-1 +-4 5-5');
    expect(hasPermits(after, LINKS, LINKS)).toBe(true);
    expect(hasPermits(after, ['skep_gw'], LINKS)).toBe(false);
    expect(hasPermits(after, ['skep_gw'], ['skep_gw'])).toBe(true); // those of others stand there, too
    expect(drawn(replaced(family, withPermits(after, ['skep_gw'], LINKS)))).toContain('1 + + 2>6');
    expect(drawn(replaced(family, withoutPermits(after, LINKS)))).toBe(drawn(given(family)));
  });

  test('keeps what its rules had counted', () => {
    const table = withPermits(given(family), LINKS, []);
    const before = Buffer.alloc(table.countBefore * COUNTER_BYTES);
    for (let i = 0; i < table.countBefore; i++) before.writeUInt32LE(i + 1, i * COUNTER_BYTES);
    const block = legacyCounters(table, before);
    const counted = table.entries.map((_, i) => block.readUInt32LE(40 + i * COUNTER_BYTES));
    expect(counted).toEqual([1, 0, 0, 0, 0, 2, 3, 4, 5, 6]);
  });
});
