import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Meta } from '../../../common/model/objects.ts';
import type { ContainerSpec, ServiceSpec, UpdateConfig } from '../../../common/model/service.ts';
import { clusterInfoToJson, clusterSpecFromJson } from '../../../daemon/engineapi/json/cluster.ts';
import {
  containerSpecFromJson,
  containerSpecToJson,
} from '../../../daemon/engineapi/json/container-spec.ts';
import { networkSpecFromJson, networkToJson } from '../../../daemon/engineapi/json/network.ts';
import { nodeSpecFromJson, nodeToJson } from '../../../daemon/engineapi/json/node.ts';
import { JsonReader } from '../../../daemon/engineapi/json/reader.ts';
import {
  configSpecFromJson,
  configToJson,
  secretSpecFromJson,
  secretToJson,
} from '../../../daemon/engineapi/json/secret.ts';
import { serviceSpecFromJson, serviceSpecToJson } from '../../../daemon/engineapi/json/service.ts';
import { taskToJson } from '../../../daemon/engineapi/json/task.ts';
import { objectArbitraries } from '../../support/arbitraries.ts';
import { aNetwork, aNetworkSpec, aTask } from '../../support/builders.ts';
import { A_ROOT_PEM } from '../../support/root-certificate.ts';

/** Over the wire and back into a reader. */
const sent = (value: unknown): JsonReader => new JsonReader(JSON.parse(JSON.stringify(value)));
const specOf = (json: object): unknown => (json as { Spec: unknown }).Spec;
/** Times of a human age: not every whole number is one. */
const dated = <T extends { readonly meta: Meta }>(objects: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  objects.map((object) => ({ ...object, meta: { version: 1, createdAtMs: 0, updatedAtMs: 1 } }));
const RUNS = { numRuns: 200 };

/** What the API's JSON can say of a container: a profile goes with its mode, credentials never. */
function sayable(spec: ContainerSpec): ContainerSpec {
  const { privileges } = spec;
  const plain = { mode: 'default', profile: '' } as const;
  return {
    ...spec,
    privileges: privileges && {
      ...privileges,
      seccomp: privileges.seccomp.mode === 'default' ? plain : privileges.seccomp,
      apparmor: privileges.apparmor.mode === 'default' ? plain : privileges.apparmor,
    },
    registryAuth: null,
  };
}

const monitored = (update: UpdateConfig | null): UpdateConfig | null =>
  update && { ...update, monitorNanos: update.monitorNanos || 1 };

function sayableService(spec: ServiceSpec): ServiceSpec {
  const { resources } = spec.task;
  // -1 is how clients say nothing.
  const memorySwappiness = resources.memorySwappiness === -1 ? null : resources.memorySwappiness;
  return {
    ...spec,
    update: monitored(spec.update),
    rollback: monitored(spec.rollback),
    task: {
      ...spec.task,
      container: sayable(spec.task.container),
      resources: { ...resources, memorySwappiness },
      networks: spec.task.networks.map((network) => ({ ...network, addresses: [] })),
    },
  };
}

describe("Docker's JSON gives back what it was made from", () => {
  test('a container spec', () => {
    fc.assert(
      fc.property(objectArbitraries.task, ({ spec: { container } }) => {
        const json = sent(containerSpecToJson(container));
        expect(containerSpecFromJson(json, null)).toStrictEqual(sayable(container));
      }),
      RUNS,
    );
  });

  test('a service spec', () => {
    fc.assert(
      fc.property(objectArbitraries.service, ({ spec: given }) => {
        const spec = sayableService(given);
        expect(serviceSpecFromJson(sent(serviceSpecToJson(spec)), null)).toStrictEqual(spec);
      }),
      RUNS,
    );
  });

  test('a node spec', () => {
    fc.assert(
      fc.property(dated(objectArbitraries.node), (node) => {
        const json = sent(specOf(nodeToJson(node, null)));
        expect(nodeSpecFromJson(json)).toStrictEqual(node.spec);
      }),
      RUNS,
    );
  });

  test('a network spec, before its network is allocated', () => {
    fc.assert(
      fc.property(dated(objectArbitraries.network), (given) => {
        const { spec } = given;
        const driver = spec.ipam.driver || 'default';
        const network = {
          ...given,
          ipam: [],
          vxlanId: null,
          spec: { ...spec, ipam: { ...spec.ipam, driver } },
        };
        expect(networkSpecFromJson(sent(networkToJson(network)))).toStrictEqual(network.spec);
      }),
      RUNS,
    );
  });

  test('a cluster spec without zeros, which mean defaults', () => {
    fc.assert(
      fc.property(dated(objectArbitraries.cluster), (given) => {
        const rootCa = { ...given.rootCa, certPem: A_ROOT_PEM, rotation: null };
        const cluster = { ...given, rootCa };
        const { spec } = cluster;
        const json = sent(specOf(clusterInfoToJson(cluster)));
        const { raft } = spec;
        fc.pre(spec.name !== '' && spec.dispatcherHeartbeatNanos !== 0);
        fc.pre(spec.nodeCertExpiryNanos !== 0 && raft.snapshotInterval !== 0);
        fc.pre(raft.electionTicks !== 0 && raft.heartbeatTicks !== 0);
        fc.pre(spec.taskLogDriver?.name !== '');
        expect(clusterSpecFromJson(json)).toStrictEqual(spec);
      }),
      RUNS,
    );
  });

  test('a config spec', () => {
    fc.assert(
      fc.property(dated(objectArbitraries.config), (config) => {
        const { data, ...rest } = configSpecFromJson(sent(specOf(configToJson(config))));
        expect({ ...rest, data: [...data] }).toStrictEqual({
          ...config.spec,
          data: [...config.spec.data],
        });
      }),
      RUNS,
    );
  });

  test('a secret spec, but for its data, which never leaves', () => {
    fc.assert(
      fc.property(dated(objectArbitraries.secret), (secret) => {
        const json = secretToJson(secret);
        expect(specOf(json)).not.toHaveProperty('Data');
        const { data, ...rest } = secretSpecFromJson(sent(specOf(json)));
        const { data: _, ...spec } = secret.spec;
        expect([...data]).toEqual([]);
        expect(rest).toStrictEqual(spec);
      }),
      RUNS,
    );
  });
});

describe('specs from clients', () => {
  test('a service has one mode', () => {
    const json = sent({ Mode: { Replicated: {}, GlobalJob: {} } });
    expect(() => serviceSpecFromJson(json, null)).toThrow(
      'must specify only one service mode: got Replicated, GlobalJob',
    );
  });

  test('a service without replicas has one; jobs complete as often as they run at once', () => {
    expect(serviceSpecFromJson(sent({ Mode: { Replicated: {} } }), null).mode).toEqual({
      kind: 'replicated',
      replicas: 1,
    });
    const job = sent({ Mode: { ReplicatedJob: { MaxConcurrent: 3 } } });
    expect(serviceSpecFromJson(job, null).mode).toMatchObject({ totalCompletions: 3 });
  });

  test('networks of older clients lie beside the task template', () => {
    const spec = serviceSpecFromJson(sent({ Networks: [{ Target: 'n1' }] }), null);
    expect(spec.task.networks).toMatchObject([{ target: 'n1' }]);
  });

  test('the registry credentials of the header are kept with the container', () => {
    expect(serviceSpecFromJson(sent({}), 'x').task.container.registryAuth).toBe('x');
  });

  test.each([
    [{ TaskTemplate: { PluginSpec: { Name: 'p' } } }, 'TaskTemplate.PluginSpec'],
    [
      { TaskTemplate: { ContainerSpec: { Mounts: [{ ClusterOptions: { x: 1 } }] } } },
      'TaskTemplate.ContainerSpec.Mounts[0].ClusterOptions',
    ],
    [
      { TaskTemplate: { ContainerSpec: { Privileges: { SELinuxContext: { Type: 't' } } } } },
      'TaskTemplate.ContainerSpec.Privileges.SELinuxContext',
    ],
  ])('what is not done is refused by its path: %j', (body, path) => {
    expect(() => serviceSpecFromJson(sent(body), null)).toThrow(
      expect.objectContaining({
        code: 'unimplemented',
        message: expect.stringContaining(`${path} is not supported`),
      }),
    );
  });

  test.each([
    [{ Scope: 'local', Driver: 'overlay' }, 'Scope is not supported'],
    [{ EnableIPv4: false }, 'EnableIPv4: networks without IPv4 are not done yet'],
  ])('of networks, too: %j', (body, message) => {
    expect(() => networkSpecFromJson(sent(body))).toThrow(
      expect.objectContaining({
        code: 'unimplemented',
        message: expect.stringContaining(message),
      }),
    );
    expect(networkSpecFromJson(sent({ Scope: 'swarm', EnableIPv4: true })).name).toBe('');
  });

  test.each([
    [{ Role: 'boss', Availability: 'active' }, 'invalid Role: "boss": it is worker or manager'],
    [{ Role: 'worker' }, 'invalid Availability: "": it is active, pause or drain'],
  ])('a node spec with a wrong word is refused: %j', (body, message) => {
    expect(() => nodeSpecFromJson(sent(body))).toThrow(message);
  });

  test('a node spec is read whatever the case of its words', () => {
    const spec = nodeSpecFromJson(sent({ Role: 'Manager', Availability: 'DRAIN' }));
    expect(spec).toMatchObject({ desiredRole: 'manager', availability: 'drain' });
  });
});

test('a task names the networks that still exist', () => {
  const network = aNetwork({ vxlanId: 4097, spec: aNetworkSpec({ ipv6: true }) });
  const seat = (networkId: typeof network.id) => ({ networkId, addresses: [], aliases: [] });
  const task = aTask({ networks: [seat(network.id), seat('gone' as typeof network.id)] });
  expect(taskToJson(task, (id) => (id === network.id ? network : undefined))).toMatchObject({
    ID: task.id,
    Labels: {},
    NetworksAttachments: [
      { Network: { ID: network.id, Spec: { Scope: 'swarm', IPv6Enabled: true } } },
    ],
  });
});

test.each([
  [0, 0],
  [null, undefined],
])('the slot %s of a task is told as %s', (slot, told) => {
  expect((taskToJson(aTask({ slot }), () => undefined) as { Slot?: number }).Slot).toBe(told);
});

test('a task tells its generic resources by the name of the documents and by that of the engine', () => {
  const assignedGenericResources = [
    { kind: 'gpu', value: 'a' },
    { kind: 'ssd', value: 2 },
  ];
  const told = [
    { NamedResourceSpec: { Kind: 'gpu', Value: 'a' } },
    { DiscreteResourceSpec: { Kind: 'ssd', Value: 2 } },
  ];
  expect(taskToJson(aTask({ assignedGenericResources }), () => undefined)).toMatchObject({
    AssignedGenericResources: told,
    GenericResources: told,
  });
  expect(taskToJson(aTask(), () => undefined)).not.toHaveProperty('GenericResources');
});
