import { afterEach, expect, test, vi } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { NetlinkSocket } from '../../../native/ffi/net/sockets.ts';
import { HostSide } from '../../../worker/network/host-side.ts';

const OPTIONS = {
  vtepAddress: '172.30.0.1',
  gatewayPools: [],
  localSubnets: () => [],
  forwardFile: '/nowhere',
  random: new SeededRandom(1),
};

afterEach(() => {
  vi.restoreAllMocks();
});

/** Sockets by which nothing can be read; `closed` counts. */
function deafSockets(openable: number): { closed: number } {
  const state = { closed: 0 };
  const socket = {
    transact: () => Promise.reject(new Error('no answer')),
    close: async () => {
      state.closed++;
    },
  } as unknown as NetlinkSocket;
  let opened = 0;
  vi.spyOn(NetlinkSocket, 'open').mockImplementation(async () => {
    if (opened++ < openable) return socket;
    throw new Error('too many open files');
  });
  return state;
}

test.each([
  [2, 'no answer'],
  [1, 'too many open files'],
])('of a host side that cannot be opened all %i sockets are closed: %s', async (openable, why) => {
  const sockets = deafSockets(openable);
  await expect(HostSide.open(OPTIONS)).rejects.toThrow(why);
  expect(sockets.closed).toBe(openable);
});
