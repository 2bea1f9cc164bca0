import { describe, expect, test } from 'vitest';
import { type Sample, statsToJson } from '../../../daemon/engineapi/json/stats.ts';
import { systemCpuNanos } from '../../../worker/runtime/container-stats.ts';
import { aContainerStats } from '../../support/container-info.ts';

const OF = { id: 'ID', name: 'web', cpuCount: 2, memoryBytes: 1000 };

function sample(cpuUsageNanos: bigint, memoryLimitBytes: number | null = 500): Sample {
  return {
    stats: aContainerStats({ cpuUsageNanos, memoryLimitBytes }),
    readAtMs: 1_000,
    systemCpuNanos: Number(cpuUsageNanos) * 10,
  };
}

describe('statistics of a container', () => {
  test('have what docker stats counts with', () => {
    expect(statsToJson(OF, sample(2000n), sample(1000n))).toMatchObject({
      name: '/web',
      cpu_stats: { cpu_usage: { total_usage: 2000 }, system_cpu_usage: 20_000, online_cpus: 2 },
      precpu_stats: { cpu_usage: { total_usage: 1000 }, system_cpu_usage: 10_000 },
      memory_stats: { usage: 200, limit: 500, stats: { inactive_file: 50 } },
      networks: { eth0: { rx_bytes: 21, tx_bytes: 22 } },
      blkio_stats: {
        io_service_bytes_recursive: [
          { op: 'read', value: 11 },
          { op: 'write', value: 12 },
        ],
      },
      pids_stats: { current: 3 },
    });
  });

  test('without a limit it is the machine’s memory; the first have nothing before', () => {
    const json = statsToJson(OF, sample(1n, null), null);
    expect(json).toMatchObject({
      memory_stats: { limit: 1000 },
      preread: '0001-01-01T00:00:00Z',
      precpu_stats: { cpu_usage: { total_usage: 0 } },
    });
  });

  test('of one that does not run are empty', () => {
    const gone = { stats: null, readAtMs: 1, systemCpuNanos: 1 };
    expect(statsToJson(OF, gone, null)).toMatchObject({ memory_stats: {}, pids_stats: {} });
  });

  test('time of all CPUs is the sum of its kinds, guests not twice', () => {
    expect(systemCpuNanos('cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n')).toBe(36 * 1e7);
  });
});
