import { beforeEach, describe, expect, test } from 'vitest';
import type { ConfigId, SecretId } from '../../../common/model/ids.ts';
import type { ServiceSpec } from '../../../common/model/service.ts';
import {
  aConfigSpec,
  aContainerSpec,
  aNetworkSpec,
  aNetworkTarget,
  aPort,
  aSecretSpec,
  aServiceSpec,
  aTaskSpec,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

let it: TestControlApi;
beforeEach(async () => {
  it = await makeControlApi();
});

const FILE = { name: 'f', uid: '0', gid: '0', mode: 0o444 };
const withContainer = (container: Parameters<typeof aContainerSpec>[0]): ServiceSpec =>
  aServiceSpec({ name: 'user', task: aTaskSpec({ container: aContainerSpec(container) }) });

interface Reference {
  /** Makes what a service refers to; answers its id. */
  readonly make: () => Promise<string>;
  readonly remove: (id: string) => Promise<string>;
  readonly user: (id: string) => ServiceSpec;
  readonly missing: string;
  readonly inUse: string;
}

const REFERENCES: [string, Reference][] = [
  [
    'secret',
    {
      make: async () => (await it.api.createSecret(aSecretSpec({ name: 'x' }))).id,
      remove: (id) => it.api.removeSecret(id),
      user: (id) =>
        withContainer({ secrets: [{ secretId: id as SecretId, secretName: 'x', file: FILE }] }),
      missing: 'secret not found: x',
      inUse: "secret 'x' is in use by the following service: user",
    },
  ],
  [
    'config',
    {
      make: async () => (await it.api.createConfig(aConfigSpec({ name: 'x' }))).id,
      remove: (id) => it.api.removeConfig(id),
      user: (id) =>
        withContainer({ configs: [{ configId: id as ConfigId, configName: 'x', file: FILE }] }),
      missing: 'config not found: x',
      inUse: "config 'x' is in use by the following service: user",
    },
  ],
  [
    'network',
    {
      make: async () => (await it.api.createNetwork(aNetworkSpec({ name: 'x' }))).id,
      remove: (id) => it.api.removeNetwork(id),
      user: (id) =>
        aServiceSpec({
          name: 'user',
          task: aTaskSpec({ networks: [aNetworkTarget({ target: id })] }),
        }),
      missing: 'not found',
      inUse: 'is in use by service',
    },
  ],
  [
    'ingress network',
    {
      make: async () => (await it.api.createNetwork(aNetworkSpec({ name: 'x', ingress: true }))).id,
      remove: (id) => it.api.removeNetwork(id),
      user: () => aServiceSpec({ name: 'user', endpoint: { mode: 'vip', ports: [aPort()] } }),
      missing: 'no ingress network is present',
      inUse: 'ingress network cannot be removed because service',
    },
  ],
];

/** Both are decided on the same state, and reach the log in this order. */
async function inOneRound(first: () => Promise<unknown>, second: () => Promise<unknown>) {
  it.proposer.hold = true;
  const both = Promise.allSettled([first(), second()]);
  while (it.proposer.held < 2) await new Promise((resolve) => setImmediate(resolve));
  it.proposer.hold = false;
  it.proposer.release();
  const [a, b] = await both;
  return [a, b].map((result) =>
    result.status === 'fulfilled' ? 'done' : (result.reason as Error).message,
  );
}

describe.each(REFERENCES)('a %s', (_, { make, remove, user, missing, inUse }) => {
  test('that is removed in the round trip that makes its first user keeps the user out', async () => {
    const id = await make();
    const [removal, creation] = await inOneRound(
      () => remove(id),
      () => it.api.createService(user(id)),
    );
    expect(removal).toBe('done');
    expect(creation).toContain(missing);
    expect(it.store.view((view) => view.count('service'))).toBe(0);
  });

  test('whose first user is made in the round trip that removes it stays', async () => {
    const id = await make();
    const [creation, removal] = await inOneRound(
      () => it.api.createService(user(id)),
      () => remove(id),
    );
    expect(creation).toBe('done');
    expect(removal).toContain(inUse);
  });

  test('that an update begins to use stays as well', async () => {
    const id = await make();
    const { meta } = await it.api.createService(aServiceSpec({ name: 'user' }));
    const [update, removal] = await inOneRound(
      () => it.api.updateService('user', meta.version, user(id)),
      () => remove(id),
    );
    expect(update).toBe('done');
    expect(removal).toContain(inUse);
  });

  test('that nobody uses is removed while services come and go', async () => {
    const id = await make();
    const results = await inOneRound(
      () => it.api.createService(aServiceSpec({ name: 'other' })),
      () => remove(id),
    );
    expect(results).toEqual(['done', 'done']);
  });
});

describe('networks whose subnets overlap', () => {
  const inSubnet = (name: string, subnet: string, ingress = false) =>
    it.api.createNetwork(
      aNetworkSpec({
        name,
        ingress,
        ipam: {
          driver: 'default',
          options: {},
          configs: [{ subnet, gateway: '', range: '', reserved: {} }],
        },
      }),
    );
  const inNetworks = (...names: string[]): ServiceSpec =>
    aServiceSpec({
      name: 'user',
      task: aTaskSpec({ networks: names.map((target) => aNetworkTarget({ target })) }),
    });

  test('may be there, but no service is in both', async () => {
    await inSubnet('a', '10.9.0.0/24');
    await inSubnet('b', '10.9.0.0/25');
    await inSubnet('c', '10.9.1.0/24');
    await expect(it.api.createService(inNetworks('a', 'b'))).rejects.toMatchObject({
      code: 'invalid-argument',
      message:
        'networks a and b: their subnets 10.9.0.0/24 and 10.9.0.0/25 overlap, no container can be in both',
    });
    const { meta } = await it.api.createService(inNetworks('a', 'c'));
    await expect(
      it.api.updateService('user', meta.version, inNetworks('b', 'c', 'a')),
    ).rejects.toThrow('networks b and a');
  });

  test('are none of a service with published ports when one is that of the ports', async () => {
    await inSubnet('mesh', '10.0.0.0/24', true);
    await inSubnet('a', '10.0.0.0/24');
    const spec = inNetworks('a');
    const published = { ...spec, endpoint: { mode: 'vip', ports: [aPort()] } } as const;
    await expect(it.api.createService(published)).rejects.toThrow(
      'networks a and mesh (of published ports)',
    );
    await it.api.createService(spec);
  });
});
