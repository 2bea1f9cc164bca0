import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { type Message, message } from '../../../manager/raft/types.ts';
import { type LinkStream, PeerLink } from '../../../manager/raftnode/peer-link.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

function heartbeat(commit: number): Message {
  return message({ type: 'heartbeat', commit });
}

/** An append without entries. */
function news(commit: number): Message {
  return message({ type: 'append', commit });
}

function append(bytes: number): Message {
  const data = new Uint8Array(bytes);
  return message({ type: 'append', entries: [{ index: 1, term: 1, type: 'normal', data }] });
}

/** A link over streams that the test accepts, stalls and breaks. */
function setUp() {
  const clock = new FakeClock();
  const sent: number[][] = [];
  const state = { opened: 0, unreachable: 0, refuse: false, stall: false };
  let breakStream: () => void = () => {};
  let drain: () => void = () => {};
  const link = new PeerLink({
    raftId: 2,
    address: '10.0.0.2:2377',
    clock,
    random: new SeededRandom(1),
    log: silentLogger,
    open: async (): Promise<LinkStream> => {
      state.opened++;
      if (state.refuse) throw new Error('refused');
      return {
        write: (batch) => {
          sent.push(batch.map(({ commit }) => commit));
          return !state.stall;
        },
        drained: () =>
          new Promise<void>((resolve) => {
            drain = resolve;
          }),
        ended: new Promise<void>((resolve) => {
          breakStream = resolve;
        }),
        cancel: () => breakStream(),
      };
    },
    unreachable: () => state.unreachable++,
  });
  return { clock, sent, state, link, breakStream: () => breakStream(), drain: () => drain() };
}

describe('link to a peer', () => {
  test('opens its stream at the first message and sends in batches', async () => {
    const { link, sent, state } = setUp();
    expect(state.opened).toBe(0);
    link.send(heartbeat(1));
    link.send(heartbeat(2));
    await settle();
    link.send(heartbeat(3));
    await settle();
    expect(sent).toEqual([[1, 2], [3]]);
    expect(state.opened).toBe(1);
    await link.stop();
  });

  test('splits what is large', async () => {
    const { link, sent } = setUp();
    for (let i = 0; i < 5; i++) link.send(append(100_000));
    await settle();
    expect(sent.map((batch) => batch.length)).toEqual([2, 2, 1]);
    await link.stop();
  });

  test('news of a commit wait a moment for entries that tell as much', async () => {
    const { clock, link, sent } = setUp();
    link.send(news(4));
    await settle();
    expect(sent).toEqual([]);
    link.send(append(10));
    await settle();
    expect(sent).toEqual([[0]]);
    link.send(news(5));
    link.send(news(6));
    await clock.advance(2);
    await settle();
    expect(sent).toEqual([[0], [6]]);
    await link.stop();
  });

  test('drops and reports when the peer does not keep up, and never waits', async () => {
    const { link, sent, state } = setUp();
    state.stall = true;
    for (let i = 0; i < 40; i++) link.send(append(1_000_000));
    expect(state.unreachable).toBeGreaterThan(20);
    await settle();
    const before = state.unreachable;
    for (let i = 0; i < 2000; i++) link.send(heartbeat(i));
    expect(state.unreachable - before).toBeGreaterThan(900);
    expect(sent.length).toBe(1);
    await link.stop();
  });

  test('goes on with what waits as soon as the stream takes more', async () => {
    const { link, sent, state, drain } = setUp();
    state.stall = true;
    link.send(heartbeat(1));
    await settle();
    link.send(heartbeat(2));
    link.send(heartbeat(3));
    await settle();
    expect(sent).toEqual([[1]]);
    state.stall = false;
    drain();
    await settle();
    expect(sent).toEqual([[1], [2, 3]]);
    await link.stop();
  });

  test('sends at the end of the turn, before what is done after it', async () => {
    const { link, sent } = setUp();
    link.send(heartbeat(1));
    await settle();
    link.send(heartbeat(2));
    const later = Promise.resolve().then(() => sent.length);
    expect(sent).toHaveLength(1);
    expect(await later).toBe(2);
    await link.stop();
  });

  test('takes nothing while the peer is down, and then only what is fresh', async () => {
    const { clock, link, sent, state } = setUp();
    state.refuse = true;
    link.send(heartbeat(1));
    await settle();
    expect(state.unreachable).toBe(1);
    state.refuse = false;
    await clock.advance(0.001);
    link.send(heartbeat(2));
    expect(state.unreachable).toBe(2);
    await clock.advance(500);
    link.send(heartbeat(3));
    await settle();
    expect(sent).toEqual([[3]]);
    await link.stop();
  });

  test('does not wait any more when the peer was heard', async () => {
    const { link, sent, state } = setUp();
    state.refuse = true;
    link.send(heartbeat(1));
    await settle();
    state.refuse = false;
    link.retryNow();
    link.send(heartbeat(2));
    await settle();
    expect(sent).toEqual([[2]]);
    await link.stop();
  });

  test('opens again after its stream ended', async () => {
    const { clock, link, sent, state, breakStream } = setUp();
    link.send(heartbeat(1));
    await settle();
    breakStream();
    await settle();
    expect(state.unreachable).toBe(1);
    await clock.advance(500);
    link.send(heartbeat(2));
    await settle();
    expect(sent).toEqual([[1], [2]]);
    await link.stop();
  });

  test('greets with an empty batch', async () => {
    const { link, sent } = setUp();
    link.greet();
    await settle();
    expect(sent).toEqual([[]]);
    await link.stop();
  });
});
