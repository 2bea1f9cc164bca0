// Services in the networks that every node has: the host's own, and none at all.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, http, run, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const SOON = { withinMs: 30_000 };
const PORT = 18_470;
const ANSWERS = 'mkdir /www; hostname > /www/index.html; exec httpd -f -p $PORT -h /www';
const FILE = `
services:
  front:
    image: box
    environment: {PORT: ${PORT + 1}}
    network_mode: host
  side:
    image: box
    environment: {PORT: ${PORT + 2}}
    networks: [outside]
  alone:
    image: box
    environment: {PORT: 80}
    network_mode: none
networks:
  outside: {external: true, name: host}
`;

describe.skipIf(!clusterTestsCanRun)('the network of the host', { timeout: 120_000 }, () => {
  const shared = useCluster('host-network', { managers: 1, workers: 1 }, async (cluster) => {
    await cluster.image({ name: 'box:latest', cmd: ['sh', '-c', ANSWERS] });
  });
  const answers = (address: string, port: number) =>
    eventually(
      `${address}:${port} answers`,
      async () => expect((await http(address, port)).status).toBe(200),
      SOON,
    );

  test('a service answers on the address of each of its nodes, until it is removed', async () => {
    const cluster = shared.current;
    const port = ['-p', `published=${PORT},target=${PORT},mode=host`];
    const what = ['--network', 'host', '--mode', 'global', '--env', `PORT=${PORT}`, ...port, 'box'];
    await cluster.skep(['service', 'create', '-d', '--name', 'web', ...what]);
    await cluster.running('web', 2, SOON);
    for (const { address } of cluster.hosts) await answers(address, PORT);
    const service = JSON.parse(await cluster.skep(['service', 'inspect', 'web']))[0];
    expect(service.Spec.TaskTemplate.Networks).toEqual([{ Target: 'host' }]);
    expect(service.Endpoint.VirtualIPs ?? []).toEqual([]);
    await cluster.skep(['service', 'rm', '-d', 'web']);
    for (const { address } of cluster.hosts) {
      await eventually(
        'nothing answers',
        () => expect(http(address, PORT)).rejects.toThrow('ECONNREFUSED'),
        SOON,
      );
    }
  });

  test('a stack file puts services into it, and into none', async () => {
    const cluster = shared.current;
    const dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    try {
      writeFileSync(join(dir, 'stack.yml'), FILE);
      const verb = ['stack', 'deploy', '--resolve-image', 'never', '-c', 'stack.yml', 'h'];
      await cluster.skep(verb, { cwd: dir });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
    for (const [at, name] of ['h_front', 'h_side'].entries()) {
      const [task] = await cluster.running(name, 1, SOON);
      await answers(cluster.host(task!.node).address, PORT + 1 + at);
    }
    const [alone] = await cluster.running('h_alone', 1, SOON);
    const links = await cluster.skep(
      ['exec', `${alone!.name}.${alone!.id}`, 'ls', '/sys/class/net'],
      {
        host: alone!.node,
      },
    );
    expect(links.trim()).toBe('lo');
    await cluster.skep(['stack', 'rm', 'h']);
  });

  test('ports of the routing mesh are refused there', async () => {
    const create = ['service', 'create', '-d', '--network', 'host', '-p', '8080:80', 'box'];
    const { code, stderr } = await shared.current.try(create);
    expect(code).not.toBe(0);
    expect(stderr).toContain('the routing mesh does not reach it');
  });

  test.skipIf(!hasDocker)(
    'the docker command finds it by its name, and takes it away',
    async () => {
      const cluster = shared.current;
      const [manager] = cluster.hosts;
      const env = { DOCKER_HOST: `unix://${manager!.socket}` };
      const docker = async (...args: readonly string[]): Promise<string> =>
        succeeded(await run(['docker', ...args], { limitMs: 30_000, env })).stdout.trim();
      const what = ['--name', 'd', '--network', 'host', '--env', `PORT=${PORT + 3}`];
      await docker('service', 'create', '-d', '--constraint', 'node.role==manager', ...what, 'box');
      const [task] = await cluster.running('d', 1, SOON);
      await answers(manager!.address, PORT + 3);
      const name = `d.1.${task!.id}`;
      expect(await docker('inspect', '-f', '{{.HostConfig.NetworkMode}}', name)).toBe('host');
      expect(await docker('exec', name, 'hostname')).toBe(manager!.name);
      expect(await docker('service', 'inspect', '--pretty', 'd')).toMatch(/Networks:\s+host/);
      await docker('service', 'update', '-d', '--network-rm', 'host', 'd');
      const networks = ['-f', '{{json .Spec.TaskTemplate.Networks}}', 'd'];
      expect(await docker('service', 'inspect', ...networks)).toBe('null');
      await eventually(
        'the task on the network of the host is gone',
        () => expect(http(manager!.address, PORT + 3)).rejects.toThrow('ECONNREFUSED'),
        SOON,
      );
      await docker('service', 'rm', 'd');
    },
  );
});
