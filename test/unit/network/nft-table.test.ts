import { expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import type { NetlinkSocket } from '../../../native/ffi/net/sockets.ts';
import { HostRules } from '../../../worker/network/host-rules.ts';

test('of a table that was never written all is told to be lacking', async () => {
  const socket = { dump: async () => [] } as unknown as NetlinkSocket;
  const rules = new HostRules(socket, new SeededRandom(1));
  const lacking = await rules.differences();
  expect(lacking).toContainEqual({ what: 'chain prerouting', wanted: 'there', found: null });
});
