/** The encoding of membership changes inside entries. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  confChange,
  confChangeV2,
  decodeConfChange,
  encodeConfChange,
  entryTypeOf,
  LEAVE_JOINT,
} from '../../../manager/raft/conf-change.ts';
import type { AnyConfChange } from '../../../manager/raft/types.ts';

const type = fc.constantFrom('add-voter', 'remove', 'update', 'add-learner');
const nodeId = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const context = fc.uint8Array({ maxLength: 40 });
const transition = fc.constantFrom('auto', 'joint-implicit', 'joint-explicit');

const v1 = fc.tuple(type, nodeId, context).map((args) => confChange(...args));
const v2 = fc
  .tuple(fc.array(fc.record({ type, nodeId }), { maxLength: 5 }), transition, context)
  .map((args) => confChangeV2(...args));

function roundTrip(change: AnyConfChange): AnyConfChange {
  return decodeConfChange({ type: entryTypeOf(change), data: encodeConfChange(change) });
}

describe('raft conf change encoding', () => {
  test('decodes to what was encoded', () => {
    fc.assert(
      fc.property(fc.oneof(v1, v2), (change) => {
        const decoded = roundTrip(change);
        expect({ ...decoded, context: [...decoded.context] }).toEqual({
          ...change,
          context: [...change.context],
        });
      }),
    );
  });

  test('leaving a joint configuration takes no bytes, so no size limit refuses it', () => {
    expect(encodeConfChange(LEAVE_JOINT)).toHaveLength(0);
    expect(roundTrip(LEAVE_JOINT)).toEqual(LEAVE_JOINT);
  });

  test.each([
    ['a normal entry', 'normal', []],
    ['a cut v1', 'conf-change', [0, 0, 0]],
    ['an unknown type', 'conf-change', [9, 0, 0, 0, 0, 0, 1]],
    ['an unknown transition', 'conf-change-v2', [9, 0, 0]],
    ['a cut v2', 'conf-change-v2', [0, 0, 1, 0]],
  ] as const)('refuses %s as data loss', (_, entryType, bytes) => {
    expect(() => decodeConfChange({ type: entryType, data: new Uint8Array(bytes) })).toThrow(
      expect.objectContaining({ code: 'data-loss' }),
    );
  });

  test('refuses node ids that do not fit 48 bits', () => {
    expect(() => encodeConfChange(confChange('remove', 2 ** 48))).toThrow(RangeError);
  });
});
