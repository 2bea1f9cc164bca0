import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import type { NetlinkSocket } from '../../../native/ffi/net/sockets.ts';
import { HostRules } from '../../../worker/network/host-rules.ts';

test('of a table that was never written all is told to be lacking', async () => {
  const socket = {
    dumpEach: async (requests: readonly unknown[]) => requests.map(() => []),
  } as unknown as NetlinkSocket;
  const rules = new HostRules(socket, new SeededRandom(1));
  const lacking = await rules.differences();
  expect(lacking).toContainEqual({ what: 'chain prerouting', wanted: 'there', found: null });
});

describe('a table that was taken away', () => {
  /** Counts what is sent to the kernel. */
  function aTable() {
    let sent = 0;
    const socket = {
      transact: async () => {
        sent++;
        return [];
      },
    } as unknown as NetlinkSocket;
    return { rules: new HostRules(socket, new SeededRandom(1)), sent: () => sent };
  }
  const step = (rules: HostRules, address: string) =>
    rules.set(new Map([['web', new Set([address])]]), new Map());

  test('does not come back with the next step, and does with what it then remembers', async () => {
    const { rules, sent } = aTable();
    await rules.rebuild();
    await step(rules, '10.0.0.11');
    expect(sent()).toBe(2);
    await rules.remove();
    await step(rules, '10.0.0.12');
    expect(sent()).toBe(3);
    expect(rules.stale).toBe(false);
    await rules.rebuild();
    expect([...rules.services]).toEqual(['web']);
    expect(sent()).toBe(4);
  });
});
