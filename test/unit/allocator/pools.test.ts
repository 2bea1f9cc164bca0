import { describe, expect, test } from 'vitest';
import type { ServiceId } from '../../../common/model/ids.ts';
import type { IpamConfig } from '../../../common/model/network.ts';
import type { Protocol } from '../../../common/model/service.ts';
import { AddressPool } from '../../../manager/allocator/address-pool.ts';
import {
  formatSubnet,
  overlaps,
  parseIpv4,
  parseIpv4Subnet,
} from '../../../manager/allocator/cidr.ts';
import { PortPool } from '../../../manager/allocator/port-pool.ts';
import { SubnetPool } from '../../../manager/allocator/subnet-pool.ts';
import { VxlanIdPool } from '../../../manager/allocator/vxlan-id-pool.ts';
import { idOf } from '../../support/builders.ts';

describe('IPv4 subnets', () => {
  test.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.2.3/24', '10.1.2.0/24'],
    ['192.168.1.77/32', '192.168.1.77/32'],
    ['255.255.255.255/0', '0.0.0.0/0'],
  ])('%s is %s', (text, subnet) => {
    expect(formatSubnet(parseIpv4Subnet(text))).toBe(subnet);
  });

  test.each(['10.0.0.0', '10.0.0.0/33', '10.0.0/24', 'fd00::/64', '10.0.0.256/24', '/24', 'a/b'])(
    '%s is refused',
    (text) => {
      expect(() => parseIpv4Subnet(text)).toThrow(
        expect.objectContaining({ code: 'invalid-argument' }),
      );
    },
  );

  test.each([
    ['10.0.0.0/8', '10.9.0.0/16', true],
    ['10.0.0.0/24', '10.0.1.0/24', false],
    ['10.0.1.0/24', '10.0.0.0/23', true],
  ])('%s and %s overlap: %s', (a, b, expected) => {
    expect(overlaps(parseIpv4Subnet(a), parseIpv4Subnet(b))).toBe(expected);
    expect(overlaps(parseIpv4Subnet(b), parseIpv4Subnet(a))).toBe(expected);
  });

  test('an address is a number', () => {
    expect(parseIpv4('255.0.0.1')).toBe(255 * 2 ** 24 + 1);
  });
});

const config = (overrides: Partial<IpamConfig>): IpamConfig => ({
  subnet: '10.0.1.0/24',
  gateway: '10.0.1.1',
  range: '',
  reserved: {},
  ...overrides,
});

describe('addresses of a network', () => {
  test('start after the gateway and end before the broadcast address', () => {
    const pool = new AddressPool([config({})]);
    const given: string[] = [];
    for (let next = pool.takeNext(); next !== null; next = pool.takeNext()) given.push(next);
    expect(given[0]).toBe('10.0.1.2/24');
    expect(given.at(-1)).toBe('10.0.1.254/24');
    expect(given).toHaveLength(253);
    expect([pool.used, pool.size]).toEqual([253, 253]);
  });

  test('leave out a gateway elsewhere and reserved addresses', () => {
    const pool = new AddressPool([
      config({ subnet: '10.0.1.0/29', gateway: '10.0.1.6', reserved: { router: '10.0.1.2' } }),
    ]);
    expect([pool.takeNext(), pool.takeNext()]).toEqual(['10.0.1.1/29', '10.0.1.3/29']);
  });

  test('come from the range, with the prefix of the subnet', () => {
    const pool = new AddressPool([config({ subnet: '10.5.0.0/16', range: '10.5.7.0/30' })]);
    const given = Array.from({ length: 5 }, () => pool.takeNext());
    expect(given).toEqual(['10.5.7.0/16', '10.5.7.1/16', '10.5.7.2/16', '10.5.7.3/16', null]);
  });

  test('may be named, in and out of the range, once each', () => {
    const pool = new AddressPool([config({ range: '10.0.1.128/25' })]);
    expect(pool.take('10.0.1.5')).toBe('10.0.1.5/24');
    expect(pool.take('10.0.1.5')).toBeNull();
    expect(pool.take('10.0.1.130')).toBe('10.0.1.130/24');
    pool.release('10.0.1.5/24');
    expect(pool.take('10.0.1.5/24')).toBe('10.0.1.5/24');
    expect(pool.take('10.0.1.1')).toBeNull(); // the gateway
    expect(() => pool.take('10.0.2.1')).toThrow(/is in no subnet of the network/);
  });

  test('come from the second subnet when the first is full', () => {
    const pool = new AddressPool([
      config({ subnet: '10.0.1.0/30' }),
      config({ subnet: '10.0.2.0/24', gateway: '10.0.2.1' }),
    ]);
    expect([pool.takeNext(), pool.takeNext()]).toEqual(['10.0.1.2/30', '10.0.2.2/24']);
  });

  test('a new leader goes on above the highest in use', () => {
    const pool = new AddressPool([config({})]);
    pool.restore('10.0.1.9/24');
    pool.restore('10.0.1.4/24');
    expect(pool.takeNext()).toBe('10.0.1.10/24');
  });
});

describe('subnets of the default pools', () => {
  test('are cut in order and reused from the lowest', () => {
    const pool = new SubnetPool(['10.0.0.0/8'], 24);
    expect([pool.takeNext(), pool.takeNext()]).toEqual(['10.0.0.0/24', '10.0.1.0/24']);
    pool.release('10.0.0.0/24');
    expect(pool.takeNext()).toBe('10.0.0.0/24');
  });

  test('hold none of the addresses that are to be avoided', () => {
    const pool = new SubnetPool(['10.0.0.0/8'], 24);
    const avoid = ['10.0.0.255', '10.0.2.0'].map(parseIpv4);
    expect([pool.takeNext(avoid), pool.takeNext(avoid)]).toEqual(['10.0.1.0/24', '10.0.3.0/24']);
    expect(pool.takeNext()).toBe('10.0.0.0/24');
  });

  test.each([
    ['10.0.0.0/16', '10.1.0.0/24'],
    ['10.0.0.128/25', '10.0.1.0/24'],
    ['10.0.0.0/23', '10.0.2.0/24'],
  ])('pass over %s, which a user chose', (chosen, first) => {
    const pool = new SubnetPool(['10.0.0.0/8'], 24);
    pool.use(chosen);
    expect(pool.takeNext()).toBe(first);
  });

  test('come from the next pool when one is used up, and end', () => {
    const pool = new SubnetPool(['10.0.0.0/25', '10.9.0.0/26'], 26);
    expect(pool.size).toBe(3);
    const given = Array.from({ length: 4 }, () => pool.takeNext());
    expect(given).toEqual(['10.0.0.0/26', '10.0.0.64/26', '10.9.0.0/26', null]);
  });

  test('one that two networks chose is free when both are gone', () => {
    const pool = new SubnetPool(['10.0.0.0/24'], 24);
    pool.use('10.0.0.0/24');
    pool.use('10.0.0.0/24');
    pool.release('10.0.0.0/24');
    expect(pool.takeNext()).toBeNull();
    pool.release('10.0.0.0/24');
    expect(pool.takeNext()).toBe('10.0.0.0/24');
  });
});

describe('published ports', () => {
  const [a, b] = [idOf<ServiceId>('a'), idOf<ServiceId>('b')];

  const at = (protocol: Protocol, publishedPort: number, hostIp = '') => {
    return { protocol, publishedPort, hostIp };
  };

  test('belong to one service, per protocol', () => {
    const pool = new PortPool();
    expect(pool.take(at('tcp', 80), a)).toBe(true);
    expect(pool.take(at('tcp', 80), a)).toBe(true);
    expect(pool.take(at('tcp', 80), b)).toBe(false);
    expect(pool.take(at('udp', 80), b)).toBe(true);
    pool.release(at('tcp', 80), b);
    expect(pool.owner(at('tcp', 80))).toBe(a);
    pool.release(at('tcp', 80), a);
    expect(pool.take(at('tcp', 80), b)).toBe(true);
  });

  test('of one address each belong to several', () => {
    const pool = new PortPool();
    const [five, six] = ['10.0.0.5', '10.0.0.6'];
    expect(pool.take(at('tcp', 80, five), a)).toBe(true);
    expect(pool.take(at('tcp', 80, five), b)).toBe(false);
    expect(pool.take(at('tcp', 80, six), b)).toBe(true);
    expect(pool.take(at('tcp', 80), a)).toBe(false); // the other's too
    expect(pool.owner(at('tcp', 80, six))).toBe(b);
    pool.release(at('tcp', 80, six), b);
    expect(pool.take(at('tcp', 80), a)).toBe(true); // beside its own
    expect(pool.take(at('tcp', 80, six), b)).toBe(false);
    pool.release(at('tcp', 80), a);
    expect(pool.owner(at('tcp', 80, five))).toBe(a);
    expect(pool.owner(at('tcp', 80, six))).toBeUndefined();
  });

  test('are chosen from 30000 to 32767, passing over those in use', () => {
    const pool = new PortPool();
    pool.take(at('tcp', 30_001, '10.0.0.5'), a);
    const next = (protocol: Protocol) => pool.takeNext({ protocol, hostIp: '' }, b);
    expect([next('tcp'), next('tcp')]).toEqual([30_000, 30_002]);
    for (let i = 0; i < 2765; i++) expect(next('tcp')).toBeLessThanOrEqual(32_767);
    expect(next('tcp')).toBeNull();
    expect(next('udp')).toBe(30_000);
  });
});

test('VXLAN ids start at 4096 and go on above those in use', () => {
  const pool = new VxlanIdPool();
  expect(pool.takeNext()).toBe(4096);
  expect([pool.take(5000), pool.take(5000), pool.take(77)]).toEqual([true, false, true]);
  pool.continueAboveUsed();
  expect(pool.takeNext()).toBe(5001);
});
