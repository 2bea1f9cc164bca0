// The course's chapters of images and registries, on two hosts: what is typed there, and what is to be seen. The registry is
// Debian's docker-registry with a file of htpasswd, which also wrote that file.
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { isWhiteout } from '../../native/ffi/fs.ts';
import { clusterTestsCanRun, eventually, tableRows } from '../support/cluster.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';
import {
  hasDockerRegistry,
  hasSkopeo,
  startRegistry,
  type TestRegistry,
} from '../support/image-registry.ts';
import { programPath } from '../support/programs.ts';
import { useCluster } from '../support/use-cluster.ts';

/** All development clusters' bridges lie in it. */
const SUBNETS = '172.30.0.0/16';
const BUSYBOX = 'busybox:latest';
const OLDBOY = 'oldboy:123456';
const LOOP = ['sh', '-c', 'while :; do sleep 1; done'];
const hasHtpasswd = programPath('htpasswd') !== null;

const title = 'images as the course has them (needs root)';

describe.skipIf(!clusterTestsCanRun)(title, { timeout: 120_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'skep-test-'));

  const shared = useCluster(
    'course',
    { managers: 1, workers: 1, insecureRegistries: [SUBNETS] },
    (cluster) => cluster.image({ name: BUSYBOX, cmd: ['sh'] }),
  );

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const skep = (...args: readonly string[]): Promise<string> => shared.current.skep(args);
  const quiet = ['--network', 'none'];
  const dataOf = (host: { readonly name: string }): string =>
    `/var/lib/skep-dev/${shared.current.name}/${host.name}/data`;

  test('lists have the columns, and tell names, digests and what has no name', async () => {
    await shared.current.image({ name: 'plain:1', empty: true, files: { a: '1' } });
    const old = (await skep('image', 'ls', '-q', 'plain:1')).trim();
    await shared.current.image({ name: 'plain:1', empty: true, files: { a: '2' } });
    const [titles, ...rows] = tableRows(await skep('images'));
    expect(titles).toEqual(['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE']);
    expect(rows.map(([name, tag]) => `${name}:${tag}`).sort()).toEqual([
      '<none>:<none>',
      BUSYBOX,
      'plain:1',
    ]);
    expect(tableRows(await skep('images', '--digests'))[0]).toContain('DIGEST');
    expect(tableRows(await skep('image', 'ls', 'plain'))).toHaveLength(2);
    expect(await skep('images', '-qf', 'dangling=true')).toBe(`${old}\n`);
    expect(await skep('image', 'prune', '-f')).toContain('Total reclaimed space:');
    expect(await skep('images', '-aq', '-f', 'dangling=true')).toBe('');
    await skep('rmi', 'plain:1');
  });

  test('a tag is one more name of the same image, and an image in use stays', async () => {
    await skep('tag', BUSYBOX, 'box:mine');
    const ids = await skep('images', '-q', '--no-trunc');
    expect(new Set(ids.trim().split('\n')).size).toBe(1);
    const [image] = JSON.parse(await skep('image', 'inspect', 'box:mine'));
    expect(Object.keys(image.GraphDriver.Data).sort()).toEqual([
      'LowerDir',
      'MergedDir',
      'UpperDir',
      'WorkDir',
    ]);
    expect(existsSync(join(image.GraphDriver.Data.UpperDir, 'bin/busybox'))).toBe(true);
    expect(await skep('rmi', 'box:mine')).toBe('Untagged: box:mine\n');
    await skep('run', '-d', '--name', 'user', ...quiet, BUSYBOX, ...LOOP);
    const { code, stderr } = await shared.current.try(['rmi', BUSYBOX]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /conflict: unable to remove repository reference "busybox:latest" \(must force\) - container [0-9a-f]{12} is using its referenced image [0-9a-f]{12}/,
    );
    await skep('rm', '-f', 'user');
  });

  test('a container with one more file becomes an image', async () => {
    const write = ['sh', '-c', "printf 'I love Docker. ' > /hello.txt"];
    await skep('run', '--name', 'writer', ...quiet, BUSYBOX, ...write);
    const say = ['-c', 'CMD ["cat", "/hello.txt"]'];
    await skep(
      'commit',
      '-a',
      'oldboy',
      '-m',
      'with a greeting',
      ...say,
      'writer',
      'busybox:hello',
    );
    expect(await skep('run', '--rm', ...quiet, 'busybox:hello')).toBe('I love Docker. ');
    const [made] = JSON.parse(await skep('image', 'inspect', 'busybox:hello'));
    const [base] = JSON.parse(await skep('image', 'inspect', BUSYBOX));
    expect(made).toMatchObject({ Author: 'oldboy', Comment: 'with a greeting' });
    // The new layer holds the increment alone.
    expect(made.RootFS.Layers.slice(0, -1)).toEqual(base.RootFS.Layers);
    expect(readdirSync(made.GraphDriver.Data.UpperDir)).toEqual(['hello.txt']);
    expect(await skep('history', 'busybox:hello')).toContain('with a greeting');
    await skep('rm', 'writer');
  });

  test('an image goes to another host in a file, compressed or not', async () => {
    const other = { host: shared.current.workers[0]!.name };
    const id = (await skep('images', '-q', '--no-trunc', 'busybox:hello')).trim();
    const file = join(dir, 'hello.tar');
    await skep('save', '-o', file, 'busybox:hello');
    execFileSync('gzip', ['-k', file]);
    for (const path of [file, `${file}.gz`]) {
      expect(await shared.current.skep(['load', '-i', path], other)).toBe(
        'Loaded image: busybox:hello\n',
      );
      const there = await shared.current.skep(
        ['images', '-q', '--no-trunc', 'busybox:hello'],
        other,
      );
      expect(there.trim()).toBe(id);
      await shared.current.skep(['rmi', 'busybox:hello'], other);
    }
    await skep('rmi', 'busybox:hello');
  });

  test('ten containers have one copy of their image; what they change lies in their own', async () => {
    const host = shared.current.hosts[0]!;
    const layers = join(dataOf(host), 'images/l');
    await shared.current.image({
      name: 'layered:1',
      layers: [
        { files: { 'd/one': 'Hello, Image layer1!', 'd/gone': 'layer1', 'old/x': 'layer1' } },
        { files: { 'd/two': 'Hello, Image layer2!' } },
      ],
    });
    const [{ GraphDriver }] = JSON.parse(await skep('image', 'inspect', 'layered:1'));
    const { UpperDir, LowerDir } = GraphDriver.Data;
    expect(readFileSync(join(UpperDir, 'd/two'), 'utf8')).toBe('Hello, Image layer2!');
    const below = LowerDir.split(':')[0];
    const before = readdirSync(layers).sort();
    const change = 'echo changed >> /d/one; rm /d/gone; rm -r /old; mkdir /old; echo 3 > /d/three';
    const names = Array.from({ length: 10 }, (_, i) => `copy${i}`);
    const ids = new Map<string, string>();
    for (const name of names) {
      const all = ['-d', '--name', name, ...quiet, 'layered:1', 'sh', '-c'];
      ids.set(name, (await skep('run', ...all, `${change}; while :; do sleep 1; done`)).trim());
    }
    expect(readdirSync(layers).sort()).toEqual(before);
    const look = ['sh', '-c', 'cat /d/one /d/two; ls /d; ls /old'];
    await eventually(
      'the last one has changed its files',
      async () => {
        expect(await skep('exec', 'copy9', ...look)).toBe(
          'Hello, Image layer1!changed\nHello, Image layer2!one\nthree\ntwo\n',
        );
      },
      { withinMs: 30_000 },
    );
    // Read from below; a change copies up; a removal leaves a whiteout; a directory made anew is opaque.
    expect(readFileSync(join(below, 'd/one'), 'utf8')).toBe('Hello, Image layer1!');
    expect(existsSync(join(below, 'd/gone'))).toBe(true);
    const upper = join(dataOf(host), 'tasks', ids.get('copy9')!, 'upper');
    expect(readFileSync(join(upper, 'd/one'), 'utf8')).toBe('Hello, Image layer1!changed\n');
    expect(existsSync(join(upper, 'd/two'))).toBe(false);
    expect(isWhiteout(lstatSync(join(upper, 'd/gone')))).toBe(true);
    await skep('rm', '-f', ...names);
    await skep('rmi', 'layered:1');
  });

  test('an image for other machines is placed nowhere, and its task says why', async () => {
    const client = new EngineClient(`unix://${shared.current.hosts[0]!.socket}`);
    try {
      await client.serviceCreate({
        Name: 'foreign',
        TaskTemplate: {
          ContainerSpec: { Image: BUSYBOX },
          Placement: { Platforms: [{ OS: 'linux', Architecture: 's390x' }] },
        },
      });
      await eventually(
        'the task waits',
        async () => {
          const [task] = await shared.current.tasks('foreign');
          expect(task).toMatchObject({ current: 'Pending', node: '' });
          expect(task!.error).toContain('no suitable node (unsupported platform on 2 nodes)');
        },
        { withinMs: 20_000 },
      );
      await skep('service', 'rm', 'foreign');
    } finally {
      client.close();
    }
  });

  describe.skipIf(!hasDockerRegistry || !hasSkopeo || !hasHtpasswd)(
    'a registry of one’s own (needs docker-registry, skopeo, htpasswd)',
    () => {
      const place = join(dir, 'registry');
      let registry: TestRegistry;
      let door: FaultProxy;

      async function open(): Promise<void> {
        const [user = '', password = ''] = OLDBOY.split(':');
        const basicAuth = execFileSync('htpasswd', ['-Bbn', user, password]).toString();
        registry = await startRegistry({ dir: place, basicAuth, realm: 'Registry Realm' });
        door = new FaultProxy(registry.host);
        await door.start(shared.current.hosts[0]!.address.replace(/\.\d+$/, '.1'));
      }

      async function close(): Promise<void> {
        await door?.stop();
        await registry?.stop();
      }

      afterAll(close);

      const told = async (path: string, method = 'GET'): Promise<Response> =>
        fetch(`http://${registry.host}/v2/${path}`, {
          method,
          headers: {
            Authorization: `Basic ${Buffer.from(OLDBOY).toString('base64')}`,
            Accept: 'application/vnd.oci.image.manifest.v1+json',
          },
        });

      test('login, push, rmi, pull; without the password a task says unauthorized; after the login every host runs it', {
        timeout: 120_000,
      }, async () => {
        await open();
        const cluster = shared.current;
        const env = { DOCKER_CONFIG: join(dir, 'docker') };
        const name = `${door.host}/oldboy/busybox:1`;
        const outTar = join(dir, 'own.tar');
        buildBusyboxImage({ name, outTar, files: { own: 'image' } });
        await skep('load', '-i', outTar);
        const challenge = (await fetch(`http://${registry.host}/v2/`)).headers;
        expect(challenge.get('www-authenticate')).toBe('Basic realm="Registry Realm"');
        const nobody = await cluster.try(['push', name], { env });
        expect(nobody.stderr).toContain('unauthorized: authentication required');
        const create = (service: string): string[] => ['--name', service, '--mode', 'global', '-d'];
        const refused = ['--restart-condition', 'none', '--no-resolve-image'];
        const absent = `${door.host}/oldboy/absent:1`;
        await skep('service', 'create', ...create('refused'), ...refused, absent);
        await eventually(
          'both tasks tell what the registry says',
          async () => {
            const errors = (await cluster.tasks('refused')).map(({ error }) => error);
            const words = `pull oldboy/absent:1 from ${door.host}: unauthorized: authentication required`;
            expect(errors).toEqual([
              expect.stringContaining(words),
              expect.stringContaining(words),
            ]);
            expect(errors.join()).not.toContain('No such image');
          },
          { withinMs: 30_000 },
        );
        await skep('service', 'rm', '-d', 'refused');
        const login = ['login', '-u', 'oldboy', '--password-stdin', door.host];
        expect(await cluster.skep(login, { env, input: '123456' })).toBe('Login Succeeded\n');
        expect(await cluster.skep(['push', name], { env })).toMatch(/: Pushed[\s\S]*1: digest: /);
        expect(await cluster.skep(['push', name], { env })).toContain(': Layer already exists');
        const copy = `${door.host}/oldboy/copy:1`;
        await skep('tag', name, copy);
        expect(await cluster.skep(['push', copy], { env })).toContain(
          ': Mounted from oldboy/busybox',
        );
        expect(await (await told('_catalog')).json()).toEqual({
          repositories: ['oldboy/busybox', 'oldboy/copy'],
        });
        expect(await (await told('oldboy/busybox/tags/list')).json()).toEqual({
          name: 'oldboy/busybox',
          tags: ['1'],
        });
        await skep('rmi', copy);
        expect(await skep('rmi', name)).toContain(`Untagged: ${name}\n`);
        expect(await cluster.skep(['pull', name], { env })).toContain(
          `Status: Downloaded newer image for ${name}`,
        );
        const auth = ['--with-registry-auth', ...create('everywhere'), name, ...LOOP];
        await cluster.skep(['service', 'create', ...auth], { env });
        await cluster.running('everywhere', 2);
        await skep('service', 'rm', '-d', 'everywhere');
        await skep('rmi', '-f', name);
      });

      test('what was pushed is there after a restart, and gone after a deletion and a collection', {
        timeout: 120_000,
      }, async () => {
        await close();
        await open();
        const cluster = shared.current;
        const env = { DOCKER_CONFIG: join(dir, 'docker') };
        const name = `${door.host}/oldboy/copy:1`;
        const login = ['login', '-u', 'oldboy', '--password-stdin', door.host];
        await cluster.skep(login, { env, input: '123456' });
        await cluster.skep(['pull', name], { env });
        await skep('rmi', '-f', name); // tasks of before may be going yet
        const bytesOf = (): number =>
          Number(execFileSync('du', ['-sb', place]).toString().split('\t')[0]);
        for (const repository of ['oldboy/copy', 'oldboy/busybox']) {
          const { headers } = await told(`${repository}/manifests/1`, 'HEAD');
          const digest = headers.get('docker-content-digest');
          expect((await told(`${repository}/manifests/${digest}`, 'DELETE')).status).toBe(202);
        }
        const before = bytesOf();
        registry.collectGarbage();
        expect(before - bytesOf()).toBeGreaterThan(500_000);
        const { stderr } = await cluster.try(['pull', name], { env });
        expect(stderr).toContain('manifest unknown: manifest unknown');
      });
    },
  );
});
