/** Netlink sockets by which nothing can be read, and how many of them were closed. */
import { vi } from 'vitest';
import { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { ChangeWatch } from '../../worker/network/change-watch.ts';

/** Until `vi.restoreAllMocks`. @param openable how many sockets can be opened before the descriptors are used up */
export function deafSockets(openable: number): { opened: number; closed: number } {
  const state = { opened: 0, closed: 0 };
  const socket = {
    transact: () => Promise.reject(new Error('no answer')),
    dump: () => Promise.reject(new Error('no answer')),
    suspect: () => true,
    close: async () => {
      state.closed++;
    },
  };
  const open = async () => {
    if (state.opened === openable) throw new Error('too many open files');
    state.opened++;
    return socket;
  };
  vi.spyOn(NetlinkSocket, 'open').mockImplementation(open as unknown as typeof NetlinkSocket.open);
  vi.spyOn(ChangeWatch, 'open').mockImplementation(open as unknown as typeof ChangeWatch.open);
  return state;
}
