import { afterEach, expect, test, vi } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { HostSide } from '../../../worker/network/host-side.ts';
import { Ipv4Forwarding } from '../../../worker/network/ipv4-forwarding.ts';
import { deafSockets } from '../../support/deaf-sockets.ts';

const OPTIONS = {
  vtepAddress: '172.30.0.1',
  gatewayPools: [],
  localSubnets: () => [],
  forwarding: new Ipv4Forwarding('/nowhere'),
  forward6File: '/nowhere',
  random: new SeededRandom(1),
};

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  [2, 'no answer'],
  [1, 'too many open files'],
])('of a host side that cannot be opened all %i sockets are closed: %s', async (openable, why) => {
  const sockets = deafSockets(openable);
  await expect(HostSide.open(OPTIONS)).rejects.toThrow(why);
  expect(sockets.closed).toBe(openable);
});
