import { beforeEach, describe, expect, test } from 'vitest';
import type { NetworkSpec } from '../../../common/model/network.ts';
import type { ServiceSpec } from '../../../common/model/service.ts';
import {
  aNetworkSpec,
  aNetworkTarget,
  aPort,
  aServiceSpec,
  aTaskSpec,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

let it: TestControlApi;

beforeEach(async () => {
  it = await makeControlApi();
});

const macvlan = (overrides: Partial<NetworkSpec> = {}): NetworkSpec =>
  aNetworkSpec({ driver: 'macvlan', configFrom: 'conf', ...overrides });
const bridge = (overrides: Partial<NetworkSpec> = {}): NetworkSpec =>
  aNetworkSpec({ driver: 'bridge', ...overrides });
/** what it is, the network, code and words of the refusal */
type RefusedNetwork = [string, NetworkSpec, string, string];
const ipam = {
  driver: 'default',
  options: {},
  configs: [{ subnet: '192.168.7.0/24', gateway: '', range: '', reserved: {} }],
};

describe('networks of the cluster that each node makes itself', () => {
  test.each([
    ['macvlan', macvlan()],
    ['ipvlan', macvlan({ driver: 'ipvlan' })],
    ['bridge, from a configuration', macvlan({ driver: 'bridge' })],
    ['bridge, alike on each node', aNetworkSpec({ driver: 'bridge', ipam, internal: true })],
  ])('%s is stored as asked for, and nothing is allocated', async (_, spec) => {
    const network = await it.api.createNetwork(spec);
    expect(network).toMatchObject({ spec, ipam: [], vxlanId: null });
    await it.api.removeNetwork(network.id);
  });

  const denied = 'permission-denied';
  const configured = 'user specified configurations are not supported';
  test.each<RefusedNetwork>([
    ['a driver that nodes have not', macvlan({ driver: 'weave' }), 'unimplemented', '"weave"'],
    [
      'macvlan without a configuration',
      macvlan({ configFrom: '' }),
      'invalid-argument',
      '--config-from',
    ],
    [
      'a configuration',
      macvlan({ configOnly: true, configFrom: '' }),
      denied,
      'attachable | scope',
    ],
    ['an overlay that is one', aNetworkSpec({ configOnly: true }), denied, 'attachable | scope'],
    [
      'an overlay with one',
      aNetworkSpec({ configFrom: 'conf' }),
      'invalid-argument',
      'driver overlay take no',
    ],
    ['a subnet beside one', macvlan({ ipam }), denied, configured],
    ['IPv6 beside one', macvlan({ ipv6: true }), denied, configured],
    ['labels beside one', macvlan({ labels: { a: 'b' } }), denied, configured],
    [
      'options beside one',
      macvlan({ driverOptions: { parent: 'eth0' } }),
      denied,
      'network driver options',
    ],
    ['ingress', macvlan({ ingress: true }), 'unimplemented', 'ingress networks of driver macvlan'],
    ['attachable', macvlan({ attachable: true }), 'unimplemented', 'Attachable'],
    ['bridge with IPv6', bridge({ ipv6: true }), 'unimplemented', 'EnableIPv6'],
    [
      'bridge with an option that is none',
      bridge({ driverOptions: { colour: 'red' } }),
      'unimplemented',
      'driver option "colour"',
    ],
    [
      'bridge in a subnet without room',
      bridge({ ipam: { ...ipam, configs: [{ ...ipam.configs[0]!, subnet: '10.1.0.0/31' }] } }),
      'invalid-argument',
      '10.1.0.0/31 is not between /8 and /30',
    ],
    ...['enable_ip_masquerade', 'host_binding_ipv4'].map((option): RefusedNetwork => {
      const name = `com.docker.network.bridge.${option}`;
      const value = option === 'host_binding_ipv4' ? '127.0.0.1' : 'true';
      return [
        `bridge with ${option}`,
        bridge({ driverOptions: { [name]: value } }),
        'unimplemented',
        `driver option "${name}" is not supported in networks of the cluster`,
      ];
    }),
    ['macvlan without a way out', macvlan({ internal: true }), 'unimplemented', 'Internal'],
  ])('%s is refused', async (_, spec, code, words) => {
    await expect(it.api.createNetwork(spec)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(words),
    });
    expect(await it.api.listNetworks()).toEqual([]);
  });

  describe('services there', () => {
    const inNetworks = (targets: readonly object[], more: Partial<ServiceSpec> = {}): ServiceSpec =>
      aServiceSpec({
        task: aTaskSpec({ networks: targets.map((target) => aNetworkTarget(target)) }),
        ...more,
      });
    const port = aPort({ publishMode: 'host', publishedPort: 8080 });
    const endpoint = { mode: 'vip', ports: [port] } as const;

    test('have no address of their own there', async () => {
      await it.api.createNetwork(macvlan({ name: 'mv' }));
      const spec = inNetworks([{ target: 'mv', addresses: ['192.168.7.9'] }]);
      await expect(it.api.createService(spec)).rejects.toMatchObject({
        code: 'invalid-argument',
        message: 'network mv: address 192.168.7.9: each node gives the addresses there',
      });
    });

    test('publish no port on their hosts, unless another network passes by the host', async () => {
      const [mv] = [await it.api.createNetwork(macvlan({ name: 'mv' }))];
      await it.api.createNetwork(aNetworkSpec({ name: 'br', driver: 'bridge' }));
      await expect(
        it.api.createService(inNetworks([{ target: 'mv' }], { endpoint })),
      ).rejects.toMatchObject({
        code: 'invalid-argument',
        message: expect.stringContaining('port 8080: mode host needs a network of driver overlay'),
      });
      const made = await it.api.createService(
        inNetworks([{ target: 'mv' }, { target: 'br' }], { endpoint }),
      );
      expect(made.spec.task.networks[0]!.target).toBe(mv.id);
      await expect(it.api.removeNetwork('mv')).rejects.toMatchObject({
        code: 'failed-precondition',
        message: `network ${mv.id} is in use by service ${made.id}`,
      });
    });
  });
});
