import { describe, expect, test } from 'vitest';
import { JsonReader } from '../../../daemon/engineapi/json/reader.ts';
import { serviceSpecFromJson, serviceSpecToJson } from '../../../daemon/engineapi/json/service.ts';

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
