/** `GET /skep/metrics`: what this node counts, for Prometheus. */
import { containerMetrics, type MeasuredContainer } from './container-metrics.ts';
import type { RouteParts } from './parts.ts';
import { type Metric, renderMetrics } from './prometheus-text.ts';
import type { Routes } from './server.ts';

/** Of the text format, which every Prometheus reads. */
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export function addMetricsRoute(
  routes: Routes,
  parts: Pick<RouteParts, 'worker' | 'version' | 'clock'>,
): void {
  routes.add('GET', '/skep/metrics', async (context) => {
    context.begin(CONTENT_TYPE).end(renderMetrics(metricsOf(parts)));
  });
}

function metricsOf({
  worker,
  version,
  clock,
}: Pick<RouteParts, 'worker' | 'version' | 'clock'>): Metric[] {
  const drifts = [
    { labels: { networks: 'cluster' }, counts: worker.clusterDrifts },
    { labels: { networks: 'node' }, counts: worker.localNetworks.drifts },
  ];
  return [
    {
      ...{ name: 'skep_build_info', kind: 'gauge', help: 'The version that runs' },
      samples: [{ labels: { version }, value: 1 }],
    },
    {
      ...{ name: 'skep_network_drifts_repaired_total', kind: 'counter' },
      help: 'Links, addresses, routes, neighbours and rules that others altered and the node put right',
      samples: drifts.map(({ labels, counts }) => ({ labels, value: counts.repaired })),
    },
    {
      ...{ name: 'skep_network_drifts_left', kind: 'gauge' },
      help: 'The same that were not put right at the last look',
      samples: drifts.map(({ labels, counts }) => ({ labels, value: counts.left })),
    },
    ...containerMetrics(measured(worker.containers), clock.wallMs()),
  ];
}

/** Those that run, tasks too. */
function measured(containers: RouteParts['worker']['containers']): MeasuredContainer[] {
  return containers.list().flatMap((info) => {
    const stats = containers.stats(info);
    return stats === null ? [] : [{ info, stats }];
  });
}
