// Templates in a service, a config and a secret, as the containers of its tasks see them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const CONFIG = 'slot {{.Task.Slot}} on {{env "WHERE"}}: {{secret "token"}}\n';

describe.skipIf(!clusterTestsCanRun)('templates', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    writeFileSync(join(dir, 'conf'), CONFIG);
    writeFileSync(join(dir, 'token'), 'for {{.Service.Name}}');
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('templates', { managers: 1, workers: 1 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );

  test('each task has its own', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const golang = ['--template-driver', 'golang'];
    await cluster.skep(['config', 'create', ...golang, 'conf', join(dir, 'conf')]);
    // Without the driver a secret is what it is.
    await cluster.skep(['secret', 'create', 'token', join(dir, 'token')]);
    await cluster.skep([
      ...['service', 'create', '--detach=false', '--no-resolve-image', '--name', 'web'],
      ...['--replicas', '2', '--label', 'tier=front'],
      ...['--hostname', '{{.Service.Labels.tier}}-{{.Task.Slot}}'],
      ...['--env', 'WHERE={{.Node.Hostname}}', '--secret', 'token', '--config', 'conf'],
      ...['--mount', 'source=data-{{.Task.Slot}},target=/data/{{.Service.Name}}'],
      ...[IMAGE, 'sh', '-c', 'trap "exit 0" TERM; while true; do sleep 1; done'],
    ]);
    const tasks = await cluster.running('web', 2);
    for (const { id, name, node } of tasks) {
      const slot = name.split('.')[1];
      const script = 'hostname; cat /conf; grep -c " /data/web " /proc/mounts';
      const said = await cluster.skep(['exec', `${name}.${id}`, 'sh', '-c', script], {
        host: node,
      });
      expect(said).toBe(`front-${slot}\nslot ${slot} on ${node}: for {{.Service.Name}}\n1\n`);
      const volumes = await cluster.skep(['volume', 'ls', '-q'], { host: node });
      expect(volumes.split('\n')).toContain(`data-${slot}`);
    }
  });

  test('an unknown field is refused when the service is created', async () => {
    const args = ['service', 'create', '--no-resolve-image', '--env', 'A={{.Task.Colour}}', IMAGE];
    const { code, stderr } = await shared.current.try(args);
    expect(code).toBe(1);
    expect(stderr).toContain("can't evaluate field Colour: there are ID, Name, Slot");
  });
});
