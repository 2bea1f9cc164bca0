/** Membership changes under random input: rules hold, and both ways to a membership agree. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  changeSimply,
  confStatesEqual,
  enterJoint,
  leaveJoint,
  MembershipChangeError,
  type MembershipResult,
  restoreMembership,
} from '../../../manager/raft/membership-change.ts';
import { confStateOf, NO_MEMBERS } from '../../../manager/raft/tracker.ts';
import type { ConfChangeSingle } from '../../../manager/raft/types.ts';

const LIMITS = { maxInflightMessages: 1, maxInflightBytes: 1 };
const FOUNDED: MembershipResult = restoreMembership(
  { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
  10,
  LIMITS,
);

const change: fc.Arbitrary<ConfChangeSingle> = fc.record({
  type: fc.constantFrom('add-voter', 'remove', 'update', 'add-learner'),
  nodeId: fc.integer({ min: 1, max: 6 }),
});
const changes = fc.array(change, { maxLength: 12 });

function baseOf(from: MembershipResult): Parameters<typeof changeSimply>[0] {
  return { ...from, lastIndex: 10, limits: LIMITS };
}

/** One change after another; those that are impossible are left out. */
function applyEach(from: MembershipResult, all: readonly ConfChangeSingle[]): MembershipResult {
  let current = from;
  for (const one of all) {
    try {
      current = changeSimply(baseOf(current), [one]);
    } catch (err) {
      if (!(err instanceof MembershipChangeError)) throw err;
    }
  }
  return current;
}

describe('raft membership change', () => {
  test('joint consensus ends where single steps end', () => {
    fc.assert(
      fc.property(changes, changes, (setup, wanted) => {
        const start = applyEach(FOUNDED, setup);
        let joint: MembershipResult;
        try {
          joint = enterJoint(baseOf(start), false, wanted);
        } catch (err) {
          if (!(err instanceof MembershipChangeError)) throw err;
          return;
        }
        const viaJoint = leaveJoint(baseOf(joint));
        // A helper voter lets every order of single steps pass without emptying the voters.
        const helped = changeSimply(baseOf(start), [{ type: 'add-voter', nodeId: 99 }]);
        const stepped = applyEach(helped, [...wanted, { type: 'remove', nodeId: 99 }]);
        expect(confStateOf(viaJoint.membership)).toEqual(confStateOf(stepped.membership));
        expect([...viaJoint.progress.keys()].sort()).toEqual([...stepped.progress.keys()].sort());
      }),
    );
  });

  test('a membership can be made again from its ConfState, joint or not', () => {
    fc.assert(
      fc.property(changes, changes, fc.boolean(), (setup, wanted, autoLeave) => {
        const start = applyEach(FOUNDED, setup);
        let current = start;
        try {
          current = enterJoint(baseOf(start), autoLeave, wanted);
        } catch (err) {
          if (!(err instanceof MembershipChangeError)) throw err;
        }
        const confState = confStateOf(current.membership);
        const restored = restoreMembership(confState, 10, LIMITS);
        expect(confStatesEqual(confStateOf(restored.membership), confState)).toBe(true);
      }),
    );
  });

  test('an impossible change leaves what it started from untouched', () => {
    const before = JSON.stringify(confStateOf(FOUNDED.membership));
    expect(() => changeSimply(baseOf(FOUNDED), [{ type: 'remove', nodeId: 1 }])).toThrow(
      MembershipChangeError,
    );
    expect(JSON.stringify(confStateOf(FOUNDED.membership))).toBe(before);
    expect([...FOUNDED.progress.keys()]).toEqual([1]);
  });

  test.each([
    ['two voters at once', [2, 3].map((nodeId) => ({ type: 'add-voter' as const, nodeId }))],
    ['the last voter removed', [{ type: 'remove' as const, nodeId: 1 }]],
    ['the last voter demoted', [{ type: 'add-learner' as const, nodeId: 1 }]],
  ])('the simple protocol refuses: %s', (_, wanted) => {
    expect(() => changeSimply(baseOf(FOUNDED), wanted)).toThrow(MembershipChangeError);
  });

  test('the empty membership accepts its first voter', () => {
    const base = { membership: NO_MEMBERS, progress: new Map(), lastIndex: 0, limits: LIMITS };
    const { membership } = changeSimply(base, [{ type: 'add-voter', nodeId: 7 }]);
    expect(confStateOf(membership).voters).toEqual([7]);
  });
});
