import { describe, expect, test } from 'vitest';
import type { IpamConfig, NetworkSpec } from '../../../common/model/network.ts';
import {
  checkLocalSpec,
  deviceOf,
  freeAddress,
  macBytes,
  resolvedPool,
} from '../../../worker/network/local-network.ts';

function aSpec(overrides: Partial<NetworkSpec> = {}): NetworkSpec {
  return {
    name: 'front',
    labels: {},
    driver: 'bridge',
    driverOptions: {},
    internal: false,
    attachable: false,
    ingress: false,
    ipv6: false,
    ipam: { driver: 'default', options: {}, configs: [] },
    ...{ configOnly: false, configFrom: '' },
    ...overrides,
  };
}

const withPool = (pool: Partial<IpamConfig>): NetworkSpec =>
  aSpec({
    ipam: {
      driver: 'default',
      options: {},
      configs: [{ subnet: '', gateway: '', range: '', reserved: {}, ...pool }],
    },
  });

describe('a network of this node', () => {
  test.each<[NetworkSpec, string]>([
    [aSpec({ name: 'bridge' }), 'operation is not permitted on predefined bridge network'],
    [aSpec({ name: 'a b' }), 'name must be valid'],
    [aSpec({ driver: 'weave' }), 'network driver "weave" is not supported'],
    [aSpec({ ipv6: true }), 'EnableIPv6'],
    [aSpec({ driverOptions: { a: 'b' } }), 'driver option "a" is not supported'],
    [
      aSpec({ driverOptions: { 'com.docker.network.driver.mtu': '9' } }),
      "'9' is not in 576..65535",
    ],
    [
      aSpec({ driverOptions: { 'com.docker.network.bridge.name': 'skep0' } }),
      "'skep0' is no name for a bridge",
    ],
    [
      aSpec({ driverOptions: { 'com.docker.network.bridge.enable_icc': 'no' } }),
      "'no' is neither true nor false",
    ],
    [aSpec({ driver: 'macvlan' }), 'option "parent" must name a link'],
    [
      aSpec({ driver: 'macvlan', driverOptions: { parent: 'eth0', macvlan_mode: 'l2' } }),
      "mode 'l2' is not one of bridge, private, vepa, passthru",
    ],
    [withPool({ subnet: '10.1.0.0' }), 'not in CIDR notation'],
    [withPool({ subnet: 'fd00::/64' }), 'IPv6 subnet fd00::/64'],
    [withPool({ subnet: '10.1.0.0/31' }), 'is not between /8 and /30'],
    [withPool({ gateway: '10.1.0.1' }), 'needs a subnet'],
    [
      withPool({ subnet: '10.1.0.0/24', range: '10.2.0.0/25' }),
      'range 10.2.0.0/25 is not contained in subnet 10.1.0.0/24',
    ],
    [
      withPool({ subnet: '10.1.0.0/24', gateway: '10.2.0.1' }),
      'gateway 10.2.0.1 is not contained in subnet 10.1.0.0/24',
    ],
    [
      withPool({ subnet: '10.1.0.0/24', reserved: { router: '10.1.0.255' } }),
      'router 10.1.0.255 is not contained in subnet 10.1.0.0/24',
    ],
  ])('%j is refused: %s', (spec, words) => {
    expect(() => checkLocalSpec(spec)).toThrow(words);
  });

  test('is a bridge with the options that were given', () => {
    const plain = deviceOf({ id: 'a', spec: aSpec() });
    expect(plain).toMatchObject({ kind: 'bridge', mtuBytes: 1500, isolated: false });
    expect(plain).toHaveProperty('link', expect.stringMatching(/^skb[0-9a-f]{11}$/));
    const driverOptions = {
      'com.docker.network.bridge.name': 'br-front',
      'com.docker.network.bridge.enable_icc': 'false',
      'com.docker.network.bridge.enable_ip_masquerade': 'false',
      'com.docker.network.bridge.host_binding_ipv4': '127.0.0.1',
      'com.docker.network.driver.mtu': '1400',
    };
    const spec = aSpec({ driverOptions });
    checkLocalSpec(spec);
    expect(deviceOf({ id: 'a', spec })).toEqual({
      kind: 'bridge',
      link: 'br-front',
      mtuBytes: 1400,
      isolated: true,
      masquerade: false,
      bindAddress: '127.0.0.1',
    });
  });

  test('is on a link of the host', () => {
    const spec = aSpec({
      driver: 'ipvlan',
      driverOptions: { parent: 'eth0.10', ipvlan_mode: 'l3' },
    });
    checkLocalSpec(spec);
    expect(deviceOf({ id: 'a', spec })).toEqual({
      kind: 'ipvlan',
      parent: 'eth0.10',
      mode: 'l3',
      mtuBytes: null,
    });
  });
});

describe('addresses of a network of this node', () => {
  const subnet = { address: '10.1.0.0', length: 29 };

  test('are all but those of the subnet, the gateway and what was set aside', () => {
    const config = { subnet: '', gateway: '', range: '', reserved: { router: '10.1.0.3' } };
    const pool = resolvedPool(config, subnet);
    expect(pool).toMatchObject({ subnet: '10.1.0.0/29', gateway: '10.1.0.1' });
    const used = new Set<string>();
    for (let address = freeAddress(pool, used, null); address; ) {
      used.add(address);
      address = freeAddress(pool, used, address);
    }
    expect([...used]).toEqual(['10.1.0.2', '10.1.0.4', '10.1.0.5', '10.1.0.6']);
    used.delete('10.1.0.4');
    expect(freeAddress(pool, used, '10.1.0.6')).toBe('10.1.0.4');
  });

  test('that are freed come again only after all others', () => {
    const pool = resolvedPool(undefined, subnet);
    expect(freeAddress(pool, new Set(), '10.1.0.2')).toBe('10.1.0.3');
  });

  test('are of the range alone', () => {
    const config = {
      subnet: '10.1.0.0/24',
      gateway: '10.1.0.9',
      range: '10.1.0.8/30',
      reserved: {},
    };
    const pool = resolvedPool(config, { address: '10.1.0.0', length: 24 });
    const used = new Set(['10.1.0.8', '10.1.0.11']);
    expect(freeAddress(pool, used, '10.1.0.200')).toBe('10.1.0.10');
    expect(freeAddress(pool, new Set([...used, '10.1.0.10']), null)).toBeNull();
  });

  test('of links are single ones', () => {
    expect(macBytes('02:42:AC-11:00:05'.replace('-', ':')).toString('hex')).toBe('0242ac110005');
    for (const text of ['', '02:42', '01:00:5e:00:00:01', '02:42:ac:11:00:zz']) {
      expect(() => macBytes(text)).toThrow('invalid MAC address');
    }
  });
});
