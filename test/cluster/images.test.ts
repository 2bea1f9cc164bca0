// Images in a real cluster: a registry on the cluster's bridge, behind a proxy that counts and breaks.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, describe, expect, test } from 'vitest';
import { encodeRegistryAuth } from '../../common/model/registry-auth.ts';
import { clusterTestsCanRun, eventually, http, run, SKEP } from '../support/cluster.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';
import {
  hasDockerRegistry,
  hasSkopeo,
  push,
  startRegistry,
  type TestRegistry,
} from '../support/image-registry.ts';
import { makeCertificates } from '../support/test-certificates.ts';
import { TokenRegistry } from '../support/token-registry.ts';
import { base64Forms, filesWith } from '../support/told-files.ts';
import { useCluster } from '../support/use-cluster.ts';

/** All development clusters' bridges lie in it. */
const SUBNETS = '172.30.0.0/16';

describe.skipIf(!clusterTestsCanRun || !hasDockerRegistry)(
  'images of a cluster (needs root, docker-registry)',
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    let registry: TestRegistry;
    let proxy: FaultProxy;

    const shared = useCluster(
      'images',
      { managers: 1, workers: 2, insecureRegistries: [SUBNETS] },
      async (cluster) => {
        registry = await startRegistry({ dir: join(dir, 'registry') });
        proxy = new FaultProxy(registry.host);
        const bridge = cluster.hosts[0]!.address.replace(/\.\d+$/, '.1');
        await proxy.start(bridge);
      },
    );

    afterAll(async () => {
      await proxy?.stop();
      await registry?.stop();
      rmSync(dir, { recursive: true, force: true });
    });

    /** An image of this name on the first manager alone. */
    async function loaded(name: string, command = 'while :; do sleep 1; done'): Promise<void> {
      const outTar = join(dir, 'image.tar');
      const cmd = ['sh', '-c', command];
      buildBusyboxImage({ name, outTar, cmd, gzipLayers: true, files: { name } });
      await shared.current.skep(['load', '-i', outTar]);
    }

    const blobsServed = (): Map<string, number> => {
      const counts = new Map<string, number>();
      for (const { url } of proxy.asked('GET', /\/blobs\/sha256:/)) {
        counts.set(url, (counts.get(url) ?? 0) + 1);
      }
      return counts;
    };

    test('one pull feeds all nodes, and a service moves while the registry is down', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      const name = `${proxy.host}/web:1`;
      await loaded(name);
      const pushed = await cluster.skep(['push', name]);
      expect(pushed).toContain(`The push refers to repository [${proxy.host}/web]`);
      expect(pushed).toMatch(/1: digest: sha256:[0-9a-f]{64} size: \d+/);
      await cluster.skep(['rmi', name]);
      expect(await cluster.skep(['image', 'ls', '-q'])).toBe('');

      const [first, second] = [cluster.workers[0]!, cluster.workers[1]!];
      const on = (host: { name: string }): string => `node.hostname==${host.name}`;
      const flags = ['--name', 'web', '--constraint', on(first), '-d'];
      await cluster.skep(['service', 'create', ...flags, name]);
      await cluster.running('web', 1);
      const task = '{{json .Spec.TaskTemplate}}';
      const spec = JSON.parse(await cluster.skep(['service', 'inspect', '--format', task, 'web']));
      const digest = /digest: (sha256:\w+)/.exec(pushed)![1];
      expect(spec).toMatchObject({
        ContainerSpec: { Image: `${name}@${digest}` },
        Placement: { Platforms: [{ OS: 'linux', Architecture: expect.any(String) }] },
      });
      const served = blobsServed();
      // Two layers; and the config, which the client's question for the digest and platform has read as well.
      expect([...served.values()].sort()).toEqual([1, 1, 2]);

      proxy.fault = () => ({ kind: 'answer', status: 503 });
      const move = ['--constraint-rm', on(first), '--constraint-add', on(second)];
      await cluster.skep(['service', 'update', '-d', ...move, 'web']);
      await eventually(
        'the task runs on the other worker',
        async () => {
          const tasks = (await cluster.tasks('web')).filter((task) => task.current === 'Running');
          expect(tasks.map((task) => task.node)).toEqual([second.name]);
        },
        { withinMs: 40_000 },
      );
      expect(blobsServed()).toEqual(served);
      proxy.fault = () => null;
      await cluster.skep(['service', 'rm', '-d', 'web']);
    });

    test.each([
      [401, { 'WWW-Authenticate': 'Basic realm="Registry Realm"' }, 'unauthorized: '],
      [429, { 'Retry-After': '3600' }, 'toomanyrequests: too many requests'],
      [null, {}, 'manifest unknown: manifest unknown'],
    ] as const)('a task says what the registry says (%s)', { timeout: 60_000 }, async (...row) => {
      const cluster = shared.current;
      const [status, headers, words] = row;
      // One of its own: nodes keep the pause that it asks for.
      const faulty = new FaultProxy(registry.host);
      await faulty.start(proxy.host.split(':')[0]);
      faulty.fault = () => (status === null ? null : { kind: 'answer', status, headers });
      const image = `${faulty.host}/private:1`;
      const flags = ['--name', 'private', '--restart-condition', 'none', '-d'];
      await cluster.skep(['service', 'create', '--no-resolve-image', ...flags, image]);
      try {
        await eventually(
          'the task tells of it',
          async () => {
            const [task] = await cluster.tasks('private');
            expect(task?.error).toContain(`pull private:1 from ${faulty.host}: ${words}`);
          },
          { withinMs: 30_000 },
        );
      } finally {
        await cluster.skep(['service', 'rm', '-d', 'private']);
        await faulty.stop();
      }
    });

    test('an image is given to every node without a registry', { timeout: 60_000 }, async () => {
      const cluster = shared.current;
      await loaded('handed/out:1');
      const told = await cluster.skep(['image', 'push', '--cluster', 'handed/out:1']);
      for (const { name } of cluster.workers) {
        expect(told).toContain(`${name}: Image is there`);
        const rows = await cluster.skep(['image', 'ls', 'handed/out'], { host: name });
        expect(rows).toContain('handed/out');
        expect(await cluster.skep(['image', 'verify'], { host: name })).toMatch(/sha256:\w+: ok/);
      }
      const history = await cluster.skep(['history', 'handed/out:1']);
      expect(history).toContain('layer 1');
      expect(await cluster.skep(['system', 'df'])).toMatch(/Images +1 +0 +\d/);
      const worker = cluster.workers[0]!.name;
      const refused = await cluster.try(['push', '--cluster', 'handed/out:1'], { host: worker });
      expect(refused.stderr).toContain('not a swarm manager');
      const pruned = await cluster.skep(['image', 'prune', '-af'], { host: worker });
      expect(pruned).toContain('untagged: handed/out:1');
    });

    test('a private registry: login, push, remove, pull, and the same on every node', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      const own = await startRegistry({ dir: join(dir, 'private'), basicAuth: true });
      const door = new FaultProxy(own.host);
      const env = { DOCKER_CONFIG: join(dir, 'docker') };
      try {
        await door.start(cluster.hosts[0]!.address.replace(/\.\d+$/, '.1'));
        const name = `${door.host}/oldboy/web:1`;
        await loaded(name);
        const refused = await cluster.try(['push', name], { env });
        expect(refused.stderr).toContain('unauthorized: authentication required');

        const login = ['login', '-u', 'alice', '--password-stdin', door.host];
        const guess = await cluster.try(login, { env, input: 'guess\n' });
        expect(guess.stderr).toContain('unauthorized: authentication required');
        expect(await cluster.skep(login, { env, input: 'secret\n' })).toBe('Login Succeeded\n');
        expect(await cluster.skep(['push', name], { env })).toContain(': Pushed');
        expect(await cluster.skep(['push', name], { env })).toContain(': Layer already exists');
        const mounted = `${door.host}/oldboy/copy:1`;
        await cluster.skep(['tag', name, mounted]);
        expect(await cluster.skep(['push', mounted], { env })).toContain(
          ': Mounted from oldboy/web',
        );
        await cluster.skep(['rmi', mounted]);
        expect(await cluster.skep(['rmi', name])).toContain(`Untagged: ${name}`);
        const pulled = await cluster.skep(['pull', name], { env });
        expect(pulled).toMatch(/Digest: sha256:[0-9a-f]{64}/);
        expect(pulled).toContain(`Status: Downloaded newer image for ${name}`);
        expect(await cluster.skep(['pull', name], { env })).toContain(
          `Status: Image is up to date for ${name}`,
        );

        const flags = ['--name', 'everywhere', '--mode', 'global', '-d'];
        await cluster.skep(['service', 'create', '--with-registry-auth', ...flags, name], { env });
        await cluster.running('everywhere', 3);
        const told = '"password":"secret"';
        const sent = encodeRegistryAuth({ username: 'alice', password: 'secret' }, door.host);
        expect(base64Forms(told).filter((form) => sent.includes(form))).not.toEqual([]);
        expect(filesWith(cluster.name, told)).toEqual([]);
        await cluster.skep(['service', 'rm', '-d', 'everywhere']);
        await cluster.skep(['logout', door.host], { env });
        const after = await cluster.try(['pull', name], { env });
        expect(after.stderr).toContain('unauthorized: authentication required');
      } finally {
        await door.stop();
        await own.stop();
      }
    });

    test('an image of 127 layers runs, and one with more is refused', {
      timeout: 60_000,
    }, async () => {
      const cluster = shared.current;
      const outTar = join(dir, 'deep.tar');
      const deep = (layers: number): void => {
        // Beside that of busybox.
        const own = Array.from({ length: layers - 1 }, (_, i) => ({
          files: { last: `${i}`, [`each/${i}`]: '' },
        }));
        buildBusyboxImage({ name: 'deep:1', outTar, layers: own });
      };
      deep(127);
      await cluster.skep(['load', '-i', outTar]);
      const look = ['sh', '-c', 'cat last; ls each | wc -l'];
      expect(await cluster.skep(['run', '--rm', '--network', 'none', 'deep:1', ...look])).toBe(
        '125126\n',
      );
      await cluster.skep(['rmi', 'deep:1']);
      deep(128);
      const refused = await cluster.try(['load', '-i', outTar]);
      expect(refused.stderr).toContain('128 layers are above the maximum of 127');
      expect(await cluster.skep(['image', 'ls', '-q', 'deep'])).toBe('');
    });

    test('nothing is built here, and whoever asks for it is told so', {
      timeout: 60_000,
    }, async () => {
      const cluster = shared.current;
      const host = `unix://${cluster.hosts[0]!.socket}`;
      const files = join(dir, 'build');
      mkdirSync(files);
      writeFileSync(join(files, 'Dockerfile'), 'FROM scratch\n');
      const services = { web: { build: '.' } };
      writeFileSync(join(files, 'compose.yml'), JSON.stringify({ version: '3.8', services }));
      const ours = 'images are built elsewhere, and pushed to a registry or loaded (skep load)';
      const words = 'build elsewhere, then load or push the image';
      const told: [readonly string[], string][] = [
        [[SKEP, 'build', '-t', 'x:1', '.'], `skep: skep build is not supported: ${ours}`],
        [[SKEP, 'image', 'build', '.'], `skep: skep image build is not supported: ${ours}`],
        [
          [SKEP, '-H', host, 'stack', 'deploy', '-c', 'compose.yml', 'none'],
          'services.web.build: images are not built here, and no image is named',
        ],
        [['docker', '-H', host, 'build', '.'], `building images is not supported: ${words}`],
        [
          ['docker-compose', '-H', host, '-f', 'compose.yml', 'build'],
          `building images is not supported: ${words}`,
        ],
      ];
      const isThere = (program: string): boolean => program === SKEP || existsSync(program);
      const programs: Record<string, string> = {
        docker: '/usr/local/bin/docker',
        'docker-compose': '/usr/bin/docker-compose',
      };
      for (const [[program = '', ...args], expected] of told) {
        if (!isThere(programs[program] ?? program)) continue;
        const ownBuilders = { DOCKER_BUILDKIT: '0', COMPOSE_DOCKER_CLI_BUILD: '0' };
        const env = { ...ownBuilders, DOCKER_CONFIG: files };
        const result = await run([program, ...args], { cwd: files, env });
        expect(result.code, program).not.toBe(0);
        expect(result.stdout + result.stderr).toContain(expected);
      }
    });

    test.skipIf(!hasSkopeo)(
      'a login by tokens that are void once used lasts: for all nodes, longer than a token, in the middle of a pull',
      { timeout: 120_000 },
      async () => {
        const cluster = shared.current;
        const own = await startRegistry({ dir: join(dir, 'tokens') });
        const lives = { identityLifeMs: 12_000, accessUsesMax: 2 };
        const tokens = new TokenRegistry({ target: own.host, ...lives });
        const env = { DOCKER_CONFIG: join(dir, 'docker-tokens') };
        try {
          await tokens.start(cluster.hosts[0]!.address.replace(/\.\d+$/, '.1'));
          const outTar = join(dir, 'image.tar');
          const cmd = ['sh', '-c', 'while :; do sleep 1; done'];
          for (const name of ['app:1', 'app:2', 'app:3']) {
            buildBusyboxImage({ name, outTar, cmd, files: { name } });
            push(own, outTar, name);
          }
          const [first = '', second = '', third = ''] = [1, 2, 3].map(
            (n) => `${tokens.host}/app:${n}`,
          );
          const login = ['login', '-u', 'alice', '--password-stdin', tokens.host];
          await cluster.skep(login, { env, input: 'secret' });
          const workers = ['--mode', 'global', '--constraint', 'node.role==worker'];
          const create = ['--name', 'tokens', ...workers, '--update-monitor', '1s', '-d', first];
          await cluster.skep(['service', 'create', '--with-registry-auth', ...create], { env });
          await cluster.running('tokens', 2);
          expect(tokens.refused).toEqual([]);

          // Nobody but the leader uses it now, and each lives for twelve seconds.
          const before = tokens.exchanges;
          const renewed = (): void => expect(tokens.exchanges).toBeGreaterThan(before + 1);
          await eventually('the leader renews the login', renewed, { withinMs: 50_000 });
          await cluster.skep([
            'service',
            'update',
            '--no-resolve-image',
            '--image',
            second,
            '-d',
            'tokens',
          ]);
          await eventually(
            'both run the second version',
            async () => {
              const format = ['--format', '{{.Image}} {{.CurrentState}}'];
              const wanted = ['--filter', 'desired-state=running', '--no-trunc'];
              const rows = await cluster.skep(['service', 'ps', ...wanted, ...format, 'tokens']);
              const isRunning = expect.stringContaining(`${second} Running`);
              expect(rows.trim().split('\n')).toEqual([isRunning, isRunning]);
            },
            { withinMs: 40_000 },
          );

          // By hand as well, with what the login left long ago; this takes more requests than a token is good for.
          const pulled = tokens.exchanges;
          expect(await cluster.skep(['pull', third], { env })).toContain('Downloaded newer image');
          expect(tokens.exchanges).toBeGreaterThan(pulled + 1);
          expect(tokens.refused).toEqual([]);
          await cluster.skep(['service', 'rm', '-d', 'tokens']);
        } finally {
          await tokens.stop();
          await own.stop();
        }
      },
    );

    const serving = async (service: string): Promise<string[]> =>
      (await shared.current.tasks(service))
        .filter(({ current, desired }) => current === 'Running' && desired === 'Running')
        .map(({ id }) => id)
        .sort();

    test('an update pulls on the node of the new task before the old one stops', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      const serve = (version: number): string =>
        `mkdir /www; echo v${version} > /www/index.html; exec httpd -f -p 80 -h /www`;
      const images = [1, 2].map((version) => `${proxy.host}/served:${version}`);
      for (const [at, image] of images.entries()) {
        await loaded(image, serve(at + 1));
        await cluster.skep(['push', image]);
        await cluster.skep(['rmi', image]);
      }
      const port = 18510;
      // Of this no node can have two: the new task is prepared in the place of the old one.
      const alone = ['--mode', 'global', '--publish', `published=${port},target=80,mode=host`];
      const at = `node.hostname==${cluster.workers[0]!.name}`;
      const order = ['--update-order', 'stop-first'];
      const flags = ['--name', 'served', ...alone, ...order, '--constraint', at, '-d'];
      await cluster.skep(['service', 'create', ...flags, images[0]!]);
      const [old] = await cluster.running('served', 1);

      let release = (): void => {};
      const until = new Promise<void>((resolve) => {
        release = resolve;
      });
      proxy.fault = ({ method, url }) =>
        method === 'GET' && url.includes('/blobs/') ? { kind: 'hold', until } : null;
      const answer = async (): Promise<string> =>
        (await http(cluster.workers[0]!.address, port)).body.trim();
      try {
        const update = ['--image', images[1]!, '--update-monitor', '1s', '-d'];
        await cluster.skep(['service', 'update', ...update, 'served']);
        await eventually(
          'the new task waits for its image',
          async () => {
            const [fresh] = (await cluster.tasks('served')).filter(({ id }) => id !== old!.id);
            expect(fresh).toMatchObject({ desired: 'Ready', current: 'Preparing' });
          },
          { withinMs: 30_000 },
        );
        for (let asked = 0; asked < 20; asked++) expect(await answer()).toBe('v1');
        expect(await serving('served')).toEqual([old!.id]);
      } finally {
        release();
        proxy.fault = () => null;
      }
      const releasedAtMs = Date.now();
      await eventually('the new one serves', async () => expect(await answer()).toBe('v2'), {
        withinMs: 30_000,
      });
      const { Status } = await cluster.inspectTask(old!);
      expect(Status.State).toBe('shutdown');
      expect(Date.parse(Status.Timestamp)).toBeGreaterThan(releasedAtMs);
      await cluster.skep(['service', 'rm', '-d', 'served']);
    });
  },
);

describe.skipIf(!clusterTestsCanRun || !hasDockerRegistry || !hasSkopeo)(
  'images that nobody needs (needs root, docker-registry, skopeo)',
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    let registry: TestRegistry;
    let proxy: FaultProxy;

    const shared = useCluster(
      'unneeded',
      // The disk is always too full: what was not used for a second goes when something comes.
      { managers: 1, workers: 1, insecureRegistries: [SUBNETS], imageGc: '1:0:1s' },
      async (cluster) => {
        registry = await startRegistry({ dir: join(dir, 'registry') });
        proxy = new FaultProxy(registry.host);
        await proxy.start(cluster.hosts[0]!.address.replace(/\.\d+$/, '.1'));
      },
    );

    afterAll(async () => {
      await proxy?.stop();
      await registry?.stop();
      rmSync(dir, { recursive: true, force: true });
    });

    test('go when the disk is full; those of current and rollback specs stay, and those that no registry has', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      const host = cluster.workers[0]!.name;
      const outTar = join(dir, 'image.tar');
      const ids = new Map<string, string>();
      for (const name of ['app:1', 'app:2', 'app:3', 'other:1']) {
        const cmd = ['sh', '-c', 'while :; do sleep 1; done'];
        const { id } = buildBusyboxImage({ name, outTar, cmd, files: { name } });
        ids.set(id, name);
        push(registry, outTar, name);
      }
      ids.set(
        buildBusyboxImage({ name: 'loaded:1', outTar, files: { by: 'hand' } }).id,
        'loaded:1',
      );
      await cluster.skep(['load', '-i', outTar], { host });
      await cluster.skep(['swarm', 'update', '--task-history-limit', '0']);
      const names = async (): Promise<string[]> => {
        const listed = await cluster.skep(['image', 'ls', '-q', '--no-trunc'], { host });
        return [...new Set(listed.trim().split('\n'))].map((id) => ids.get(id) ?? id).sort();
      };
      /** Something comes to the worker until these images are left there. */
      const left = (...expected: readonly string[]): Promise<void> =>
        eventually(
          `there are ${expected}`,
          async () => {
            await cluster.skep(['pull', `${proxy.host}/other:1`], { host });
            expect(await names()).toEqual(expected);
          },
          { withinMs: 30_000, everyMs: 500 },
        );

      const quick = [
        '--stop-grace-period',
        '1s',
        '--update-monitor',
        '1s',
        '--rollback-monitor',
        '1s',
      ];
      const at = ['--constraint', `node.hostname==${host}`];
      const create = ['--name', 'app', ...quick, ...at, '--detach=false', `${proxy.host}/app:1`];
      await cluster.skep(['service', 'create', ...create]);
      for (const version of [2, 3]) {
        const image = `${proxy.host}/app:${version}`;
        await cluster.skep(['service', 'update', '--detach=false', '--image', image, 'app']);
      }
      await left('app:2', 'app:3', 'loaded:1', 'other:1');

      proxy.fault = () => ({ kind: 'answer', status: 503 });
      await cluster.skep(['service', 'rollback', '--detach=false', 'app']);
      await cluster.running('app', 1);
      proxy.fault = () => null;
      await cluster.skep(['service', 'rm', '-d', 'app']);
      await left('loaded:1', 'other:1');
    });
  },
);

describe.skipIf(!clusterTestsCanRun)('registries that are not trusted (needs root)', () => {
  const dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  const servers: Server[] = [];
  let bridge: string;

  const shared = useCluster('untrusted', { managers: 1, workers: 0 }, async (cluster) => {
    bridge = cluster.hosts[0]!.address.replace(/\.\d+$/, '.1');
  });

  afterAll(async () => {
    for (const server of servers) await new Promise((resolve) => server.close(resolve));
    rmSync(dir, { recursive: true, force: true });
  });

  async function listening(server: Server): Promise<string> {
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, bridge, resolve));
    return `${bridge}:${(server.address() as { port: number }).port}`;
  }

  async function errorOf(image: string): Promise<string> {
    const cluster = shared.current;
    const flags = [
      '--name',
      'untrusted',
      '--restart-condition',
      'none',
      '--no-resolve-image',
      '-d',
    ];
    await cluster.skep(['service', 'create', ...flags, image]);
    const error = await eventually(
      'the task tells of it',
      async () => {
        const [task] = await cluster.tasks('untrusted');
        expect(task?.error ?? '').not.toBe('');
        return task!.error;
      },
      { withinMs: 30_000 },
    );
    await cluster.skep(['service', 'rm', '-d', 'untrusted']);
    return error;
  }

  test('a task names the authority of a certificate that it does not know', async () => {
    const { certificate, key } = makeCertificates(dir);
    const tls = { cert: readFileSync(certificate), key: readFileSync(key) };
    const host = await listening(createTlsServer(tls));
    expect(await errorOf(`${host}/app:1`)).toContain(
      `pull app:1 from ${host}: tls: certificate signed by unknown authority "Test CA"`,
    );
  });

  test('that a registry speaks plain HTTP is told of a task, and to who pulls, pushes or logs in', async () => {
    const words = 'http: server gave HTTP response to HTTPS client';
    const host = await listening(createServer((_, response) => response.end('{}')));
    const name = `${host}/app:1`;
    expect(await errorOf(name)).toContain(words);
    const cluster = shared.current;
    await cluster.image({ name, empty: true, files: { a: '1' } });
    const login = ['login', '-u', 'alice', '--password-stdin', host];
    for (const args of [['pull', name], ['push', name], login]) {
      const { code, stderr } = await cluster.try(args, { input: 'secret\n' });
      expect(code, stderr).toBe(1);
      expect(stderr).toMatch(/: (Get|Head) "https:/);
      expect(stderr).toContain(words);
    }
  });
});
