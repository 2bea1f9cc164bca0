/** What a leader keeps of a member: the window of messages under way, and the three states. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Inflights } from '../../../manager/raft/inflights.ts';
import { Progress } from '../../../manager/raft/progress.ts';

const LIMITS = { maxInflightMessages: 3, maxInflightBytes: 100 };

function progress(match: number, next: number): Progress {
  return new Progress({ match, next, isLearner: false, recentActive: true, limits: LIMITS });
}

describe('raft inflight window', () => {
  test('behaves like a list of what is not acknowledged', () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), bytes: fc.nat(40) }),
      fc.record({ kind: fc.constant('free' as const), back: fc.nat(6) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.array(action), (maxMessages, actions) => {
        const window = new Inflights(maxMessages, 100);
        let model: { index: number; bytes: number }[] = [];
        let index = 0;
        for (const one of actions) {
          if (one.kind === 'free') {
            window.freeUpTo(index - one.back);
            model = model.filter((sent) => sent.index > index - one.back);
          } else if (!window.full) {
            index++;
            window.add(index, one.bytes);
            model.push({ index, bytes: one.bytes });
          }
          const bytes = model.reduce((sum, sent) => sum + sent.bytes, 0);
          expect(window.count).toBe(model.length);
          expect(window.full).toBe(model.length === maxMessages || bytes >= 100);
        }
      }),
    );
  });

  test('takes nothing when full', () => {
    const window = new Inflights(1, 100);
    window.add(1, 1);
    expect(() => window.add(2, 1)).toThrow('full');
  });
});

describe('raft progress', () => {
  test('probing sends one append and waits', () => {
    const peer = progress(4, 8);
    peer.sentEntries(2, 10);
    expect([peer.paused, peer.next]).toEqual([true, 8]);
  });

  test('replicating runs ahead until the window is full', () => {
    const peer = progress(4, 8);
    peer.becomeReplicate();
    expect(peer.next).toBe(5);
    for (let i = 0; i < 3; i++) peer.sentEntries(2, 10);
    expect([peer.paused, peer.next]).toEqual([true, 11]);
    peer.acked(6);
    peer.freeInflightsUpTo(6);
    expect([peer.paused, peer.inflightsFull, peer.match]).toEqual([false, false, 6]);
  });

  test('an old acknowledgement changes nothing', () => {
    const peer = progress(4, 8);
    expect(peer.acked(4)).toBe(false);
    expect([peer.match, peer.next]).toEqual([4, 8]);
  });

  test.each([
    // state, refused index, hint, news, next
    ['probe', 7, 5, true, 6],
    ['probe', 7, 2, true, 5],
    ['probe', 7, 9, true, 7],
    ['probe', 6, 5, false, 8],
    ['replicate', 4, 4, false, 5],
    ['replicate', 7, 4, true, 5],
  ] as const)('in %s a refusal of %i with hint %i: news %s, next %i', (...row) => {
    const [state, refused, hint, news, next] = row;
    const peer = progress(4, 8);
    if (state === 'replicate') peer.becomeReplicate();
    expect(peer.rejected(refused, hint)).toBe(news);
    expect(peer.next).toBe(next);
    expect(peer.match).toBe(4);
  });

  test('a pending snapshot stops all appends, and probing goes on after it', () => {
    const peer = progress(4, 8);
    peer.becomeSnapshot(20);
    expect([peer.paused, peer.next]).toEqual([true, 21]);
    expect(() => peer.sentEntries(1, 1)).toThrow('snapshot');
    peer.becomeProbe();
    expect([peer.state, peer.next]).toEqual(['probe', 21]);
  });

  test('after a failed snapshot probing goes on from what matches', () => {
    const peer = progress(4, 8);
    peer.becomeSnapshot(20);
    peer.snapshotFailed();
    expect([peer.state, peer.next]).toEqual(['probe', 5]);
  });

  test('tells a new commit index once', () => {
    const peer = progress(4, 8);
    peer.becomeReplicate();
    expect(peer.canBumpCommit(3)).toBe(true);
    peer.sentCommit(4);
    expect(peer.canBumpCommit(6)).toBe(false);
    peer.sentEntries(3, 3);
    expect(peer.canBumpCommit(6)).toBe(true);
  });
});
