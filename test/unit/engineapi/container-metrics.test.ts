import { expect, test } from 'vitest';
import { containerMetrics } from '../../../daemon/engineapi/container-metrics.ts';
import { renderMetrics } from '../../../daemon/engineapi/prometheus-text.ts';
import { aContainerSpec, aTaskSpec } from '../../support/builders.ts';
import { aContainerInfo, aContainerStats } from '../../support/container-info.ts';

const NOW_MS = 5_500;

test('what containers use is told by the names of cAdvisor, with the labels of whose they are', () => {
  const task = aContainerInfo({
    ...{ id: 'ID', name: 'web.1.t', startedAtMs: 2_500 },
    spec: aTaskSpec({ container: aContainerSpec({ image: 'web:1' }) }),
    labels: {
      'com.docker.swarm.service.name': 'web',
      'com.docker.swarm.task': '',
      'com.docker.stack.namespace': 's',
      'of.a.user': 'x',
    },
  });
  const stats = aContainerStats({ cpuUsageNanos: 1_500_000_000n, throttledNanos: 250_000_000n });
  const idle = aContainerInfo({ id: 'IDLE', name: 'idle', startedAtMs: null });
  const metrics = containerMetrics(
    [
      { info: task, stats },
      {
        info: idle,
        stats: aContainerStats({ memoryLimitBytes: null, blockIo: null, networks: [] }),
      },
    ],
    NOW_MS,
  );
  const lines = renderMetrics(metrics).split('\n');
  const image = idle.spec.container.image;
  const own =
    'id="ID",name="web.1.t",image="web:1",container_label_com_docker_swarm_service_name="web",container_label_com_docker_stack_namespace="s"';
  const toldOf = (labels: string) =>
    lines.flatMap((line) => {
      const [, name = '', rest = '', value = ''] =
        /^container_(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
      return rest.startsWith(labels) ? [`${name}${rest.slice(labels.length)} ${value}`] : [];
    });
  expect(toldOf(own)).toEqual([
    'cpu_usage_seconds_total,cpu="total" 1.5',
    'cpu_user_seconds_total 3e-9',
    'cpu_system_seconds_total 4e-9',
    'cpu_cfs_throttled_periods_total 0',
    'cpu_cfs_throttled_seconds_total 0.25',
    'memory_usage_bytes 200',
    'memory_working_set_bytes 150',
    'spec_memory_limit_bytes 500',
    'threads 3',
    'threads_max 0',
    'network_receive_bytes_total,interface="eth0" 21',
    'network_receive_packets_total,interface="eth0" 1',
    'network_receive_errors_total,interface="eth0" 0',
    'network_receive_packets_dropped_total,interface="eth0" 0',
    'network_transmit_bytes_total,interface="eth0" 22',
    'network_transmit_packets_total,interface="eth0" 1',
    'network_transmit_errors_total,interface="eth0" 0',
    'network_transmit_packets_dropped_total,interface="eth0" 0',
    'blkio_device_usage_total,operation="Read" 11',
    'blkio_device_usage_total,operation="Write" 12',
    'fs_reads_bytes_total 11',
    'fs_writes_bytes_total 12',
    'start_time_seconds 2.5',
    'last_seen 5.5',
  ]);
  expect(toldOf(`id="IDLE",name="idle",image="${image}"`)).toEqual([
    'cpu_usage_seconds_total,cpu="total" 7e-9',
    'cpu_user_seconds_total 3e-9',
    'cpu_system_seconds_total 4e-9',
    'cpu_cfs_throttled_periods_total 0',
    'cpu_cfs_throttled_seconds_total 0',
    'memory_usage_bytes 200',
    'memory_working_set_bytes 150',
    'spec_memory_limit_bytes 0',
    'threads 3',
    'threads_max 0',
    'last_seen 5.5',
  ]);
  expect(lines.filter((line) => line.startsWith('# TYPE '))).toHaveLength(metrics.length);
});
