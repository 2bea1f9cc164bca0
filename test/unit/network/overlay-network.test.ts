import { afterEach, expect, test, vi } from 'vitest';
import { OverlayNetwork, type OverlayParts } from '../../../worker/network/overlay-network.ts';
import { deafSockets } from '../../support/deaf-sockets.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  [3, 'no answer'],
  [2, 'too many open files'],
  [1, 'too many open files'],
])('of a network that cannot be taken up all %i sockets are closed: %s', async (openable, why) => {
  const sockets = deafSockets(openable);
  await expect(OverlayNetwork.adopt({ pin: '/nowhere' } as OverlayParts)).rejects.toThrow(why);
  expect(sockets.closed).toBe(openable);
});
