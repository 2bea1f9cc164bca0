// --api-exec-on-workers: commands in tasks of any node, asked for at a worker; and nothing else of what is there.
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, tableRows } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/execs:1';

describe.skipIf(!clusterTestsCanRun)(
  'commands in services, asked for at a worker',
  {
    timeout: 60_000,
  },
  () => {
    const shared = useCluster(
      'wexec',
      { managers: 2, workers: 2, apiExecOnWorkers: true },
      async (cluster) => {
        await cluster.image({ name: IMAGE, cmd: ['sleep', '3600'] });
        const argv = ['--no-resolve-image', '--detach', '--mode', 'global', '--name', 'web'];
        const hostname = ['--hostname', '{{.Node.Hostname}}', '--stop-grace-period', '1s'];
        await cluster.skep(['service', 'create', ...argv, ...hostname, IMAGE]);
        await cluster.running('web', 4);
        await cluster.skep(['run', '-d', '--name', 'alone', IMAGE]);
      },
    );
    const hosts = () => shared.current.hosts.map(({ name }) => name).sort();
    const at = (host: string, args: readonly string[], input?: string) =>
      shared.current.try(args, { host, ...(input !== undefined && { input }) });

    test('run on every node, from every node', async () => {
      for (const host of hosts()) {
        const all = await at(host, ['service', 'exec', '--all', 'web', '--', 'hostname']);
        expect([all.code, all.stderr], host).toEqual([0, '']);
        const said = all.stdout.trimEnd().split('\n');
        expect(said.map((line) => line.split(' | ')[1]).sort()).toEqual(hosts());
      }
    });

    test('have input, a status and a terminal', async () => {
      const [task] = (await shared.current.running('web', 4)).filter(
        ({ node }) => node === 'worker-2',
      );
      const seat = task!.name.split('.').slice(0, 2).join('.');
      const words = ['service', 'exec', '-i', seat, '--', '/bin/sh', '-c', 'cat; exit 7'];
      expect(await at('worker-1', words, 'passed on')).toMatchObject({
        code: 7,
        stdout: 'passed on',
      });
      const docker = ['exec', '-t', `web.${task!.name.split('.')[1]}.${task!.id}`, 'tty'];
      expect((await at('worker-1', docker)).stdout).toMatch(/^\/dev\/(pts\/\d+|console)\r?\n$/);
    });

    test('are measured and listed there, too', async () => {
      const top = tableRows(
        (await at('worker-1', ['service', 'top', 'web', '-eo', 'args'])).stdout,
      );
      expect(new Set(top.slice(1).map(([, node]) => node))).toEqual(new Set(hosts()));
      const stats = ['service', 'stats', '--no-stream', '--format', '{{.Node}} {{.PIDs}}', 'web'];
      const { stdout } = await at('worker-1', stats);
      expect(stdout.trimEnd().split('\n').sort()).toEqual(hosts().map((name) => `${name} 1`));
    });

    test('are no way to containers outside of services, nor to end a task', async () => {
      const alone = await at('worker-1', ['exec', 'alone', 'hostname']);
      expect([alone.code, alone.stderr]).toEqual([
        1,
        expect.stringContaining('No such container: alone'),
      ]);
      const [task] = (await shared.current.running('web', 4)).filter(
        ({ node }) => node === 'worker-2',
      );
      const killed = await at('worker-1', ['kill', task!.id]);
      expect([killed.code, killed.stderr]).toEqual([
        1,
        expect.stringContaining('No such container'),
      ]);
      const scaled = await at('worker-1', ['service', 'rm', 'web']);
      expect(scaled.stderr).toContain('not a swarm manager');
    });
  },
);
