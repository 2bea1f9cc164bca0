/**
 * What a group used, as the kernel counts it. Read synchronously, all files in one call: 200 tasks every
 * second are 2,000 files, of which `fs` would cost as much as the kernel.
 */
import { SkepError } from '../../../common/base/errors.ts';
import { readFilesNow } from '../../../native/ffi/files.ts';
import { parseKeyed, parseLimit } from './cgroup.ts';

/** Usage as counted by the kernel; null = this hierarchy does not tell. */
export interface CgroupStats {
  readonly cpuUsageNanos: bigint;
  readonly cpuUserNanos: bigint;
  readonly cpuSystemNanos: bigint;
  readonly throttledPeriods: number;
  readonly throttledNanos: bigint;
  readonly memoryUsageBytes: number;
  /** page cache that would be given up first; Docker shows usage without it */
  readonly memoryInactiveFileBytes: number;
  readonly memoryMaxUsageBytes: number | null;
  /** null = unlimited */
  readonly memoryLimitBytes: number | null;
  readonly pids: number;
  /** null = unlimited */
  readonly pidsLimit: number | null;
  /** bytes of all block devices together; null = not counted */
  readonly blockIo: { readonly readBytes: bigint; readonly writeBytes: bigint } | null;
}

/** The number behind `key ` at the beginning of a line; the files of memory have forty other lines. */
export function keyedNumber(text: string | null, key: string): number {
  if (text === null) return 0;
  const at = text.startsWith(`${key} `) ? 0 : text.indexOf(`\n${key} `) + 1;
  if (at === 0 && !text.startsWith(`${key} `)) return 0;
  return Number.parseInt(text.slice(at + key.length + 1, at + key.length + 24), 10);
}

/** Of a hierarchy: its file. In the order in which `readStatsV1` takes them. */
const FILES_V1 = [
  ['memory', 'memory.usage_in_bytes'],
  ['memory', 'memory.max_usage_in_bytes'],
  ['memory', 'memory.stat'],
  ['cpuacct', 'cpuacct.usage'],
  ['cpuacct', 'cpuacct.stat'],
  ['cpu', 'cpu.stat'],
  ['pids', 'pids.current'],
  ['pids', 'pids.max'],
  ['blkio', 'blkio.throttle.io_service_bytes_recursive'],
] as const;

export function readStatsV1(dir: (controller: string) => string): CgroupStats {
  const paths = FILES_V1.map(([controller, file]) => `${dir(controller)}/${file}`);
  const [usage = null, maxUsage = null, stat = null, ...more] = readFilesNow(paths);
  const [cpuUsage = null, cpuTicks = null, cpu = null, pids = null, pidsMax = null, io = null] =
    more;
  if (usage === null) throw new SkepError('not-found', `read statistics: ${paths[0]} is gone`);
  const ticks = parseKeyed(cpuTicks);
  const tickNanos = 10_000_000n; // USER_HZ is 100 on every Linux architecture we build for
  const throttling = parseKeyed(cpu);
  return {
    cpuUsageNanos: BigInt(cpuUsage ?? '0'),
    cpuUserNanos: (ticks.get('user') ?? 0n) * tickNanos,
    cpuSystemNanos: (ticks.get('system') ?? 0n) * tickNanos,
    throttledPeriods: Number(throttling.get('nr_throttled') ?? 0n),
    throttledNanos: throttling.get('throttled_time') ?? 0n,
    memoryUsageBytes: Number(usage),
    memoryInactiveFileBytes: keyedNumber(stat, 'total_inactive_file'),
    memoryMaxUsageBytes: maxUsage === null ? null : Number(maxUsage),
    memoryLimitBytes: parseLimit(`${keyedNumber(stat, 'hierarchical_memory_limit') || 'max'}`),
    pids: Number(pids ?? 0),
    pidsLimit: parseLimit(pidsMax),
    blockIo: io === null ? null : parseServiceBytes(io),
  };
}

/** Lines like `254:0 Read 4096`, and a last one of the total. */
export function parseServiceBytes(text: string): NonNullable<CgroupStats['blockIo']> {
  return sumsOf(text, /^\d+:\d+ (Read|Write) (\d+)$/gm, 'Read');
}

/** Lines like `254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`. */
export function parseIoStat(text: string): NonNullable<CgroupStats['blockIo']> {
  return sumsOf(text, /\b(rbytes|wbytes)=(\d+)/g, 'rbytes');
}

function sumsOf(text: string, pattern: RegExp, read: string): NonNullable<CgroupStats['blockIo']> {
  let readBytes = 0n;
  let writeBytes = 0n;
  for (const [, kind, bytes = '0'] of text.matchAll(pattern)) {
    if (kind === read) readBytes += BigInt(bytes);
    else writeBytes += BigInt(bytes);
  }
  return { readBytes, writeBytes };
}

/** In the order in which `readStatsV2` takes them. */
const FILES_V2 = [
  'cpu.stat',
  'memory.current',
  'memory.stat',
  'memory.peak',
  'memory.max',
  'pids.current',
  'pids.max',
  'io.stat',
];

export function readStatsV2(dir: string): CgroupStats {
  const [cpuStat = null, usage = null, stat = null, peak = null, limit = null, ...more] =
    readFilesNow(FILES_V2.map((file) => `${dir}/${file}`));
  const [pids = null, pidsMax = null, io = null] = more;
  if (cpuStat === null) throw new SkepError('not-found', `read statistics: ${dir} is gone`);
  const cpu = parseKeyed(cpuStat);
  const nanos = (key: string): bigint => (cpu.get(key) ?? 0n) * 1000n;
  return {
    cpuUsageNanos: nanos('usage_usec'),
    cpuUserNanos: nanos('user_usec'),
    cpuSystemNanos: nanos('system_usec'),
    throttledPeriods: Number(cpu.get('nr_throttled') ?? 0n),
    throttledNanos: nanos('throttled_usec'),
    memoryUsageBytes: Number(usage ?? 0),
    memoryInactiveFileBytes: keyedNumber(stat, 'inactive_file'),
    memoryMaxUsageBytes: peak === null ? null : Number(peak),
    memoryLimitBytes: parseLimit(limit),
    pids: Number(pids ?? 0),
    pidsLimit: parseLimit(pidsMax),
    blockIo: io === null ? null : parseIoStat(io),
  };
}
