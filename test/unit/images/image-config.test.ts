import { describe, expect, test } from 'vitest';
import {
  choosePlatform,
  hostArchitecture,
  parseImageDocument,
  parseManifest,
} from '../../../worker/images/image-config.ts';
import { chainIds } from '../../../worker/images/layer-store.ts';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

describe('image documents', () => {
  test('a config is read with everything it says about running', () => {
    const document = parseImageDocument(
      json({
        created: '2026-01-02T03:04:05.5Z',
        architecture: 'arm64',
        variant: 'v8',
        os: 'linux',
        author: 'me',
        config: {
          Entrypoint: ['/entry'],
          Cmd: ['a', 'b'],
          Env: ['A=1'],
          User: '1000:50',
          WorkingDir: '/srv',
          ExposedPorts: { '80/tcp': {}, '53/udp': {} },
          Volumes: { '/data': {} },
          StopSignal: 'SIGQUIT',
          Labels: { a: 'b' },
          OnBuild: ['RUN make'],
          Shell: ['/bin/ash', '-ec'],
          ArgsEscaped: true,
          Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 5e9, Timeout: 1e9, Retries: 2 },
        },
        rootfs: { type: 'layers', diff_ids: [digest('1')] },
        history: [{ created_by: 'ADD x', empty_layer: true }],
      }),
    );
    expect(document).toEqual({
      architecture: 'arm64',
      variant: 'v8',
      os: 'linux',
      author: 'me',
      createdAtMs: Date.parse('2026-01-02T03:04:05.500Z'),
      config: {
        entrypoint: ['/entry'],
        cmd: ['a', 'b'],
        env: ['A=1'],
        user: '1000:50',
        workingDir: '/srv',
        exposedPorts: ['80/tcp', '53/udp'],
        volumes: ['/data'],
        stopSignal: 'SIGQUIT',
        labels: { a: 'b' },
        onBuild: ['RUN make'],
        shell: ['/bin/ash', '-ec'],
        argsEscaped: true,
        healthcheck: {
          test: ['CMD-SHELL', 'true'],
          intervalMs: 5000,
          timeoutMs: 1000,
          startPeriodMs: null,
          startIntervalMs: null,
          retries: 2,
        },
      },
      diffIds: [digest('1')],
      history: [{ createdAtMs: 0, createdBy: 'ADD x', comment: '', emptyLayer: true }],
    });
  });

  test('a config that says nothing has nothing but defaults', () => {
    const { config, createdAtMs, os } = parseImageDocument(json({ config: null }));
    expect({ createdAtMs, os }).toEqual({ createdAtMs: 0, os: 'linux' });
    expect(config).toEqual({
      entrypoint: null,
      cmd: null,
      env: [],
      user: '',
      workingDir: '',
      exposedPorts: [],
      volumes: [],
      stopSignal: null,
      labels: {},
      healthcheck: null,
      onBuild: [],
      shell: [],
      argsEscaped: false,
    });
  });

  test.each([
    ['not JSON', () => parseImageDocument(Buffer.from('<html>')), 'not JSON'],
    [
      'a diff id of another kind',
      () => parseImageDocument(json({ rootfs: { diff_ids: ['md5:1'] } })),
      'no sha256',
    ],
    ['schema 1', () => parseManifest(json({ schemaVersion: 1 })), 'schema 1 is not supported'],
    ['neither kind', () => parseManifest(json({ schemaVersion: 2 })), 'neither a manifest nor'],
    [
      'a layer without size',
      () =>
        parseManifest(
          json({ config: { digest: digest('1'), size: 1 }, layers: [{ digest: digest('2') }] }),
        ),
      'no valid size',
    ],
    [
      'a digest that is a path',
      () => parseManifest(json({ config: { digest: 'sha256:../../x', size: 1 }, layers: [] })),
      'is no sha256',
    ],
  ])('refuses %s', (_, parse, words) => {
    expect(parse).toThrow(words);
  });

  const descriptor = (architecture: string, variant = '', os = 'linux') => ({
    mediaType: '',
    digest: digest('3'),
    sizeBytes: 1,
    platform: { architecture, os, variant },
    annotations: {},
  });

  test('chooses linux on the own processor, arm64 by its common variant', () => {
    const windows = descriptor('amd64', '', 'windows');
    const unknown = descriptor('unknown', '', 'unknown');
    const [amd64, odd, arm64] = [
      descriptor('amd64'),
      descriptor('arm64', 'v9'),
      descriptor('arm64', 'v8'),
    ];
    const all = [windows, unknown, odd, arm64, amd64];
    expect(choosePlatform(all, 'amd64')).toBe(amd64);
    expect(choosePlatform(all, 'arm64')).toBe(arm64);
    expect(() => choosePlatform(all, 'riscv64')).toThrow(
      'no matching manifest for linux/riscv64 in the manifest list entries (windows/amd64',
    );
  });

  test.each([
    ['x64', 'amd64'],
    ['arm64', 'arm64'],
    ['ia32', '386'],
    ['s390x', 's390x'],
  ])('node calls it %s, images %s', (node, image) => {
    expect(hostArchitecture(node)).toBe(image);
  });

  test('chain ids follow the OCI specification', () => {
    // sha256("sha256:1111... sha256:2222...")
    const [first, second] = chainIds([digest('1'), digest('2')]);
    expect(first).toBe(digest('1'));
    expect(second).toBe('sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5');
    expect(chainIds([])).toEqual([]);
  });
});
