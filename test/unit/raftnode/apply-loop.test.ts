import { describe, expect, test } from 'vitest';
import { type Entry, message } from '../../../manager/raft/types.ts';
import { ApplyLoop } from '../../../manager/raftnode/apply-loop.ts';
import type { StateMachine } from '../../../manager/raftnode/node-options.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

function entries(from: number, to: number): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i): Entry => {
    return { index: from + i, term: 1, type: 'normal', data: Buffer.from([from + i]) };
  });
}

/** A loop over a state machine that takes `entryMs` for each entry. */
function setUp(entryMs: number) {
  const clock = new FakeClock();
  const events: string[] = [];
  let spentMs = 0;
  const slow = Object.assign(Object.create(clock) as FakeClock, {
    monotonicMs: () => clock.monotonicMs() + spentMs,
    sleep: (delayMs: number) => clock.sleep(delayMs),
  });
  const stateMachine: StateMachine = {
    apply: (index) => {
      spentMs += entryMs;
      events.push(`${index}`);
    },
    snapshot: () => [],
    restore: async (_chunks, index) => {
      events.push(`restore ${index}`);
    },
  };
  const loop = new ApplyLoop(stateMachine, slow, 0, {
    applied: () => {},
    applyConfChange: ({ index }) => events.push(`conf change ${index}`),
    finished: ({ entries: done }) => events.push(`finished ${done.at(-1)!.index}`),
    restored: () => {},
    failed: (err) => events.push(`failed ${String(err)}`),
  });
  return { clock, events, loop };
}

describe('apply loop', () => {
  test('gives way after 3 ms of work, in the midst of a message', async () => {
    const { clock, events, loop } = setUp(1);
    loop.push(message({ type: 'storage-apply', entries: entries(1, 8) }));
    await settle();
    expect(events).toEqual(['1', '2', '3']);
    expect(loop.appliedIndex).toBe(3);
    clock.setTimer(0, () => events.push('other work'));
    await clock.advance(0);
    await settle();
    expect(events.slice(3)).toEqual(['4', '5', '6', 'other work', '7', '8', 'finished 8']);
  });

  test('applies nothing within the turn of whoever hands it over', async () => {
    const { events, loop } = setUp(0);
    loop.push(message({ type: 'storage-apply', entries: entries(1, 1) }));
    expect(events).toEqual([]);
    await settle();
    expect(events).toEqual(['1', 'finished 1']);
  });

  test('keeps the order of messages, conf changes and restores', async () => {
    const { events, loop } = setUp(0);
    const change: Entry = { ...entries(3, 3)[0]!, type: 'conf-change' };
    loop.push(message({ type: 'storage-apply', entries: [...entries(1, 2), change] }));
    const metadata = { confState: {} as never, index: 9, term: 1 };
    loop.restore({ data: new Uint8Array(0), metadata }, (async function* () {})());
    loop.push(message({ type: 'storage-apply', entries: entries(10, 10) }));
    await settle();
    expect(events).toEqual([
      '1',
      '2',
      'conf change 3',
      'finished 3',
      'restore 9',
      '10',
      'finished 10',
    ]);
    expect(loop.appliedIndex).toBe(10);
  });

  test('ends after the slice at hand, and answers nothing of what is left', async () => {
    const { clock, events, loop } = setUp(1);
    loop.push(message({ type: 'storage-apply', entries: entries(1, 8) }));
    await settle();
    const stopped = loop.stop();
    await clock.advance(0);
    await stopped;
    expect(events).toEqual(['1', '2', '3']);
  });

  test('a state machine that throws ends the node', async () => {
    const { events, loop } = setUp(0);
    const bad: Entry = { index: 1, term: 1, type: 'normal', data: Buffer.from([1]) };
    Object.defineProperty(bad, 'data', {
      get: () => {
        throw new Error('damaged');
      },
    });
    loop.push(message({ type: 'storage-apply', entries: [bad] }));
    await settle();
    expect(events).toEqual(['failed Error: damaged']);
  });
});
