import { describe, expect, test } from 'vitest';
import { JsonReader } from '../../../daemon/engineapi/json/reader.ts';
import {
  serviceSpecFromJson,
  serviceSpecToJson,
  withKeptAddresses,
} from '../../../daemon/engineapi/json/service.ts';

const read = (json: unknown) =>
  serviceSpecFromJson(new JsonReader(JSON.parse(JSON.stringify(json))), null);

/** As `docker stack deploy` sends a service with a health check and limits. */
const FROM_A_STACK = {
  ContainerSpec: {
    Image: 'web:1',
    Privileges: { CredentialSpec: null, SELinuxContext: null },
    Healthcheck: { Test: ['CMD', 'true'], Interval: 2e9 },
    DNSConfig: {},
  },
  Resources: { Limits: { NanoCPUs: 5e8, MemoryBytes: 67_108_864 }, Reservations: {} },
  RestartPolicy: { Condition: 'any' },
  Placement: {},
  Networks: [{ Target: 'front', Aliases: ['web'] }],
};

describe('a service that a client reads and sends back', () => {
  test.each<[string, object]>([
    ['nothing but an image', { ContainerSpec: { Image: 'web:1' } }],
    ['what docker stack deploy sends', FROM_A_STACK],
    ['an empty health check', { ContainerSpec: { Image: 'web:1', Healthcheck: {} } }],
    ['empty privileges', { ContainerSpec: { Image: 'web:1', Privileges: {} } }],
    [
      'privileges',
      {
        ContainerSpec: {
          Image: 'web:1',
          Privileges: { NoNewPrivileges: true, Seccomp: { Mode: 'unconfined' } },
        },
      },
    ],
    [
      'mounts with empty options',
      {
        ContainerSpec: {
          Image: 'web:1',
          Mounts: [
            { Type: 'volume', Source: 'a', Target: '/a', VolumeOptions: {} },
            { Type: 'volume', Source: 'b', Target: '/b', VolumeOptions: { DriverConfig: {} } },
            { Type: 'bind', Source: '/c', Target: '/c', BindOptions: {} },
            { Type: 'tmpfs', Target: '/d', TmpfsOptions: {} },
            { Type: 'tmpfs', Target: '/e', TmpfsOptions: { Options: [['exec'], ['uid', '7']] } },
          ],
        },
      },
    ],
    ['zero as a grace period', { ContainerSpec: { Image: 'web:1', StopGracePeriod: 0 } }],
    ['no init', { ContainerSpec: { Image: 'web:1', Init: false } }],
    ['an empty restart policy', { ContainerSpec: { Image: 'web:1' }, RestartPolicy: {} }],
    ['a log driver', { ContainerSpec: { Image: 'web:1' }, LogDriver: { Name: 'none' } }],
  ])('with %s is the same service', (_, TaskTemplate) => {
    const spec = read({ Name: 'web', TaskTemplate, Mode: { Replicated: {} } });
    expect(read(serviceSpecToJson(spec))).toEqual(spec);
  });

  test('has its update and rollback settings and its ports', () => {
    const spec = read({
      Name: 'web',
      TaskTemplate: { ContainerSpec: { Image: 'web:1' } },
      Mode: { Global: {} },
      UpdateConfig: {},
      RollbackConfig: { Parallelism: 0, MaxFailureRatio: 0.5, Order: 'start-first' },
      EndpointSpec: { Ports: [{ TargetPort: 80 }, { TargetPort: 53, Protocol: 'udp' }] },
    });
    expect(read(serviceSpecToJson(spec))).toEqual(spec);
  });
});

describe('an address in a network', () => {
  const seat = { Target: 'back', IPAMConfig: { IPv4Address: '10.9.0.5' } };
  const withNetworks = (...Networks: object[]) => ({
    ...{ Name: 'db', TaskTemplate: { ContainerSpec: { Image: 'db:1' }, Networks } },
  });
  const before = read(withNetworks(seat));
  const updated = (json: object) =>
    withKeptAddresses(read(json), new JsonReader(json), before).task.networks.map(
      ({ target, addresses }) => `${target}: ${addresses}`,
    );

  test('is read and written', () => {
    expect(before.task.networks[0]!.addresses).toEqual(['10.9.0.5']);
    expect(read(serviceSpecToJson(before))).toEqual(before);
  });

  test('stays where a client does not know of it, as the docker command does not', () => {
    expect(updated(withNetworks({ Target: 'back' }))).toEqual(['back: 10.9.0.5']);
    const older = { ...withNetworks(), Networks: [{ Target: 'back' }] };
    const { Networks: _, ...template } = older.TaskTemplate;
    expect(updated({ ...older, TaskTemplate: template })).toEqual(['back: 10.9.0.5']);
  });

  test('goes when a client says so; that of another network was never there', () => {
    expect(updated(withNetworks({ Target: 'back', IPAMConfig: {} }))).toEqual(['back: ']);
    expect(updated(withNetworks({ Target: 'front' }))).toEqual(['front: ']);
    const other = { Target: 'back', IPAMConfig: { IPv4Address: '10.9.0.6' } };
    expect(updated(withNetworks(other))).toEqual(['back: 10.9.0.6']);
  });

  test.each([{ IPv6Address: 'fd00::5' }, { LinkLocalIPs: ['169.254.1.1'] }])(
    'is no other than IPv4: %j',
    (IPAMConfig) => {
      expect(() => read(withNetworks({ Target: 'back', IPAMConfig }))).toThrow(
        Object.keys(IPAMConfig)[0],
      );
    },
  );
});

describe('a port of one address', () => {
  const bound = { TargetPort: 80, PublishedPort: 8080, HostIp: '127.0.0.1' };
  const withPorts = (...Ports: object[]) => ({
    ...{ Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'web:1' } } },
    EndpointSpec: { Ports },
  });
  const before = read(withPorts(bound));
  const updated = (...ports: object[]) => updatedFrom(before, ...ports);
  const updatedFrom = (from: typeof before, ...ports: object[]) => {
    const json = withPorts(...ports);
    const spec = withKeptAddresses(read(json), new JsonReader(json), from);
    return spec.endpoint.ports.map(({ publishedPort, hostIp }) => `${hostIp}:${publishedPort}`);
  };
  const { HostIp: _, ...unsaid } = bound;

  test('keeps it where a client does not know of it, as the docker command does not', () => {
    expect(updated(unsaid)).toEqual(['127.0.0.1:8080']);
    expect(updated({ ...unsaid, Name: 'http' })).toEqual(['127.0.0.1:8080']);
  });

  test('answers everywhere when a client says so; another port was never there', () => {
    expect(updated({ ...unsaid, HostIp: '' })).toEqual([':8080']);
    expect(updated({ ...unsaid, HostIp: '10.0.0.5' })).toEqual(['10.0.0.5:8080']);
    expect(updated({ ...unsaid, PublishedPort: 8081 })).toEqual([':8081']);
    expect(updated({ ...unsaid, PublishMode: 'host' })).toEqual([':8080']);
  });

  test('goes to one port, and each of two addresses to one', () => {
    expect(updated(unsaid, unsaid)).toEqual(['127.0.0.1:8080', ':8080']);
    expect(updated(unsaid, bound)).toEqual([':8080', '127.0.0.1:8080']);
    const two = read(withPorts(bound, { ...bound, HostIp: '10.0.0.5' }));
    expect(updatedFrom(two, unsaid, unsaid)).toEqual(['127.0.0.1:8080', '10.0.0.5:8080']);
  });
});
