/** `docker top`: processes in the columns that `ps` would print for its arguments. Pure. */
import { SkepError } from '../../../common/base/errors.ts';
import type { ProcessRow } from '../../../worker/runtime/process-list.ts';

export interface ProcessTable {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

interface Machine {
  /** wall clock */
  readonly nowMs: number;
  readonly memoryBytes: number;
}

interface Column {
  readonly title: string;
  readonly text: (row: ProcessRow, machine: Machine) => string;
}

const DAY_MS = 24 * 3600 * 1000;
const kib = (bytes: number): string => String(Math.round(bytes / 1024));

const COLUMNS: Readonly<Record<string, Column>> = {
  uid: { title: 'UID', text: ({ uid }) => (uid === 0 ? 'root' : String(uid)) },
  user: { title: 'USER', text: ({ uid }) => (uid === 0 ? 'root' : String(uid)) },
  pid: { title: 'PID', text: ({ pid }) => String(pid) },
  ppid: { title: 'PPID', text: ({ parentPid }) => String(parentPid) },
  c: { title: 'C', text: (row, machine) => String(Math.floor(cpuPercent(row, machine))) },
  pcpu: { title: '%CPU', text: (row, machine) => cpuPercent(row, machine).toFixed(1) },
  pmem: {
    title: '%MEM',
    text: ({ residentBytes }, { memoryBytes }) => ((residentBytes / memoryBytes) * 100).toFixed(1),
  },
  vsz: { title: 'VSZ', text: ({ virtualBytes }) => kib(virtualBytes) },
  rss: { title: 'RSS', text: ({ residentBytes }) => kib(residentBytes) },
  stime: { title: 'STIME', text: startText },
  start: { title: 'START', text: startText },
  tty: { title: 'TTY', text: ({ terminal }) => terminal },
  stat: { title: 'STAT', text: ({ state }) => state },
  time: { title: 'TIME', text: ({ cpuMs }) => clockText(cpuMs) },
  comm: { title: 'COMMAND', text: ({ name }) => name },
  cmd: { title: 'CMD', text: ({ command }) => command },
  command: { title: 'COMMAND', text: ({ command }) => command },
};

const FULL = ['uid', 'pid', 'ppid', 'c', 'stime', 'tty', 'time', 'cmd'];
const BSD = 'user pid pcpu pmem vsz rss tty stat start time command'.split(' ');
const ALIASES: Readonly<Record<string, string>> = {
  '%cpu': 'pcpu',
  '%mem': 'pmem',
  args: 'command',
  tname: 'tty',
  tt: 'tty',
  s: 'stat',
  state: 'stat',
  ucmd: 'comm',
  cputime: 'time',
  euid: 'uid',
  euser: 'user',
};

/** @param psArgs `-ef`, `aux`, `-o pid,comm`; others are refused by name */
export function processTable(
  rows: readonly ProcessRow[],
  psArgs: string,
  machine: Machine,
): ProcessTable {
  const columns = columnsOf(psArgs.trim()).map((name) => {
    const column = COLUMNS[ALIASES[name] ?? name];
    if (column) return column;
    throw new SkepError('unimplemented', `top: the column '${name}' of ps is not supported`);
  });
  return {
    Titles: columns.map(({ title }) => title),
    Processes: rows.map((row) => columns.map(({ text }) => text(row, machine))),
  };
}

function columnsOf(psArgs: string): readonly string[] {
  if (['', '-ef', 'ef', '-f', '-eF'].includes(psArgs)) return FULL;
  if (['aux', '-aux', 'au', 'axu', 'u'].includes(psArgs)) return BSD;
  const [, names] = /^(?:-e ?|-A ?|ax ?)?-?e?o[ =]?([\w%,]+)$/.exec(psArgs) ?? [];
  if (names !== undefined) return names.split(',').filter((name) => name !== '');
  throw new SkepError('unimplemented', `top: the arguments '${psArgs}' of ps are not supported`);
}

function cpuPercent({ cpuMs, startedAtMs }: ProcessRow, { nowMs }: Machine): number {
  const livedMs = nowMs - startedAtMs;
  return livedMs > 0 ? (cpuMs / livedMs) * 100 : 0;
}

/** `HH:MM` of today, else `MMMDD`, as ps has it. */
function startText({ startedAtMs }: ProcessRow, { nowMs }: Machine): string {
  const start = new Date(startedAtMs);
  const two = (value: number): string => String(value).padStart(2, '0');
  if (nowMs - startedAtMs < DAY_MS) return `${two(start.getHours())}:${two(start.getMinutes())}`;
  return `${start.toLocaleString('en-US', { month: 'short' })}${two(start.getDate())}`;
}

function clockText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  const minutes = two(Math.floor(seconds / 60) % 60);
  return `${two(Math.floor(seconds / 3600))}:${minutes}:${two(seconds % 60)}`;
}
