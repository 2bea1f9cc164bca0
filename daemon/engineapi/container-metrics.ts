/**
 * What the containers of a node use, as Prometheus reads it: names and labels are those of cAdvisor, which dashboards for
 * containers ask for. Pure.
 */
import type { ContainerInfo } from '../../worker/container-view.ts';
import type { ContainerStats, InterfaceStats } from '../../worker/runtime/container-stats.ts';
import type { Metric, Sample } from './prometheus-text.ts';

export interface MeasuredContainer {
  readonly info: Pick<ContainerInfo, 'id' | 'name' | 'labels' | 'startedAtMs'> & {
    readonly spec: { readonly container: { readonly image: string } };
  };
  readonly stats: ContainerStats;
}

/** Some values of one container, each with what tells it from the others; of cAdvisor, too. */
type Values = (container: MeasuredContainer) => readonly Sample[];

const NANOS_PER_SECOND = 1e9;
const MS_PER_SECOND = 1e3;
/** Labels of containers that are labels of their series; all would be as many as anybody likes. */
const TOLD_LABELS = /^com\.docker\.(swarm|stack|compose)\./;

/** @param nowMs when they were measured, Unix time */
export function containerMetrics(
  containers: readonly MeasuredContainer[],
  nowMs: number,
): Metric[] {
  const own = containers.map((container) => ({ container, labels: ownLabels(container) }));
  const metric = (kind: Metric['kind'], name: string, help: string, values: Values): Metric => ({
    ...{ name: `container_${name}`, kind, help },
    samples: own.flatMap(({ container, labels }) =>
      values(container).map((one) => ({ labels: { ...labels, ...one.labels }, value: one.value })),
    ),
  });
  const counter = (name: string, help: string, values: Values): Metric =>
    metric('counter', name, help, values);
  const gauge = (name: string, help: string, values: Values): Metric =>
    metric('gauge', name, help, values);
  return [
    counter('cpu_usage_seconds_total', 'CPU time', ({ stats }) =>
      alone(seconds(stats.cpuUsageNanos), { cpu: 'total' }),
    ),
    counter('cpu_user_seconds_total', 'CPU time in user mode', ({ stats }) =>
      alone(seconds(stats.cpuUserNanos)),
    ),
    counter('cpu_system_seconds_total', 'CPU time in the kernel', ({ stats }) =>
      alone(seconds(stats.cpuSystemNanos)),
    ),
    counter('cpu_cfs_throttled_periods_total', 'Periods in which it had to wait', ({ stats }) =>
      alone(stats.throttledPeriods),
    ),
    counter('cpu_cfs_throttled_seconds_total', 'Time for which it had to wait', ({ stats }) =>
      alone(seconds(stats.throttledNanos)),
    ),
    gauge('memory_usage_bytes', 'Memory, with the page cache', ({ stats }) =>
      alone(stats.memoryUsageBytes),
    ),
    gauge('memory_working_set_bytes', 'Memory without what is given up first', ({ stats }) =>
      alone(Math.max(0, stats.memoryUsageBytes - stats.memoryInactiveFileBytes)),
    ),
    gauge('spec_memory_limit_bytes', 'The most memory; 0 = unlimited', ({ stats }) =>
      alone(stats.memoryLimitBytes ?? 0),
    ),
    gauge('threads', 'Processes and their threads', ({ stats }) => alone(stats.pids)),
    gauge('threads_max', 'The most of them; 0 = unlimited', ({ stats }) =>
      alone(stats.pidsLimit ?? 0),
    ),
    ...networkMetrics(counter),
    counter('blkio_device_usage_total', 'Bytes of all block devices together', ({ stats }) =>
      stats.blockIo === null
        ? []
        : [
            ...alone(Number(stats.blockIo.readBytes), { operation: 'Read' }),
            ...alone(Number(stats.blockIo.writeBytes), { operation: 'Write' }),
          ],
    ),
    counter('fs_reads_bytes_total', 'Bytes read from block devices', ({ stats }) =>
      stats.blockIo === null ? [] : alone(Number(stats.blockIo.readBytes)),
    ),
    counter('fs_writes_bytes_total', 'Bytes written to block devices', ({ stats }) =>
      stats.blockIo === null ? [] : alone(Number(stats.blockIo.writeBytes)),
    ),
    gauge('start_time_seconds', 'When it was started, Unix time', ({ info }) =>
      info.startedAtMs === null ? [] : alone(info.startedAtMs / MS_PER_SECOND),
    ),
    gauge('last_seen', 'When it was looked at, Unix time', () => alone(nowMs / MS_PER_SECOND)),
  ];
}

function networkMetrics(counter: (name: string, help: string, values: Values) => Metric): Metric[] {
  const of = (name: string, help: string, value: (one: InterfaceStats) => number): Metric =>
    counter(`network_${name}_total`, help, ({ stats }) =>
      stats.networks.flatMap((one) => alone(value(one), { interface: one.name })),
    );
  return [
    of('receive_bytes', 'Bytes received', (one) => one.receivedBytes),
    of('receive_packets', 'Packets received', (one) => one.receivedPackets),
    of('receive_errors', 'Packets not received for errors', (one) => one.receiveErrors),
    of('receive_packets_dropped', 'Packets received and dropped', (one) => one.receiveDropped),
    of('transmit_bytes', 'Bytes sent', (one) => one.sentBytes),
    of('transmit_packets', 'Packets sent', (one) => one.sentPackets),
    of('transmit_errors', 'Packets not sent for errors', (one) => one.sendErrors),
    of('transmit_packets_dropped', 'Packets dropped and not sent', (one) => one.sendDropped),
  ];
}

function alone(value: number, labels: Sample['labels'] = {}): Sample[] {
  return [{ labels, value }];
}

function seconds(nanos: bigint): number {
  return Number(nanos) / NANOS_PER_SECOND;
}

function ownLabels({ info }: MeasuredContainer): Sample['labels'] {
  const told = Object.entries(info.labels).filter(
    ([key, value]) => TOLD_LABELS.test(key) && value !== '',
  );
  return {
    ...{ id: info.id, name: info.name, image: info.spec.container.image },
    ...Object.fromEntries(
      told.map(([key, value]) => [
        `container_label_${key.replaceAll(/[^a-zA-Z0-9_]/g, '_')}`,
        value,
      ]),
    ),
  };
}
