/**
 * What a group used, as the kernel counts it. Read synchronously: a file costs four system calls on
 * the main thread, while each promise of `fs` costs ten times as much (200 tasks every second).
 */
import { SkepError } from '../../../common/base/errors.ts';
import { parseKeyed, parseLimit, readControlNow } from './cgroup.ts';

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
  readonly oomKills: number;
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

export function readStatsV1(dir: (controller: string) => string): CgroupStats {
  const memory = dir('memory');
  const read = (controller: string, file: string) => readControlNow(`${dir(controller)}/${file}`);
  const usage = read('memory', 'memory.usage_in_bytes');
  if (usage === null) throw new SkepError('not-found', `read statistics: ${memory} is gone`);
  const maxUsage = read('memory', 'memory.max_usage_in_bytes');
  const stat = read('memory', 'memory.stat');
  const ticks = parseKeyed(read('cpuacct', 'cpuacct.stat'));
  const tickNanos = 10_000_000n; // USER_HZ is 100 on every Linux architecture we build for
  const throttling = parseKeyed(read('cpu', 'cpu.stat'));
  return {
    cpuUsageNanos: BigInt(read('cpuacct', 'cpuacct.usage') ?? '0'),
    cpuUserNanos: (ticks.get('user') ?? 0n) * tickNanos,
    cpuSystemNanos: (ticks.get('system') ?? 0n) * tickNanos,
    throttledPeriods: Number(throttling.get('nr_throttled') ?? 0n),
    throttledNanos: throttling.get('throttled_time') ?? 0n,
    memoryUsageBytes: Number(usage),
    memoryInactiveFileBytes: keyedNumber(stat, 'total_inactive_file'),
    memoryMaxUsageBytes: maxUsage === null ? null : Number(maxUsage),
    memoryLimitBytes: parseLimit(read('memory', 'memory.limit_in_bytes')),
    oomKills: keyedNumber(read('memory', 'memory.oom_control'), 'oom_kill'),
    pids: Number(read('pids', 'pids.current') ?? 0),
    pidsLimit: parseLimit(read('pids', 'pids.max')),
    blockIo: blockIoV1(dir),
  };
}

function blockIoV1(dir: (controller: string) => string): CgroupStats['blockIo'] {
  const file = `${dir('blkio')}/blkio.throttle.io_service_bytes_recursive`;
  const text = readControlNow(file);
  return text === null ? null : parseServiceBytes(text);
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

export function readStatsV2(dir: string): CgroupStats {
  const read = (file: string) => readControlNow(`${dir}/${file}`);
  const cpuStat = read('cpu.stat');
  if (cpuStat === null) throw new SkepError('not-found', `read statistics: ${dir} is gone`);
  const cpu = parseKeyed(cpuStat);
  const nanos = (key: string): bigint => (cpu.get(key) ?? 0n) * 1000n;
  const peak = read('memory.peak');
  const io = read('io.stat');
  return {
    cpuUsageNanos: nanos('usage_usec'),
    cpuUserNanos: nanos('user_usec'),
    cpuSystemNanos: nanos('system_usec'),
    throttledPeriods: Number(cpu.get('nr_throttled') ?? 0n),
    throttledNanos: nanos('throttled_usec'),
    memoryUsageBytes: Number(read('memory.current') ?? 0),
    memoryInactiveFileBytes: keyedNumber(read('memory.stat'), 'inactive_file'),
    memoryMaxUsageBytes: peak === null ? null : Number(peak),
    memoryLimitBytes: parseLimit(read('memory.max')),
    oomKills: keyedNumber(read('memory.events'), 'oom_kill'),
    pids: Number(read('pids.current') ?? 0),
    pidsLimit: parseLimit(read('pids.max')),
    blockIo: io === null ? null : parseIoStat(io),
  };
}
