/** Processes as /proc shows them, for `top`. Knows pids, not containers. */
import { readFileSync } from 'node:fs';

export interface ProcessRow {
  readonly pid: number;
  readonly parentPid: number;
  /** effective */
  readonly uid: number;
  /** proc(5), field 3 of `stat`: R, S, D, ... */
  readonly state: string;
  /** `pts/0`; '?' = none */
  readonly terminal: string;
  /** wall clock */
  readonly startedAtMs: number;
  readonly cpuMs: number;
  readonly virtualBytes: number;
  readonly residentBytes: number;
  readonly name: string;
  /** the command line; the name in brackets when it has none */
  readonly command: string;
}

const USER_HZ = 100; // on every Linux architecture we build for
const PAGE_BYTES = 4096;
const PTS_MAJOR_FIRST = 136;

/** Those that ended meanwhile are left out. */
export function processRows(pids: readonly number[]): ProcessRow[] {
  const bootMs = bootTimeMs(readFileSync('/proc/stat', 'utf8'));
  return pids.flatMap((pid) => {
    try {
      const read = (file: string): string => readFileSync(`/proc/${pid}/${file}`, 'utf8');
      return [processRow(pid, bootMs, read('stat'), read('status'), read('cmdline'))];
    } catch (err) {
      const code = (err as NodeJS.ErrnoException).code;
      if (code === 'ENOENT' || code === 'ESRCH') return [];
      throw err;
    }
  });
}

/** `btime` of /proc/stat, in seconds there. */
export function bootTimeMs(text: string): number {
  return Number(/^btime (\d+)$/m.exec(text)?.[1] ?? 0) * 1000;
}

/** From the texts of proc(5)'s files. */
export function processRow(
  pid: number,
  bootMs: number,
  stat: string,
  status: string,
  cmdline: string,
): ProcessRow {
  const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  /** numbered as in proc(5) */
  const at = (field: number): number => Number(fields[field - 3] ?? 0);
  const words = cmdline.split('\0').filter((word) => word !== '');
  return {
    pid,
    parentPid: at(4),
    uid: Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? 0),
    state: fields[0] ?? '?',
    terminal: terminalName(at(7)),
    startedAtMs: bootMs + (at(22) * 1000) / USER_HZ,
    cpuMs: ((at(14) + at(15)) * 1000) / USER_HZ,
    virtualBytes: at(23),
    residentBytes: at(24) * PAGE_BYTES,
    name,
    command: words.length > 0 ? words.join(' ') : `[${name}]`,
  };
}

function terminalName(device: number): string {
  const major = (device >> 8) & 0xfff;
  if (major < PTS_MAJOR_FIRST || major > PTS_MAJOR_FIRST + 7) return '?';
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  return `pts/${minor}`;
}
