import { describe, expect, test } from 'vitest';
import type { Network } from '../../../common/model/network.ts';
import { overlapProblem } from '../../../common/model/network-overlap.ts';
import { aNetwork, aNetworkSpec } from '../../support/builders.ts';

const configsOf = (subnets: readonly string[]) =>
  subnets.map((subnet) => ({ subnet, gateway: '', range: '', reserved: {} }));

/** As the allocator made it. */
const given = (name: string, ...subnets: string[]): Network =>
  aNetwork({ spec: aNetworkSpec({ name }), ipam: configsOf(subnets) });

/** As it was asked for, and not allocated yet. */
const asked = (name: string, ...subnets: string[]): Network =>
  aNetwork({
    spec: aNetworkSpec({
      name,
      ipam: { driver: 'default', options: {}, configs: configsOf(subnets) },
    }),
  });

describe('networks of one task', () => {
  test.each<[string, readonly Network[]]>([
    ['one that is alone', [given('a', '10.1.0.0/24')]],
    ['neighbours', [given('a', '10.1.0.0/24'), given('b', '10.1.1.0/24')]],
    ['those without addresses yet', [asked('a'), asked('b', '')]],
    [
      'what is no subnet',
      [given('a', '10.1.0.0/24'), asked('b', 'x', '10.1.0.0/x', '10.1.0.0/33')],
    ],
    ['IPv6 subnets', [given('a', '10.1.0.0/24', 'fd00::/64'), given('b', 'fd00::/48')]],
    [
      'those whose nodes give the addresses',
      [
        given('a', '10.1.0.0/24'),
        { ...given('b', '10.1.0.0/24'), spec: aNetworkSpec({ name: 'b', driver: 'macvlan' }) },
      ],
    ],
  ])('may be %s', (_, networks) => {
    expect(overlapProblem(networks)).toBeNull();
  });

  test.each<[string, readonly Network[], string]>([
    [
      'equal',
      [given('a', '10.1.0.0/24'), given('b', '10.1.0.0/24')],
      '10.1.0.0/24 and 10.1.0.0/24',
    ],
    [
      'wider',
      [given('a', '10.1.9.0/24'), given('b', '10.1.0.0/16')],
      '10.1.9.0/24 and 10.1.0.0/16',
    ],
    [
      'narrower',
      [asked('a', '10.0.0.0/8'), given('b', '10.1.0.0/16')],
      '10.0.0.0/8 and 10.1.0.0/16',
    ],
    [
      'the second of several',
      [given('a', '10.1.0.0/24', '10.2.0.0/24'), asked('b', '10.3.0.0/24', '10.2.0.128/25')],
      '10.2.0.0/24 and 10.2.0.128/25',
    ],
  ])('whose subnets overlap (%s) are named with them', (_, networks, subnets) => {
    expect(overlapProblem(networks)).toBe(
      `networks a and b: their subnets ${subnets} overlap, no container can be in both`,
    );
  });

  test('are told which of them the published ports need', () => {
    const ingress = {
      ...given('mesh', '10.0.0.0/24'),
      spec: aNetworkSpec({ name: 'mesh', ingress: true }),
    };
    expect(overlapProblem([given('a', '10.0.0.0/16'), ingress])).toContain(
      'networks a and mesh (of published ports)',
    );
  });
});
