import { expect, test } from 'vitest';
import { addMetricsRoute } from '../../../daemon/engineapi/metrics.ts';
import type { RouteParts } from '../../../daemon/engineapi/parts.ts';
import { renderMetrics } from '../../../daemon/engineapi/prometheus-text.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import type { ContainerInfo } from '../../../worker/container-view.ts';
import { aContainerInfo, aContainerStats } from '../../support/container-info.ts';

test('what Prometheus would misread is escaped', () => {
  const samples = [
    { labels: { path: 'C:\\"x"\n' }, value: 1.5 },
    { labels: {}, value: 0 },
  ];
  expect(renderMetrics([{ name: 'a_total', kind: 'counter', help: 'Two\nlines', samples }])).toBe(
    '# HELP a_total Two\\nlines\n# TYPE a_total counter\na_total{path="C:\\\\\\"x\\"\\n"} 1.5\na_total 0\n',
  );
});

test('drifts of the cluster’s networks and of the node’s own are told, and what runs uses', async () => {
  const parts = {
    worker: {
      clusterDrifts: { repaired: 7, left: 1 },
      localNetworks: { drifts: { repaired: 2, left: 0 } },
      containers: {
        list: () => [aContainerInfo({ name: 'runs' }), aContainerInfo({ name: 'ended' })],
        stats: ({ name }: ContainerInfo) => (name === 'runs' ? aContainerStats() : null),
      },
    },
    clock: { wallMs: () => 0 },
    version: '1.2.3',
  } as unknown as RouteParts;
  let handle: ((context: unknown) => Promise<void>) | null = null;
  const routes = { add: (_m: string, _p: string, handler: typeof handle) => (handle = handler) };
  addMetricsRoute(routes as unknown as Routes, parts);
  let text = '';
  let type = '';
  const begin = (contentType: string) => {
    type = contentType;
    return { end: (body: string) => (text = body) };
  };
  await handle!({ begin });
  expect(type).toContain('version=0.0.4');
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  expect(new Set(lines.map((line) => /^container_.*,name="(\w+)"/.exec(line)?.[1]))).toEqual(
    new Set([undefined, 'runs']),
  );
  expect(lines.filter((line) => !line.startsWith('container_'))).toEqual([
    'skep_build_info{version="1.2.3"} 1',
    'skep_network_drifts_repaired_total{networks="cluster"} 7',
    'skep_network_drifts_repaired_total{networks="node"} 2',
    'skep_network_drifts_left{networks="cluster"} 1',
    'skep_network_drifts_left{networks="node"} 0',
    '',
  ]);
});
