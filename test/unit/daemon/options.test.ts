import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readConfigFile } from '../../../daemon/config-file.ts';
import { type DaemonOptions, DEFAULT_SOCKET, parseInvocation } from '../../../daemon/options.ts';

let dir: string;
let file: string;
beforeEach(async () => {
  env = {};
  dir = await mkdtemp(join(tmpdir(), 'skep-options-'));
  file = join(dir, 'skep.yml');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

let env: Record<string, string> = {};
const invoked = (...flags: string[]) => parseInvocation(['node', 'skepd', ...flags], '0', env);
const parse = async (...flags: string[]): Promise<DaemonOptions> => {
  const invocation = await invoked(...flags);
  if (invocation.kind !== 'serve') throw new Error(`invoked for ${invocation.kind}`);
  return invocation.options;
};
const withFile = async (text: string, ...flags: string[]) => {
  await writeFile(file, text);
  return parse('--config', file, ...flags);
};

describe('daemon options', () => {
  test('have defaults', async () => {
    expect(await parse()).toMatchObject({
      dataDir: '/var/lib/skep',
      hosts: [{ kind: 'unix', path: DEFAULT_SOCKET }],
      group: '',
      socketMode: 0o660,
      listenAddress: '',
      advertiseAddress: '',
      hostname: hostname(),
      cgroupParent: 'skep',
      logLevel: 'info',
      registries: {
        insecureRegistries: [],
        certificateDirs: ['/etc/docker/certs.d', '/etc/skep/certs.d'],
        mirrors: [],
        proxy: { http: null, https: null, except: [] },
      },
      imageWatermarks: { high: 0.85, low: 0.8, minAgeMs: 120_000 },
      labels: {},
      genericResources: [],
    });
  });

  test('say what no container may have', async () => {
    const flags = ['--forbid', 'privileged', '--forbid', 'host-pid'];
    expect([...(await parse(...flags)).forbidden]).toEqual(['privileged', 'host-pid']);
    expect([...(await withFile('forbid: [devices]')).forbidden]).toEqual(['devices']);
    await expect(parse('--forbid', 'all')).rejects.toThrow(/^--forbid all: expected one of priv/);
  });

  test('say how full the disk may be', async () => {
    const told = async (text: string) => (await parse('--image-gc', text)).imageWatermarks;
    expect(await told('90:60')).toEqual({ high: 0.9, low: 0.6, minAgeMs: 120_000 });
    expect(await told('100:0:90s')).toEqual({ high: 1, low: 0, minAgeMs: 90_000 });
    expect((await withFile('image-gc: off')).imageWatermarks).toBeNull();
  });

  test('are told by flags; lists by repeating them', async () => {
    const options = await parse(
      ...['--host', 'unix:///a.sock', '--host', 'unix:///b.sock', '--label', 'zone=a=b'],
      ...['--label', 'empty=', '--log-level', 'debug', '--data-dir', '/srv'],
      ...['--node-generic-resource', 'ssd=3', '--node-generic-resource', 'gpu=a,gpu=b'],
    );
    expect(options).toMatchObject({
      hosts: [
        { kind: 'unix', path: '/a.sock' },
        { kind: 'unix', path: '/b.sock' },
      ],
      labels: { zone: 'a=b', empty: '' },
      genericResources: [
        { kind: 'ssd', value: 3 },
        { kind: 'gpu', value: 'a' },
        { kind: 'gpu', value: 'b' },
      ],
      logLevel: 'debug',
      dataDir: '/srv',
    });
  });

  test('of the API are those of dockerd, in a file too', async () => {
    const flags = ['-H', 'tcp://10.0.0.1', '--tlsverify', '--tlscert', '/c', '--tlskey', '/k'];
    const { hosts, group, socketMode } = await parse(...flags, '-G', 'ops', '--socket-mode', '600');
    const tls = { kind: 'tls', certPath: '/c', keyPath: '/k', clientCaPath: '/etc/skep/ca.pem' };
    expect(hosts).toEqual([{ kind: 'tcp', host: '10.0.0.1', port: 2376, security: tls }]);
    expect([group, socketMode]).toEqual(['ops', 0o600]);
    const text = 'host: tcp://10.0.0.1:99\ntlsverify: false\nsocket-mode: 0640';
    expect(await withFile(text)).toMatchObject({
      hosts: [{ kind: 'tcp', port: 99, security: { kind: 'plain' } }],
      socketMode: 0o640,
    });
  });

  test('are told by a file, over which flags win', async () => {
    const text = [
      'data-dir: /from/file',
      'host: unix:///file.sock',
      'hostname: vega',
      'insecure-registry: [a:5000, b:5000]',
      'label:',
      '  - zone=a',
      'log-level: warn',
    ].join('\n');
    expect(await withFile(text, '--hostname', 'deneb')).toMatchObject({
      dataDir: '/from/file',
      hosts: [{ kind: 'unix', path: '/file.sock' }],
      hostname: 'deneb',
      registries: { insecureRegistries: ['a:5000', 'b:5000'] },
      labels: { zone: 'a' },
      logLevel: 'warn',
    });
  });

  test('take proxies from flags, else from the environment', async () => {
    env = { HTTPS_PROXY: 'http://env:1', http_proxy: 'http://env:2', NO_PROXY: 'a,.b.example' };
    expect((await parse('--https-proxy', 'http://flag:3')).registries.proxy).toEqual({
      http: 'http://env:2',
      https: 'http://flag:3',
      except: ['a', '.b.example'],
    });
    const { proxy } = (await withFile('no-proxy: c\nhttp-proxy: ""', '--https-proxy', ''))
      .registries;
    expect(proxy).toEqual({ http: null, https: null, except: ['c'] });
  });

  test.each([
    [['--socket-mode', '0666'], 'invalid-argument', '--socket-mode 0666: expected permissions as'],
    [['--socket-mode', '66'], 'invalid-argument', '--socket-mode 66: expected permissions as'],
    [['--label', 'x'], 'invalid-argument', '--label x: expected KEY=VALUE'],
    [['--image-gc', '80:85'], 'invalid-argument', 'expected HIGH:LOW in %'],
    [['--image-gc', '101:5'], 'invalid-argument', 'expected HIGH:LOW in %'],
    [['--image-gc', 'no'], 'invalid-argument', 'expected HIGH:LOW in %'],
    [['--label', '=x'], 'invalid-argument', '--label =x: expected KEY=VALUE'],
  ])('%j are refused', async (flags, code, message) => {
    await expect(parse(...flags)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });
});

describe('the configuration file', () => {
  test('may be empty', async () => {
    await writeFile(file, '# nothing\n');
    expect(await readConfigFile(file)).toEqual({});
  });

  test.each([
    ['hostname: a\ndata-dri: /x', '2:1', "unknown setting 'data-dri'"],
    ['hostname: a\n\n  log-level: b', '[13]:', ''],
    ['log-level: loud', '1:1', 'log-level must be one of'],
    ['hostname: [a]', '1:1', 'hostname must be a single value'],
    ['label:\n  a: b', '1:1', 'label must be a list'],
    ['- a', '1:1', 'expected a map of settings'],
    ['hostname: "a', '1:', ''],
    ['hostname:\nlabel: [a=b]', '1:1', 'hostname must be a single value'],
    ['cgroup-parent: ../x', '1:1', 'cgroup-parent must be'],
    ['host: [[a]]', '1:1', 'host must be a list of single values'],
    ['tls: maybe', '1:1', 'tls must be true or false'],
  ])('%j is refused at %s: %s', async (text, place, message) => {
    await writeFile(file, text);
    await expect(readConfigFile(file)).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringMatching(new RegExp(`^${file}:${place}.*: .*${message}`)),
    });
  });

  test('that is not there is named', async () => {
    await expect(readConfigFile(file)).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining(file),
    });
  });
});

describe('raft inspect', () => {
  test('is another job of the same program', async () => {
    expect(await invoked('raft', 'inspect', '/srv/raft')).toEqual({
      kind: 'inspect-raft',
      request: { dir: '/srv/raft', unlockKey: null },
    });
    expect(await invoked('raft', 'inspect', '--unlock-key', '-', '/srv')).toEqual({
      kind: 'inspect-raft',
      request: { dir: '/srv', unlockKey: '-' },
    });
  });
});
