import { describe, expect, test } from 'vitest';
import { type Random, SeededRandom } from '../../../common/base/random.ts';
import type { MessageBatch } from '../../../native/ffi/net/message.ts';
import type { NetlinkSocket } from '../../../native/ffi/net/sockets.ts';
import { HostRules } from '../../../worker/network/host-rules.ts';
import { TaskRules } from '../../../worker/network/task-rules.ts';

const BACKENDS = Array.from({ length: 8 }, (_, i) => `10.0.1.${11 + i}`);
const VIRTUAL_IP = '10.0.1.2';

/** How a table gets `backends` from what it had before. */
type Rules = (socket: NetlinkSocket, random: Random) => (backends: string[]) => Promise<void>;
/** What the table is in the kernel in the end, of one life of a daemon with these `steps`. */
async function lifeOf(rules: Rules, seed: number, steps: readonly string[][]): Promise<string> {
  let last = '';
  const socket = {
    transact: async (batch: MessageBatch) => {
      last = batch.bytes(0).toString('hex');
      return [];
    },
  } as unknown as NetlinkSocket;
  const step = rules(socket, new SeededRandom(seed));
  for (const backends of steps) await step(backends);
  return last;
}

const hostRules =
  (clientAffinity: boolean): Rules =>
  (socket, random) => {
    const rules = new HostRules(socket, random);
    const target = { kind: 'service', serviceId: 'web', targetPort: 80, clientAffinity } as const;
    let ports = new Map([['tcp/8080', target]]);
    return async (backends) => {
      await rules.set(new Map([['web', new Set(backends)]]), ports);
      ports = new Map(); // told once
      await rules.rebuild();
    };
  };

const taskRules =
  (clientAffinity: boolean): Rules =>
  (socket, random) => {
    const rules = new TaskRules(socket, random);
    const sticky = new Set(clientAffinity ? [VIRTUAL_IP] : []);
    return async (backends) => {
      await rules.set(new Map([[VIRTUAL_IP, new Set(backends)]]), sticky);
      await rules.rebuild();
    };
  };

describe.each([
  ['published ports', hostRules],
  ['virtual IPs', taskRules],
])('of %s', (_, rulesOf) => {
  const lives = (clientAffinity: boolean) =>
    Promise.all([
      lifeOf(rulesOf(clientAffinity), 1, [BACKENDS]),
      lifeOf(rulesOf(clientAffinity), 2, [BACKENDS.slice(3).reverse(), BACKENDS]),
    ]);

  test('clients that stay with their task have the same one on every host and after every start', async () => {
    const [first, other] = await lives(true);
    expect(other).toBe(first);
  });

  test('others begin anywhere', async () => {
    const [first, other] = await lives(false);
    expect(other).not.toBe(first);
  });
});
