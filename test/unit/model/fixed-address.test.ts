import { describe, expect, test } from 'vitest';
import { addressProblem, fixedAddressProblem } from '../../../common/model/fixed-address.ts';

const at = (...addresses: string[]) => [{ target: 'back', addresses }];

describe('a fixed address', () => {
  test.each<[string, ReturnType<typeof at>, number | null, (string | undefined)[]]>([
    ['no address, any number of tasks', at(), 5, ['start-first']],
    ['one replica', at('10.0.5.7'), 1, ['stop-first', undefined]],
    ['none as yet', at('10.0.5.7'), 0, []],
  ])('is possible with %s', (_, networks, replicas, orders) => {
    expect(fixedAddressProblem({ networks, replicas, orders })).toBeNull();
  });

  test.each<[ReturnType<typeof at>, number | null, (string | undefined)[], string]>([
    [at('10.0.5.7'), 2, [], 'only a service of one replica can have it, this one has 2'],
    [at('10.0.5.7'), null, [], 'this one is of another mode'],
    [at('10.0.5.7'), 1, ['stop-first', 'start-first'], 'the order must be stop-first'],
    [at('10.0.5.7', '10.0.5.8'), 1, [], '2 addresses: a task has one in each network'],
    [at('10.0.5'), 1, [], 'address 10.0.5 is not an IPv4 address'],
    [at('fd00::1'), 1, [], 'address fd00::1 is not an IPv4 address'],
    [[{ target: 'host', addresses: ['10.0.5.7'] }], 1, [], 'network host: tasks have no address'],
    [[...at('10.0.5.7'), { target: 'front', addresses: ['x'] }], 1, [], 'network front: address x'],
  ])('%j of %s replicas with the orders %j is refused: %s', (networks, replicas, orders, words) => {
    expect(fixedAddressProblem({ networks, replicas, orders })).toContain(words);
  });

  const config = { subnet: '10.0.5.0/24', gateway: '10.0.5.1', reserved: { router: '10.0.5.9' } };
  const six = { subnet: 'fd00::/64', gateway: '', reserved: {} };
  test.each([
    ['10.0.5.7', [six, config], null],
    ['10.0.6.7', [config], 'address 10.0.6.7 is not in its subnet 10.0.5.0/24'],
    ['10.0.5.1', [config], 'address 10.0.5.1 is its gateway'],
    ['10.0.5.9', [config], 'address 10.0.5.9 is reserved (router)'],
    ['10.0.5.0', [config], 'address 10.0.5.0 is that of the network itself'],
    ['10.0.5.255', [config], 'address 10.0.5.255 is its broadcast address'],
    ['10.0.5.127', [{ ...config, subnet: '10.0.5.9/25' }], 'is its broadcast address'],
    ['10.0.5.128', [{ ...config, subnet: '10.0.5.0/24' }], null],
    ['10.0.5.1', [{ ...config, gateway: '' }], 'address 10.0.5.1 is its gateway'],
    ['10.0.5.1', [{ ...config, gateway: '10.0.5.254' }], null],
    ['255.255.255.255', [{ ...config, subnet: '255.255.255.0/24' }], 'its broadcast address'],
    ['10.0.5.7', [], 'needs a subnet that was chosen'],
    ['10.0.5.7', [six], 'needs a subnet that was chosen'],
    ['10.0.5.7', [{ ...config, subnet: '10.0.5.0/99' }], 'is not in its subnet'],
  ])('%s in a network of %j: %s', (address, configs, words) => {
    const problem = addressProblem(address, 'back', configs);
    if (words === null) expect(problem).toBeNull();
    else expect(problem).toContain(words);
  });
});
