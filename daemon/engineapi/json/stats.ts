/** Statistics of a container as Docker's JSON: what `docker stats` counts with. Pure. */
import type { ContainerStats } from '../../../worker/runtime/native-runtime.ts';
import { isoTime } from './common.ts';

export interface Sample {
  /** null = it does not run */
  readonly stats: ContainerStats | null;
  readonly readAtMs: number;
  /** of all CPUs of this machine since its boot, idle time included */
  readonly systemCpuNanos: number;
}

export interface StatsOf {
  readonly id: string;
  readonly name: string;
  readonly cpuCount: number;
  readonly memoryBytes: number;
}

/** @param before the sample before this one; null = the first, whose counters start at nothing */
export function statsToJson(of: StatsOf, sample: Sample, before: Sample | null): object {
  const { stats } = sample;
  const head = {
    id: of.id,
    name: `/${of.name}`,
    read: isoTime(stats ? sample.readAtMs : 0),
    preread: isoTime(before?.stats ? before.readAtMs : 0),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpuToJson(sample, of.cpuCount),
    precpu_stats: cpuToJson(before, of.cpuCount),
  };
  if (stats === null) {
    return { ...head, pids_stats: {}, blkio_stats: NO_BLOCK_IO, memory_stats: {} };
  }
  return {
    ...head,
    pids_stats: { current: stats.pids, ...(stats.pidsLimit && { limit: stats.pidsLimit }) },
    blkio_stats: blockIoToJson(stats),
    memory_stats: {
      usage: stats.memoryUsageBytes,
      ...(stats.memoryMaxUsageBytes !== null && { max_usage: stats.memoryMaxUsageBytes }),
      // The names of both versions of groups: clients look for either.
      stats: {
        inactive_file: stats.memoryInactiveFileBytes,
        total_inactive_file: stats.memoryInactiveFileBytes,
      },
      failcnt: 0,
      limit: stats.memoryLimitBytes ?? of.memoryBytes,
    },
    networks: Object.fromEntries(
      stats.networks.map((one) => [
        one.name,
        {
          rx_bytes: one.receivedBytes,
          rx_packets: one.receivedPackets,
          rx_errors: one.receiveErrors,
          rx_dropped: one.receiveDropped,
          tx_bytes: one.sentBytes,
          tx_packets: one.sentPackets,
          tx_errors: one.sendErrors,
          tx_dropped: one.sendDropped,
        },
      ]),
    ),
  };
}

function cpuToJson(sample: Sample | null, cpuCount: number): object {
  const stats = sample?.stats ?? null;
  const throttling = {
    periods: 0,
    throttled_periods: stats?.throttledPeriods ?? 0,
    throttled_time: Number(stats?.throttledNanos ?? 0n),
  };
  return {
    cpu_usage: {
      total_usage: Number(stats?.cpuUsageNanos ?? 0n),
      usage_in_kernelmode: Number(stats?.cpuSystemNanos ?? 0n),
      usage_in_usermode: Number(stats?.cpuUserNanos ?? 0n),
    },
    ...(stats && { system_cpu_usage: sample?.systemCpuNanos ?? 0, online_cpus: cpuCount }),
    throttling_data: throttling,
  };
}

const NO_BLOCK_IO = {
  io_service_bytes_recursive: null,
  io_serviced_recursive: null,
  io_queue_recursive: null,
  io_service_time_recursive: null,
  io_wait_time_recursive: null,
  io_merged_recursive: null,
  io_time_recursive: null,
  sectors_recursive: null,
};

/** Of all devices together: nobody counts them apart. */
function blockIoToJson({ blockIo }: ContainerStats): object {
  if (blockIo === null) return NO_BLOCK_IO;
  const row = (op: string, value: bigint) => ({ major: 0, minor: 0, op, value: Number(value) });
  return {
    ...NO_BLOCK_IO,
    io_service_bytes_recursive: [row('read', blockIo.readBytes), row('write', blockIo.writeBytes)],
  };
}
