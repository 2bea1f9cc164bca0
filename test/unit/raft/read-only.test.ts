/** Reads that wait for proof of leadership, against a list of who acknowledged which heartbeat. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ReadOnlyQueue } from '../../../manager/raft/read-only.ts';
import { message, NO_BYTES, type NodeId } from '../../../manager/raft/types.ts';

const VOTERS = { incoming: new Set([1, 2, 3, 4, 5]), outgoing: new Set<NodeId>() };

type Step =
  | { readonly kind: 'read' }
  | { readonly kind: 'heartbeat' }
  | { readonly kind: 'answer'; readonly from: NodeId; readonly beat: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('read' as const) }),
  fc.record({ kind: fc.constant('heartbeat' as const) }),
  fc.record({
    kind: fc.constant('answer' as const),
    // 6 is no voter: a learner, or one that left.
    from: fc.integer({ min: 1, max: 6 }),
    beat: fc.nat(20),
  }),
);

describe('queue of linearizable reads', () => {
  test('confirms a read once a majority answered heartbeats sent after it was asked, in order', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new ReadOnlyQueue();
        /** What each heartbeat carried, and how many reads had been asked when it left. */
        const beats: { context: Uint8Array; asked: number }[] = [];
        /** By voter: the most reads that one of its answers vouches for. */
        const vouched = new Map<NodeId, number>();
        let asked = 0;
        const confirmed: number[] = [];
        for (const one of steps) {
          if (one.kind === 'read') {
            queue.add(message({ type: 'read-index' }), asked++);
          } else if (one.kind === 'heartbeat') {
            beats.push({ context: queue.heartbeatContext(), asked });
          } else {
            const beat = beats[one.beat % Math.max(1, beats.length)];
            if (beat === undefined) continue;
            queue.acked(one.from, beat.context);
            // An empty context speaks of no read.
            const count = beat.context.length === 0 ? 0 : beat.asked;
            vouched.set(one.from, Math.max(vouched.get(one.from) ?? 0, count));
          }
          confirmed.push(...queue.takeConfirmed(VOTERS).map(({ index }) => index));
          let expected = 0;
          for (let count = 1; count <= asked; count++) {
            const voters = [...VOTERS.incoming].filter((id) => (vouched.get(id) ?? 0) >= count);
            if (voters.length >= 3) expected = count;
          }
          expect(confirmed).toEqual(Array.from({ length: expected }, (_, i) => i));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('carries nothing in heartbeats while no read waits, and takes nothing malformed', () => {
    const queue = new ReadOnlyQueue();
    expect(queue.heartbeatContext()).toBe(NO_BYTES);
    queue.add(message({ type: 'read-index' }), 7);
    expect(queue.heartbeatContext()).toHaveLength(8);
    for (const id of VOTERS.incoming) queue.acked(id, new Uint8Array(3));
    expect(queue.takeConfirmed(VOTERS)).toEqual([]);
  });
});
