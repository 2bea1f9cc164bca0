// The life of a cluster leaves the machine as it was: every process, mount, namespace, link, route,
// firewall table, control group and file.
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { CleanupReport } from '../support/cleanup-probe.ts';
import {
  clusterTestsCanRun,
  endCluster,
  REPOSITORY,
  run,
  SKEP,
  startCluster,
} from '../support/cluster.ts';

const LIMIT_MS = 180_000;

describe.skipIf(!clusterTestsCanRun)('what a cluster leaves', () => {
  let report: CleanupReport;
  beforeAll(async () => {
    const argv = [
      join(REPOSITORY, 'test/support/private-machine'),
      ...['node', '--import', 'tsx', 'test/support/cleanup-probe.ts'],
    ];
    const { code, stdout, stderr } = await run(argv, { cwd: REPOSITORY, limitMs: LIMIT_MS });
    const line = stdout.split('\n').find((text) => text.startsWith('report '));
    if (line === undefined) throw new Error(`status ${code}\n${stdout}\n${stderr}`);
    report = JSON.parse(line.slice('report '.length));
  }, LIMIT_MS);

  test.each(['processes', 'mounts', 'network namespaces', 'links', 'routes', 'cgroups', 'files'])(
    'a busy cluster is seen in the list of %s',
    (subject) => {
      expect(report.busy.filter((line) => line.startsWith(`+ ${subject}: `))).not.toEqual([]);
    },
  );

  test('removed services leave nothing on their hosts', () => {
    expect(report.afterRemoval).toEqual([]);
  });

  test('dev down of a busy cluster leaves nothing', () => {
    expect(report.afterDown).toEqual([]);
  });

  test('dev down after the daemons were killed leaves nothing', () => {
    expect(report.afterKill).toEqual([]);
  });
});

describe.skipIf(!clusterTestsCanRun)('a name that is taken', () => {
  test('is refused, and what runs is left alone', { timeout: 90_000 }, async () => {
    const cluster = await startCluster('twice', { managers: 1, workers: 0 });
    try {
      const again = await run([SKEP, 'dev', 'up', '--name', cluster.name]);
      expect(again.code, again.stdout).not.toBe(0);
      expect(again.stderr).toContain(cluster.name);
      expect(await cluster.skep(['node', 'ls', '--format', '{{.Status}}'])).toBe('Ready\n');
    } finally {
      await endCluster(cluster);
    }
  });
});
