import { describe, expect, test } from 'vitest';
import {
  type ContainerSpec,
  DEFAULT_ISOLATION,
  type Mount,
  NO_KERNEL_RESOURCES,
  NO_RESOURCES,
  PLAIN_BIND,
  type ResourceRequirements,
} from '../../../common/model/service.ts';
import { containerRowToJson, containerToJson } from '../../../daemon/engineapi/json/container.ts';
import { membersToJson } from '../../../daemon/engineapi/json/local-network.ts';
import type { ContainerInfo } from '../../../worker/container-view.ts';
import { aContainerSpec, aTask, aTaskSpec } from '../../support/builders.ts';
import { aContainerInfo } from '../../support/container-info.ts';
import { anImage } from '../../support/fake-container-host.ts';

const AN_EXIT = { exitCode: 3, oomKilled: false, error: '', finishedAtMs: 8_000 };

const ownShm = (sizeBytes: number): Mount => ({
  ...{ type: 'tmpfs', source: '', target: '/dev/shm/', readOnly: false },
  ...{ bind: null, volume: null, tmpfs: { sizeBytes, mode: 0o1777, options: [] } },
});

function inspected(
  container: Partial<ContainerSpec>,
  resources: ResourceRequirements = NO_RESOURCES,
): object {
  const spec = aTaskSpec({ container: aContainerSpec(container), resources });
  return containerToJson(
    aContainerInfo({ spec, task: aTask({ spec }) }),
    (name) => `id of ${name}`,
  );
}

describe('docker inspect of a container', () => {
  test('shows what holds where its client sent what says nothing', () => {
    const hostConfig = {
      LogConfig: { Type: '' },
      CgroupnsMode: '',
      MemorySwappiness: -1,
      Memory: 5,
    };
    const info = aContainerInfo({ shown: { config: {}, hostConfig } });
    expect(containerToJson(info, () => '')).toMatchObject({
      HostConfig: {
        LogConfig: { Type: 'json-file' },
        CgroupnsMode: 'private',
        MemorySwappiness: null,
        Memory: 5,
      },
    });
  });

  test.each([
    [{ CpuQuota: 50_000 }, 0],
    [{ CpuQuota: -1 }, 500_000_000],
    [{ NanoCpus: 9 }, 500_000_000],
    [{}, 500_000_000],
  ])('with %j shows a limit of CPU in the way that it was given', (hostConfig, NanoCpus) => {
    const limits = { ...NO_RESOURCES.limits, nanoCpus: 500_000_000 };
    const spec = aTaskSpec({ resources: { ...NO_RESOURCES, limits } });
    const info = aContainerInfo({ spec, shown: { config: {}, hostConfig } });
    expect(containerToJson(info, String)).toMatchObject({
      HostConfig: { ...hostConfig, NanoCpus },
    });
  });

  test.each([
    [0, null, 0],
    [0, -1, -1],
    [100, null, 100],
    [100, 0, 100],
    [100, 100, 200],
    [100, -1, -1],
  ])(
    'of %i bytes of memory and %j of swap shows what both are together',
    (memoryBytes, swapBytes, MemorySwap) => {
      const limits = { ...NO_RESOURCES.limits, memoryBytes };
      const spec = aTaskSpec({ resources: { ...NO_RESOURCES, limits, swapBytes } });
      const shown = { config: {}, hostConfig: { Memory: memoryBytes, MemorySwap: 0 } };
      for (const info of [aContainerInfo({ spec, shown }), aContainerInfo({ spec })]) {
        expect(containerToJson(info, String)).toMatchObject({ HostConfig: { MemorySwap } });
      }
    },
  );

  test.each<[string, ContainerSpec['mounts'], Record<string, unknown>, number]>([
    ['nothing', [], {}, 67_108_864],
    ['0', [], { ShmSize: 0 }, 67_108_864],
    ['a size', [], { ShmSize: 4096 }, 4096],
    ['a tmpfs of a size', [ownShm(8192)], {}, 8192],
    ['a tmpfs of any size', [ownShm(0)], {}, 67_108_864],
  ])(
    'that was asked for %s of /dev/shm shows what it has',
    (_what, mounts, hostConfig, ShmSize) => {
      const spec = aTaskSpec({ container: aContainerSpec({ mounts }) });
      const info = aContainerInfo({ spec, shown: { config: {}, hostConfig } });
      expect(containerToJson(info, String)).toMatchObject({ HostConfig: { ShmSize } });
    },
  );

  test('names it as it calls itself', () => {
    const shown = containerToJson(aContainerInfo({ hostname: 'machine' }), String);
    expect(shown).toMatchObject({ Config: { Hostname: 'machine' } });
  });

  describe.each(['of a task', 'of nobody'])('%s, has its image’s words', (kind) => {
    const image = anImage();
    const config = {
      ...{ ...image.config, entrypoint: ['run'], cmd: ['it'], env: ['A=image', 'B=image'] },
      ...{ user: '5', workingDir: '/srv', exposedPorts: ['80/tcp'], volumes: ['/data'] },
      ...{ stopSignal: 'SIGQUIT', labels: {} },
      healthcheck: {
        ...{ test: ['CMD', 'true'], intervalMs: 2, retries: 4 },
        ...{ timeoutMs: null, startPeriodMs: null, startIntervalMs: null },
      },
    };
    const shownOf = (container: Partial<ContainerSpec>, more: Partial<ContainerInfo> = {}) => {
      const spec = aTaskSpec({ container: aContainerSpec(container) });
      const task = kind === 'of a task' ? aTask({ spec }) : null;
      const info = aContainerInfo({ spec, task, image: { ...image, config }, ...more });
      return { row: containerRowToJson(info, 10_000, String), json: containerToJson(info, String) };
    };

    test('where it has none of its own', () => {
      const { row, json } = shownOf({ command: [], args: [], env: ['A=own'] });
      expect(json).toMatchObject({
        Config: {
          ...{ Entrypoint: ['run'], Cmd: ['it'], Env: ['A=own', 'B=image'], User: '5' },
          ...{ WorkingDir: '/srv', ExposedPorts: { '80/tcp': {} }, Volumes: { '/data': {} } },
          ...{ StopSignal: 'SIGQUIT' },
          Healthcheck: { Test: ['CMD', 'true'], Interval: 2e6, Retries: 4 },
        },
        NetworkSettings: { Ports: { '80/tcp': null } },
      });
      expect(row).toMatchObject({ Ports: [{ PrivatePort: 80, Type: 'tcp' }] });
    });

    test('under those that it has', () => {
      const ports = [{ protocol: 'tcp', targetPort: 80, hostPort: 8080, hostIp: '0.0.0.0' }];
      const own = { command: ['do'], args: [], user: 'me', workdir: '/', stopSignal: 'SIGINT' };
      const { row, json } = shownOf(own, { ports } as Partial<ContainerInfo>);
      expect(json).toMatchObject({
        Config: {
          ...{ Entrypoint: ['do'], Cmd: [], User: 'me', WorkingDir: '/', StopSignal: 'SIGINT' },
          ExposedPorts: { '80/tcp': {} },
        },
        NetworkSettings: { Ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }] } },
      });
      expect(row).toMatchObject({ Ports: [{ PrivatePort: 80, PublicPort: 8080 }] });
    });
  });

  test.each(['host', 'none', 'service:shop_db'])(
    'shows the network %s of a task by its word',
    (target) => {
      const networks = [{ target, aliases: [], driverOptions: {}, addresses: [] }];
      const info = aContainerInfo({ task: aTask({ spec: aTaskSpec({ networks }) }) });
      const expected = { HostConfig: { NetworkMode: target } };
      expect(containerToJson(info, String)).toMatchObject(expected);
      expect(containerRowToJson(info, 10_000, String)).toMatchObject(expected);
    },
  );

  test('shows what it shares and is held to, as docker run would have asked for it', () => {
    const isolation = {
      ...DEFAULT_ISOLATION,
      privileged: true,
      devices: [{ hostPath: '/dev/a', containerPath: '/dev/b', permissions: 'r' }],
      pid: 'host' as const,
    };
    const kernel = { ...NO_KERNEL_RESOURCES, cpuShares: 512, cpusetCpus: '0' };
    const resources = { ...NO_RESOURCES, kernel, memorySwappiness: 7 };
    expect(inspected({ isolation, init: true, oomScoreAdj: 5 }, resources)).toMatchObject({
      HostConfig: {
        Privileged: true,
        Devices: [{ PathOnHost: '/dev/a', PathInContainer: '/dev/b', CgroupPermissions: 'r' }],
        PidMode: 'host',
        IpcMode: 'private',
        CpuShares: 512,
        CpusetCpus: '0',
        MemorySwappiness: 7,
        Init: true,
        OomScoreAdj: 5,
      },
    });
  });

  test.each<[Partial<ContainerInfo>, string, string]>([
    [{ condition: 'created', pid: 0, startedAtMs: null }, 'created', 'Created'],
    [{ startedAtMs: 5_000 }, 'running', 'Up 5 seconds'],
    [{ condition: 'paused', startedAtMs: 5_000 }, 'paused', 'Up 5 seconds (Paused)'],
    [{ condition: 'restarting', exit: AN_EXIT }, 'restarting', 'Restarting (3) 2 seconds ago'],
    [{ condition: 'exited', exit: AN_EXIT }, 'exited', 'Exited (3) 2 seconds ago'],
    [{ condition: 'removing' }, 'removing', 'Removal In Progress'],
    [{ condition: 'dead' }, 'dead', 'Dead'],
  ])('%j is shown in docker ps as %s: %s', (overrides, State, Status) => {
    expect(containerRowToJson(aContainerInfo(overrides), 10_000, String)).toMatchObject({
      State,
      Status,
    });
  });

  test('shows its ports and its place on the bridge', () => {
    const port = { protocol: 'tcp', targetPort: 80, hostIp: '0.0.0.0', hostPort: 8080 };
    const place = { address: '172.17.0.2', prefixLength: 16, gateway: '172.17.0.1', mac: 'm' };
    const links = [{ target: 'db', alias: 'store' }];
    const none = { networkId: null, aliases: [], fixedAddress: '' };
    const bridge = { name: 'bridge', ...none, links, ...place };
    const info = aContainerInfo({ ports: [port], networks: [bridge] });
    expect(containerToJson(info, (name) => `id of ${name}`)).toMatchObject({
      NetworkSettings: {
        Ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }] },
        ...{ IPAddress: '172.17.0.2', IPPrefixLen: 16, GlobalIPv6Address: '' },
        Networks: {
          bridge: { NetworkID: 'id of bridge', IPAddress: '172.17.0.2', Links: ['db:store'] },
        },
      },
    });
    expect(containerRowToJson(info, 0, String)).toMatchObject({
      Ports: [{ IP: '0.0.0.0', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' }],
    });
  });

  test('has every field of a place, whatever there is to say, and its address of IPv6', () => {
    const place = {
      address: '10.0.1.3',
      prefixLength: 24,
      gateway: '',
      mac: 'm',
      fixedAddress: '',
    };
    const seat = { name: 'front', networkId: 'f', aliases: ['web'], ...place };
    const networks = [
      { ...seat, ipv6: 'fd00::a00:103/64' },
      { ...seat, name: 'back' },
    ];
    const info = aContainerInfo({ networks });
    const shown = containerToJson(info, String) as {
      readonly NetworkSettings: { readonly Networks: Record<string, object> };
    };
    const told = {
      ...{ IPAMConfig: null, Links: null, DriverOpts: null, NetworkID: 'f' },
      ...{ EndpointID: expect.any(String), IPAddress: '10.0.1.3', IPPrefixLen: 24, Gateway: '' },
      ...{ MacAddress: 'm', Aliases: ['web'], DNSNames: null, IPv6Gateway: '' },
    };
    expect(shown.NetworkSettings.Networks).toEqual({
      front: { ...told, GlobalIPv6Address: 'fd00::a00:103', GlobalIPv6PrefixLen: 64 },
      back: { ...told, GlobalIPv6Address: '', GlobalIPv6PrefixLen: 0 },
    });
    const members = networks.map((one) => ({ container: info, seat: one }));
    expect(Object.values(membersToJson([members[0]!]))).toMatchObject([
      { IPv4Address: '10.0.1.3/24', IPv6Address: 'fd00::a00:103/64' },
    ]);
    expect(Object.values(membersToJson([members[1]!]))).toMatchObject([{ IPv6Address: '' }]);
  });

  test('shows anonymous volumes by their real names, those of the image too', () => {
    const mount = { type: 'volume', source: '', target: '/data/', readOnly: true };
    const mounts = [mount as unknown as Mount];
    const spec = aTaskSpec({ container: aContainerSpec({ mounts }) });
    const volumes = [
      { name: 'aa', path: '/v/aa/_data', target: '/data', readOnly: true },
      { name: 'bb', path: '/v/bb/_data', target: '/db', readOnly: false },
    ];
    const shown = {
      Mounts: [
        { Type: 'volume', Name: 'aa', Source: '/v/aa/_data', Driver: 'local', RW: false },
        {
          Type: 'volume',
          Name: 'bb',
          Source: '/v/bb/_data',
          Destination: '/db',
          Driver: 'local',
          RW: true,
        },
      ],
    };
    expect(containerToJson(aContainerInfo({ spec, volumes }), String)).toMatchObject(shown);
    expect(containerRowToJson(aContainerInfo({ spec, volumes }), 0, String)).toMatchObject(shown);
  });

  test('shows binds with their propagation, and memory once', () => {
    const none = { source: '', readOnly: false, bind: null, volume: null, tmpfs: null };
    const mounts: Mount[] = [
      { ...none, type: 'bind', source: '/a', target: '/a' },
      {
        ...none,
        type: 'bind',
        source: '/b',
        target: '/b',
        bind: { ...PLAIN_BIND, propagation: 'rslave' },
      },
      ...['/t', '/dev/shm', '/m'].map((target): Mount => ({ ...none, type: 'tmpfs', target })),
    ];
    const spec = aTaskSpec({ container: aContainerSpec({ mounts }) });
    const hostConfig = { Tmpfs: { '/t/': '' }, ShmSize: 4096 };
    const shown = { config: {}, hostConfig };
    const { Mounts } = containerToJson(aContainerInfo({ spec, shown }), String) as {
      Mounts: readonly { Type: string; Destination: string; Propagation: string }[];
    };
    expect(Mounts.map(({ Destination, Propagation }) => [Destination, Propagation])).toEqual([
      ['/a', 'rprivate'],
      ['/b', 'rslave'],
      ['/m', ''],
    ]);
  });

  test('of a service that asks for nothing has Docker’s defaults', () => {
    expect(inspected({ domainname: 'a.b', tty: true })).toMatchObject({
      Config: { Domainname: 'a.b', Tty: true },
      HostConfig: {
        Privileged: false,
        PidMode: '',
        UTSMode: '',
        CgroupnsMode: 'private',
        Init: null,
      },
    });
  });
});
