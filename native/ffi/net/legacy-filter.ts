/** Reads and changes the table `filter` of iptables-legacy in the namespace of this process, through libskep. */
import { readFile } from 'node:fs/promises';
import { SkepError } from '../../../common/base/errors.ts';
import { declareAsync, NativeError } from '../library.ts';
import {
  COUNTER_BYTES,
  ENTRIES_HEADER_BYTES,
  INFO_BYTES,
  type LegacyTable,
  legacyCounters,
  legacyReplacement,
  readLegacyTable,
} from './legacy-table.ts';
import { AF_INET, AF_INET6 } from './rtnl-family.ts';
import { closeFd } from './sockets.ts';

const infoCall = declareAsync(
  'int skep_legacy_info(int32_t family, uint8_t *info, uint32_t count, _Out_ uint8_t *err)',
);
const entriesCall = declareAsync(
  'int skep_legacy_entries(int32_t family, uint8_t *entries, uint32_t count, _Out_ uint8_t *err)',
);
const replaceCall = declareAsync(
  'int skep_legacy_replace(int32_t family, uint8_t *table, uint32_t count, uint8_t *counters, _Out_ uint8_t *err)',
);
const countersCall = declareAsync(
  'int skep_legacy_add_counters(int32_t family, const uint8_t *counters, uint32_t count, _Out_ uint8_t *err)',
);
const lockCall = declareAsync('int skep_legacy_lock(const char *path, _Out_ uint8_t *err)');

const TABLE = 'filter';
const LOCK = '/run/xtables.lock';
const ATTEMPTS = 3;
/** Some two hundred thousand rules: that many bytes are held several times over while the table is changed. */
export const LEGACY_TABLE_BYTES_MAX = 32 << 20;

export const LEGACY_FAMILIES = [AF_INET, AF_INET6] as const;
export type LegacyFamily = (typeof LEGACY_FAMILIES)[number];

const NAMES: Readonly<Record<LegacyFamily, string>> = {
  [AF_INET]: '/proc/net/ip_tables_names',
  [AF_INET6]: '/proc/net/ip6_tables_names',
};

async function isUsed(family: LegacyFamily): Promise<boolean> {
  const names = await readFile(NAMES[family], 'utf8').catch(() => '');
  return names.split('\n').includes(TABLE);
}

/**
 * null = nobody uses it; asking the kernel itself would make it. Rejects with `resource-exhausted` when it has more than
 * `LEGACY_TABLE_BYTES_MAX`.
 */
export async function readLegacyFilter(family: LegacyFamily): Promise<LegacyTable | null> {
  if (!(await isUsed(family))) return null;
  for (let attempt = 1; ; attempt++) {
    try {
      return await readOnce(family);
    } catch (err) {
      // Somebody changed it between the two calls.
      if (!isLegacyBusy(err) || attempt === ATTEMPTS) throw err;
    }
  }
}

async function readOnce(family: LegacyFamily): Promise<LegacyTable> {
  const info = Buffer.alloc(INFO_BYTES);
  info.write(TABLE, 'latin1');
  await infoCall(family, info, info.length);
  const size = info.readUInt32LE(INFO_BYTES - 4);
  checkTableSize(size);
  const entries = Buffer.alloc(ENTRIES_HEADER_BYTES + size);
  entries.write(TABLE, 'latin1');
  entries.writeUInt32LE(size, 32);
  await entriesCall(family, entries, entries.length);
  return readLegacyTable(family, info, entries);
}

/** @param size bytes of its rules, as the kernel tells them */
export function checkTableSize(size: number): void {
  if (size <= LEGACY_TABLE_BYTES_MAX) return;
  const words = `table ${TABLE} of iptables-legacy has ${size} bytes, of which ${LEGACY_TABLE_BYTES_MAX} are read at most`;
  throw new SkepError('resource-exhausted', words);
}

/** Somebody else is at the table. */
export function isLegacyBusy(err: unknown): boolean {
  return err instanceof NativeError && err.errno === 'EAGAIN';
}

/**
 * Replaces the table by what `change` makes of it, under the lock of all who change tables; null = it stays. Counters are
 * kept. Rejects with `isLegacyBusy` when somebody else has had the lock for a second. Where nobody uses the table, nobody is
 * waited for.
 */
export async function changeLegacyFilter(
  family: LegacyFamily,
  change: (table: LegacyTable) => LegacyTable | null,
): Promise<void> {
  if (!(await isUsed(family))) return;
  const lock = await lockCall(LOCK);
  try {
    const before = await readLegacyFilter(family);
    const table = before && change(before);
    if (!table) return;
    const counters = Buffer.alloc(table.countBefore * COUNTER_BYTES);
    const replacement = legacyReplacement(table);
    await replaceCall(family, replacement, replacement.length, counters);
    const kept = legacyCounters(table, counters);
    await countersCall(family, kept, kept.length);
  } finally {
    closeFd(lock);
  }
}
