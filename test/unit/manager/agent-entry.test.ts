import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { asId, type NodeId } from '../../../common/model/ids.ts';
import type { AgentMessage, DispatcherMessage } from '../../../common/model/session.ts';
import type { RpcStream } from '../../../common/rpc/stream.ts';
import { AgentEntry } from '../../../manager/agent-entry.ts';
import type { Dispatcher } from '../../../manager/dispatcher/dispatcher.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const peer = {
  nodeId: asId<NodeId>('node-1'),
  role: 'worker' as const,
  clusterId: 'cluster',
  address: '10.0.0.7',
};

function scene() {
  const clock = new FakeClock();
  const served: string[] = [];
  const state: { dispatcher: Pick<Dispatcher, 'serve'> | undefined; follows: boolean } = {
    dispatcher: undefined,
    follows: false,
  };
  const entry = new AgentEntry({
    dispatcher: () => state.dispatcher,
    isFollower: () => state.follows,
    notLeader: (action) => new SkepError('not-leader', `${action}: refused`),
    clock,
  });
  const lead = (): void => {
    state.dispatcher = { serve: async (nodeId, from) => void served.push(`${nodeId} ${from}`) };
  };
  const gone = new AbortController();
  const stream = {} as RpcStream<AgentMessage, DispatcherMessage>;
  const come = (nodeId: NodeId | null = peer.nodeId): Promise<string> =>
    entry.serve(stream, { peer: { ...peer, nodeId }, signal: gone.signal }).then(
      () => 'served',
      (err: SkepError) => err.code ?? String(err),
    );
  return { clock, served, state, lead, come, gone };
}

describe('agent entry', () => {
  test('serves by the dispatcher of a leader', async () => {
    const it = scene();
    it.lead();
    expect(await it.come()).toBe('served');
    expect(it.served).toEqual(['node-1 10.0.0.7']);
  });

  test('of a follower refuses at once', async () => {
    const it = scene();
    it.state.follows = true;
    expect(await it.come()).toBe('not-leader');
  });

  test('refuses who has no certificate', async () => {
    const it = scene();
    it.lead();
    expect(await it.come(null)).toBe('unauthenticated');
    expect(it.served).toEqual([]);
  });

  test('lets agents wait while nobody leads, all by one timer', async () => {
    const it = scene();
    const coming = [it.come(), it.come(), it.come()];
    await it.clock.advance(1_000);
    expect(it.clock.pending).toBe(1);
    it.lead();
    await it.clock.advance(50);
    expect(await Promise.all(coming)).toEqual(['served', 'served', 'served']);
    expect(it.clock.pending).toBe(0);
  });

  test('refuses those who wait as soon as another manager leads, or after 3 s', async () => {
    const it = scene();
    const first = it.come();
    await it.clock.advance(1_000);
    it.state.follows = true;
    await it.clock.advance(50);
    expect(await first).toBe('not-leader');
    it.state.follows = false;
    let answer = '';
    void it.come().then((code) => {
      answer = code;
    });
    await it.clock.advance(2_950);
    expect(answer).toBe('');
    await it.clock.advance(50);
    expect(answer).toBe('not-leader');
  });

  test('does not serve who went away meanwhile', async () => {
    const it = scene();
    const coming = it.come();
    await it.clock.advance(10);
    it.gone.abort(new SkepError('cancelled', 'gone'));
    it.lead();
    await it.clock.advance(50);
    expect(await coming).toBe('cancelled');
    expect(it.served).toEqual([]);
  });
});
