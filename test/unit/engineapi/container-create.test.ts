import { describe, expect, test } from 'vitest';
import type { Mount } from '../../../common/model/service.ts';
import { sharedMounts } from '../../../daemon/engineapi/container-lifecycle.ts';
import { definitionFromJson } from '../../../daemon/engineapi/json/container-create.ts';
import { checkCpuUpdate, limitsFromJson } from '../../../daemon/engineapi/json/host-config.ts';
import { JsonReader } from '../../../daemon/engineapi/json/reader.ts';
import type { ContainerDefinition } from '../../../worker/containers/definition.ts';
import { aContainerSpec, aTaskSpec } from '../../support/builders.ts';
import { aContainerInfo } from '../../support/container-info.ts';

const volumeAt = (source: string, target: string): Mount => ({
  ...{ type: 'volume', source, target, readOnly: false, bind: null, volume: null, tmpfs: null },
});

function definition(
  host: object = {},
  config: object = {},
  exposedByImage: readonly string[] = [],
): ContainerDefinition {
  return definitionFromJson(
    { Image: 'busybox', ...config, HostConfig: host },
    {
      exposedByImage,
      containerId: (reference) => `id of ${reference}`,
      linkedId: (reference) => `linked ${reference}`,
      networkRef: (reference) => (reference === 'b1' ? 'bridge' : reference),
      logDriver: { name: 'json-file', options: { 'max-size': '2m', 'max-file': '5' } },
      mountsOf: (reference) => [volumeAt(`of-${reference}`, '/data'), volumeAt('logs', '/logs')],
    },
  );
}

/** What `docker run busybox` of 28.2 sends. */
const PLAIN = {
  Binds: null,
  ContainerIDFile: '',
  LogConfig: { Type: '', Config: {} },
  NetworkMode: 'default',
  PortBindings: {},
  RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
  AutoRemove: false,
  VolumeDriver: '',
  VolumesFrom: null,
  ConsoleSize: [24, 80],
  CapAdd: null,
  CgroupnsMode: '',
  Dns: [],
  IpcMode: '',
  Links: null,
  OomScoreAdj: 0,
  PidMode: '',
  SecurityOpt: null,
  UTSMode: '',
  UsernsMode: '',
  ShmSize: 0,
  Isolation: '',
  Memory: 0,
  CgroupParent: '',
  BlkioWeight: 0,
  BlkioWeightDevice: [],
  Devices: [],
  DeviceRequests: null,
  MemorySwap: 0,
  MemorySwappiness: -1,
  OomKillDisable: false,
  PidsLimit: 0,
  Ulimits: [],
  MaskedPaths: null,
  ReadonlyPaths: null,
};

describe('a container as docker run sends it', () => {
  test('that asks for nothing gets the defaults', () => {
    const plain = definition(PLAIN, { Cmd: ['sh'], Entrypoint: null });
    expect(plain).toMatchObject({
      container: { image: 'busybox', args: ['sh'], command: [], mounts: [], privileges: null },
      resources: { limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 }, memorySwappiness: null },
      network: { kind: 'bridge' },
      ports: [],
      restart: { name: 'no' },
      autoRemove: false,
    });
    expect(plain.shown.hostConfig).toMatchObject({ NetworkMode: 'default' });
    expect(plain.shown.config).not.toHaveProperty('HostConfig');
  });

  test('publishes ports of one address, ranges, and any', () => {
    const { ports } = definition({
      PortBindings: {
        '80/tcp': [
          { HostIp: '127.0.0.1', HostPort: '8080' },
          { HostIp: '', HostPort: '9000-9010' },
        ],
        '53/udp': [{ HostIp: '0.0.0.0', HostPort: '' }],
      },
    });
    const tcp = { protocol: 'tcp', targetPort: 80 };
    expect(ports).toEqual([
      { ...tcp, hostIp: '127.0.0.1', firstHostPort: 8080, lastHostPort: 8080 },
      { ...tcp, hostIp: '', firstHostPort: 9000, lastHostPort: 9010 },
      { protocol: 'udp', targetPort: 53, hostIp: '', firstHostPort: 0, lastHostPort: 0 },
    ]);
  });

  test('publishes all that is exposed, by itself and by its image, once', () => {
    const host = { PublishAllPorts: true, PortBindings: { '80/tcp': [{ HostPort: '1' }] } };
    const config = { ExposedPorts: { '80/tcp': {}, '81/tcp': {} } };
    const { ports } = definition(host, config, ['81/tcp', '53/udp']);
    expect(ports.map(({ targetPort, firstHostPort }) => [targetPort, firstHostPort])).toEqual([
      [80, 1],
      [81, 0],
      [53, 0],
    ]);
  });

  test('mounts what -v, --mount, --tmpfs and --shm-size say', () => {
    const { mounts } = definition(
      {
        Binds: ['/src:/a:ro,rslave', 'data:/b:nocopy', 'plain:/c'],
        Mounts: [{ Type: 'bind', Source: '/x', Target: '/d', ReadOnly: true }],
        Tmpfs: { '/e': 'size=64k,mode=700,ro,exec,uid=07', '/f': '' },
        ShmSize: 1024,
      },
      { Volumes: { '/g': {}, '/a': {} } },
    ).container;
    expect(mounts).toMatchObject([
      {
        type: 'bind',
        source: '/src',
        target: '/a',
        readOnly: true,
        bind: { propagation: 'rslave' },
      },
      { type: 'volume', source: 'data', target: '/b', volume: { noCopy: true } },
      { type: 'volume', source: 'plain', target: '/c', readOnly: false },
      { type: 'bind', source: '/x', target: '/d', readOnly: true },
      {
        type: 'tmpfs',
        target: '/e',
        readOnly: true,
        tmpfs: { sizeBytes: 65536, mode: 0o700, options: ['exec', 'uid=7'] },
      },
      { type: 'tmpfs', target: '/f', readOnly: false },
      { type: 'tmpfs', target: '/dev/shm', tmpfs: { sizeBytes: 1024 } },
      { type: 'volume', source: '', target: '/g' },
    ]);
  });

  test('has the volumes of other containers where it has none itself', () => {
    const host = { VolumesFrom: ['web:ro'], Binds: ['own:/logs'] };
    const { mounts } = definition(host, { Volumes: { '/data': {}, '/more': {} } }).container;
    expect(mounts).toMatchObject([
      { source: 'own', target: '/logs', readOnly: false },
      { source: 'of-web', target: '/data', readOnly: true },
      { source: '', target: '/more' },
    ]);
  });

  test('may swap as much again as it has memory, unless it says otherwise', () => {
    expect(definition({ Memory: 50_000_000 }).resources.swapBytes).toBe(50_000_000);
    expect(definition({ Memory: 50_000_000, MemorySwap: 50_000_000 }).resources.swapBytes).toBe(0);
    expect(definition({}).resources.swapBytes).toBeNull();
  });

  test.each<[object, object | null]>([
    [{ Type: 'local', Config: { 'max-size': '1m' } }, { 'max-size': '1m' }],
    [
      { Type: 'json-file', Config: { 'max-size': '1m' } },
      { 'max-size': '1m', 'max-file': '5' },
    ],
    // What `docker run --log-opt max-size=1m` sends.
    [
      { Type: '', Config: { 'max-size': '1m' } },
      { 'max-size': '1m', 'max-file': '5' },
    ],
    [
      { Type: 'json-file', Config: {} },
      { 'max-size': '2m', 'max-file': '5' },
    ],
    [{ Type: '', Config: {} }, null],
  ])('logs as it says, else as the node does: %j', (LogConfig, options) => {
    const name = (LogConfig as { readonly Type: string }).Type || 'json-file';
    expect(definition({ LogConfig }).logDriver).toEqual(options && { name, options });
  });

  test('is limited as Docker counts', () => {
    const { resources } = definition({
      Memory: 100_000_000,
      MemorySwap: 150_000_000,
      CpuQuota: 50_000,
      PidsLimit: -1,
    });
    expect(resources).toMatchObject({
      limits: { memoryBytes: 100_000_000, nanoCpus: 500_000_000, pids: 0 },
      swapBytes: 50_000_000,
    });
  });

  test.each([
    ['private', ['/dev/shm']],
    ['host', []],
    ['container:other', []],
  ])('has a /dev/shm of its size with the IPC namespace %s: %j', (IpcMode, targets) => {
    const { mounts } = definition({ IpcMode, ShmSize: 4096 }).container;
    expect(mounts.map(({ target }) => target)).toEqual(targets);
  });

  test('counts a later quota of CPU by the period that it was made with', () => {
    const { resources, cpuPeriodUs } = definition({ CpuPeriod: 50_000, CpuQuota: 25_000 });
    expect(resources.limits.nanoCpus).toBe(500_000_000);
    const nanoCpusAfter = (change: object): number =>
      limitsFromJson(new JsonReader(change), resources, cpuPeriodUs).limits.nanoCpus;
    expect(nanoCpusAfter({ CpuQuota: 40_000 })).toBe(800_000_000);
    expect(nanoCpusAfter({ CpuQuota: 40_000, CpuPeriod: 100_000 })).toBe(400_000_000);
    expect(nanoCpusAfter({ CpuQuota: -1 })).toBe(0);
    expect(nanoCpusAfter({})).toBe(500_000_000);
    expect(() => nanoCpusAfter({ CpuPeriod: 20_000 })).toThrow(
      expect.objectContaining({ code: 'unimplemented' }),
    );
  });

  test('keeps its total of memory and swap when only its memory is changed, and is refused more', () => {
    const swapAfter = (made: object, change: object): number | null =>
      limitsFromJson(new JsonReader(change), definition(made).resources).swapBytes;
    const made = { Memory: 50_000_000, MemorySwap: 80_000_000 };
    expect(swapAfter(made, { Memory: 60_000_000 })).toBe(20_000_000);
    expect(swapAfter(made, { Memory: 40_000_000 })).toBe(40_000_000);
    expect(swapAfter(made, { Memory: 80_000_000 })).toBe(0);
    expect(swapAfter(made, {})).toBe(30_000_000);
    expect(swapAfter(made, { Memory: 90_000_000, MemorySwap: 90_000_000 })).toBe(0);
    expect(swapAfter({ ...made, MemorySwap: -1 }, { Memory: 90_000_000 })).toBe(-1);
    expect(swapAfter({}, { Memory: 90_000_000 })).toBe(90_000_000);
    expect(() => swapAfter(made, { Memory: 80_000_001 })).toThrow(
      expect.objectContaining({
        code: 'conflict',
        message:
          'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time',
      }),
    );
  });

  test.each<[object, object, string]>([
    [{ NanoCpus: 1e9 }, { CpuQuota: 50_000 }, 'CPU Quota cannot be updated as NanoCPUs has'],
    [{ NanoCpus: 1e9 }, { CpuPeriod: 50_000 }, 'CPU Period cannot be updated as NanoCPUs has'],
    [{ CpuQuota: 50_000 }, { NanoCpus: 1e9 }, 'Nano CPUs cannot be updated as CPU Quota has'],
    [{ CpuPeriod: 50_000 }, { NanoCpus: 1e9 }, 'Nano CPUs cannot be updated as CPU Period has'],
  ])('with %j is not updated with %j', (inForce, update, words) => {
    const check = (it: object) => () => checkCpuUpdate(new JsonReader(it), new JsonReader(inForce));
    expect(check(update)).toThrow(expect.objectContaining({ code: 'conflict' }));
    expect(check(update)).toThrow(words);
    expect(check(inForce)).not.toThrow();
  });

  test.each<[object, string]>([
    [{ Memory: 1024 }, 'Minimum memory limit allowed is 6MB'],
    [{ MemoryReservation: 1024 }, 'Minimum memory reservation allowed is 6MB'],
    [{ Memory: -1 }, 'Minimum memory limit allowed is 6MB'],
    [{ Memory: -50_000_000, MemorySwap: -1 }, 'Minimum memory limit allowed is 6MB'],
    [{ MemoryReservation: -50_000_000 }, 'Minimum memory reservation allowed is 6MB'],
    [{ Tmpfs: { '/x': 'mode=0' } }, 'invalid tmpfs option "mode=0"'],
    [{ Memory: 10_000_000, MemorySwap: 5_000_000 }, 'Minimum memoryswap limit'],
    [{ MemorySwap: 5_000_000 }, 'You should always set the Memory limit'],
    [{ NanoCpus: 1, CpuQuota: 1 }, 'Conflicting options'],
    [{ NanoCpus: 1e9, CpuPeriod: 100_000 }, 'Nano CPUs and CPU Period cannot both'],
    [{ NanoCpus: 5_000_000 }, 'Range of CPUs is from 0.01'],
    [{ NanoCpus: -1 }, 'Range of CPUs is from 0.01'],
    [{ CpuPeriod: 1_000_000, CpuQuota: 1_000 }, 'Range of CPUs is from 0.01'],
    [{ CpuQuota: 999 }, 'CPU cfs quota can not be less than 1ms'],
    [{ CpuPeriod: 999 }, 'CPU cfs period can not be less than 1ms'],
    [{ CpuPeriod: 1_000_001 }, 'CPU cfs period can not be less than 1ms'],
    [{ AutoRemove: true, RestartPolicy: { Name: 'always' } }, "can't create 'AutoRemove'"],
    [{ RestartPolicy: { Name: 'always', MaximumRetryCount: 3 } }, 'maximum retry count'],
    [{ RestartPolicy: { Name: 'sometimes' } }, 'RestartPolicy.Name'],
    [{ Binds: ['/only'] }, 'invalid volume specification'],
    [{ VolumesFrom: ['a:fast'] }, "invalid volume specification: 'a:fast'"],
    [{ LogConfig: { Type: 'json-file', Config: { 'max-size': 'x' } } }, 'log opt max-size=x'],
    [{ LogConfig: { Type: '', Config: { colour: 'red' } } }, "'colour' for json-file log driver"],
    [{ Binds: ['/a:/b:odd'] }, "'odd' is not known"],
    [{ PortBindings: { '80/tcp': [{ HostPort: '70000' }] } }, 'Invalid port specification'],
    [{ PortBindings: { 'x/tcp': [{}] } }, 'invalid port specification'],
    [{ PortBindings: { '80/tcp': [{ HostIp: '1.2.3' }] } }, 'invalid IP address'],
  ])('%j can never be: %s', (host, words) => {
    const ask = (): unknown => definition(host);
    expect(ask).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    expect(ask).toThrow(words);
  });

  test.each<[object, string]>([
    [{ Hostname: 'h'.repeat(65) }, 'invalid hostname: it is longer than 64 bytes'],
    [{ ExposedPorts: { Hosts: {} } }, 'invalid port specification: "Hosts"'],
    [{ ExposedPorts: { '80/tcp': 5 } }, 'ExposedPorts.80/tcp'],
    [{ ExposedPorts: ['80/tcp'] }, 'ExposedPorts'],
  ])('of a container with %j can never be: %s', (config, words) => {
    const ask = (): unknown => definition({ NetworkMode: 'none' }, config);
    expect(ask).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    expect(ask).toThrow(words);
  });

  test('shows exposed ports as the set that they are', () => {
    const { shown } = definition(
      {},
      { Hostname: 'h'.repeat(64), ExposedPorts: { '80/tcp': { a: 1 } } },
    );
    expect(shown.config['ExposedPorts']).toEqual({ '80/tcp': {} });
  });

  test.each<[object, string]>([
    [{ DeviceRequests: [{ Options: { a: 'b' } }] }, 'HostConfig.DeviceRequests[0].Options'],
    [{ LogConfig: { Type: 'splunk' } }, 'log driver "splunk"'],
    [{ StorageOpt: { size: '20G' } }, 'HostConfig.StorageOpt'],
    [{ UsernsMode: 'keep-id' }, 'HostConfig.UsernsMode'],
    [{ MaskedPaths: [] }, 'HostConfig.MaskedPaths'],
    [{ SecurityOpt: ['systempaths=unconfined'] }, 'systempaths'],
    [{ PortBindings: { '80/sctp': [{}] } }, 'SCTP'],
    [{ PortBindings: { '80/tcp': [{ HostIp: '::1' }] } }, 'IPv6'],
  ])('%j is refused by name: %s', (host, words) => {
    const ask = (): unknown => definition(host);
    expect(ask).toThrow(expect.objectContaining({ code: 'unimplemented' }));
    expect(ask).toThrow(words);
  });

  test('has places in networks, that of its mode first', () => {
    const EndpointsConfig = {
      back: { Aliases: ['db'] },
      front: { IPAMConfig: { IPv4Address: '10.1.0.9' }, MacAddress: '02:42:0a:01:00:09' },
    };
    const config = { NetworkingConfig: { EndpointsConfig } };
    expect(definition({ NetworkMode: 'front' }, config).network).toEqual({
      kind: 'bridge',
      endpoints: [
        { network: 'front', aliases: [], address: '10.1.0.9', mac: '02:42:0a:01:00:09' },
        { network: 'back', aliases: ['db'], address: '', mac: '' },
      ],
    });
    const bridge = { network: 'bridge', aliases: [], address: '', mac: '02:42:0a:01:00:08' };
    expect(definition({ NetworkMode: 'b1' }, { MacAddress: bridge.mac }).network).toEqual({
      kind: 'bridge',
      endpoints: [bridge],
    });
    expect(() => definition({ NetworkMode: 'host' }, config)).toThrow(
      'conflicting options: network host and network back',
    );
  });

  test('has links in the network bridge, and names of its own in others', () => {
    const Links = ['/db:/web/x', 'cache'];
    expect(definition({ Links })).toMatchObject({
      network: { kind: 'bridge', endpoints: [{ network: 'bridge' }] },
      links: [
        { containerId: 'linked db', alias: 'x' },
        { containerId: 'linked cache', alias: 'cache' },
      ],
    });
    const config = { NetworkingConfig: { EndpointsConfig: { front: { Links: ['a:b'] } } } };
    const inFront = definition({ NetworkMode: 'front', Links }, config);
    expect(inFront.links).toBeUndefined();
    expect(inFront.network).toMatchObject({
      endpoints: [
        {
          network: 'front',
          links: [
            { target: 'a', alias: 'b' },
            { target: 'db', alias: 'x' },
            { target: 'cache', alias: 'cache' },
          ],
        },
      ],
    });
    for (const [host, words] of [
      [{ Links: ['a:b:c'] }, 'bad format for links: a:b:c'],
      [{ Links: [''] }, 'empty string specified for links'],
      [{ Links, NetworkMode: 'host' }, "host type networking can't be used with links"],
      [{ Links, NetworkMode: 'container:x' }, "container type network can't be used with links"],
    ] as const) {
      const ask = (): unknown => definition(host);
      expect(ask).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
      expect(ask).toThrow(words);
    }
  });

  test('has namespaces of other containers, or lets others have its own', () => {
    expect(definition({ PidMode: 'container:x', IpcMode: 'container:y' })).toMatchObject({
      joined: { pid: 'id of x', ipc: 'id of y' },
      container: { isolation: { pid: 'private', ipc: 'private' } },
    });
    expect(definition({ IpcMode: 'shareable' })).toMatchObject({ isIpcShareable: true });
    expect(definition({ IpcMode: 'private' })).not.toHaveProperty('isIpcShareable');
    expect(definition({})).not.toHaveProperty('joined');
    for (const host of [{ PidMode: 'odd' }, { UTSMode: 'container:x' }, { IpcMode: 'x' }]) {
      expect(() => definition(host)).toThrow(/^invalid (PidMode|UTSMode|IpcMode): /);
    }
  });

  test('in the network of another it has no words of its own about it', () => {
    const NetworkMode = 'container:x';
    const endpoint = (mode: string, words: object) => ({
      NetworkingConfig: { EndpointsConfig: { [mode]: words } },
    });
    const port = { '80/tcp': [{ HostPort: '80' }] };
    for (const [host, config, words] of [
      [{}, { Hostname: 'box' }, 'hostname and the network mode'],
      [{ Dns: ['192.0.2.1'] }, {}, 'dns and the network mode'],
      [{ ExtraHosts: ['a:192.0.2.1'] }, {}, 'custom host-to-IP mapping and the network mode'],
      [{ PortBindings: port }, { ExposedPorts: { '80/tcp': {} } }, 'port publishing and the'],
      [{}, { ExposedPorts: { '80/tcp': {} } }, 'port exposing and the container type network mode'],
      [{}, endpoint(NetworkMode, { MacAddress: '02:42:ac:11:00:09' }), 'a MAC address'],
      [
        { NetworkMode: 'host' },
        endpoint('host', { IPAMConfig: { IPv4Address: '192.0.2.9' } }),
        'IP address is supported on user defined networks only',
      ],
    ] as const) {
      const ask = (): unknown => definition({ NetworkMode, ...host }, config);
      expect(ask).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
      expect(ask).toThrow(words);
    }
  });

  test('has the network of the host, of another, or none', () => {
    const kindOf = (host: object, config = {}) => definition(host, config).network;
    expect(kindOf({ NetworkMode: 'host' })).toEqual({ kind: 'host' });
    expect(kindOf({ NetworkMode: 'none' })).toEqual({ kind: 'none' });
    expect(kindOf({}, { NetworkDisabled: true })).toEqual({ kind: 'none' });
    expect(kindOf({ NetworkMode: 'container:web' })).toEqual({
      kind: 'container',
      containerId: 'id of web',
    });
  });

  test('takes no mount of another where it has one itself, however that is written', () => {
    const host = { Binds: ['own:/data/'], VolumesFrom: ['web'] };
    const config = { Volumes: { '/logs/': {}, '/more': {} } };
    const { mounts } = definition(host, config).container;
    expect(mounts.map(({ source, target }) => [source, target])).toEqual([
      ['own', '/data/'],
      ['logs', '/logs'],
      ['', '/more'],
    ]);
  });

  test('is confined as --security-opt says', () => {
    const options = ['no-new-privileges', 'seccomp=unconfined', 'apparmor=own', 'label=disable'];
    expect(definition({ SecurityOpt: options }).container.privileges).toEqual({
      noNewPrivileges: true,
      seccomp: { mode: 'unconfined', profile: '' },
      apparmor: { mode: 'custom', profile: 'own' },
    });
  });
});

test('what a container shares are its binds and its volumes by their names, with what was asked of them', () => {
  const bind: Mount = { ...volumeAt('/srv', '/srv'), type: 'bind' };
  const part: Mount = {
    ...volumeAt('data', '/data/'),
    volume: { noCopy: false, labels: {}, driver: '', driverOptions: {}, subpath: 'sub' },
  };
  const spec = aTaskSpec({
    container: aContainerSpec({ mounts: [bind, part, volumeAt('', '/anonymous')] }),
  });
  const volumes = [
    { name: 'data', path: '/volumes/data/sub', target: '/data', readOnly: false },
    { name: 'ff', path: '/volumes/ff', target: '/anonymous', readOnly: true },
  ];
  expect(sharedMounts(aContainerInfo({ spec }), volumes)).toEqual([
    bind,
    { ...part, target: '/data' },
    { ...volumeAt('ff', '/anonymous'), readOnly: true },
  ]);
});
