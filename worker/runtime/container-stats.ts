/** What a container used: its groups, and the interfaces of its network namespace. */
import { readFilesNow } from '../../native/ffi/files.ts';
import { readControlNow } from './cgroup/cgroup.ts';
import type { CgroupStats } from './cgroup/stats.ts';

export interface InterfaceStats {
  readonly name: string;
  readonly receivedBytes: number;
  readonly receivedPackets: number;
  readonly receiveErrors: number;
  readonly receiveDropped: number;
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly sendErrors: number;
  readonly sendDropped: number;
}

export interface ContainerStats extends CgroupStats {
  /** without the loopback; empty after the end */
  readonly networks: readonly InterfaceStats[];
}

const NANOS_PER_TICK = 1e7; // USER_HZ is 100 on every Linux architecture we build for

/** Of all CPUs of this machine since its boot, idle time included. */
export function systemCpuNanos(text = readControlNow('/proc/stat') ?? ''): number {
  const [line = ''] = text.split('\n', 1);
  // user to steal; guests are counted in user already
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return ticks.reduce((sum, value) => sum + value, 0) * NANOS_PER_TICK;
}

/** Of the namespace of a process; `pid` 0 = it has ended. */
export function networkStats(pid: number): InterfaceStats[] {
  const [text = null] = pid === 0 ? [] : readFilesNow([`/proc/${pid}/net/dev`]);
  return text === null ? [] : parseNetDev(text);
}

/** proc(5): two lines of headings, then `name: ` and sixteen counters. */
export function parseNetDev(text: string): InterfaceStats[] {
  return text
    .split('\n')
    .slice(2)
    .flatMap((line): InterfaceStats[] => {
      const [name = '', counters = ''] = line.split(':');
      const values = counters.trim().split(/\s+/).map(Number);
      if (name.trim() === 'lo' || values.length < 16) return [];
      const at = (index: number): number => values[index] ?? 0;
      return [
        {
          name: name.trim(),
          receivedBytes: at(0),
          receivedPackets: at(1),
          receiveErrors: at(2),
          receiveDropped: at(3),
          sentBytes: at(8),
          sentPackets: at(9),
          sendErrors: at(10),
          sendDropped: at(11),
        },
      ];
    });
}
