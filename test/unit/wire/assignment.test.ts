import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AssignmentKind } from '../../../common/model/assignment.ts';
import { decodeAssignmentChange, encodeAssignmentChange } from '../../../common/wire/assignment.ts';
import { encodeObject } from '../../../common/wire/object.ts';
import { assignmentArbitraries, assignmentChange } from '../../support/arbitraries.ts';
import { aTask } from '../../support/builders.ts';

describe('assignment changes on the wire', () => {
  test.each(Object.keys(assignmentArbitraries) as AssignmentKind[])(
    'a change of a %s survives encoding',
    (kind) => {
      fc.assert(
        fc.property(assignmentChange(kind), (change) => {
          expect(decodeAssignmentChange(encodeAssignmentChange(change))).toStrictEqual(change);
        }),
        { numRuns: 60 },
      );
    },
  );

  test('a task whose encoding is at hand is sent as that', () => {
    const [item, other] = [aTask(), aTask()];
    const encoded = encodeObject('task', other);
    const change = { action: 'set', kind: 'task', key: item.id, item, encoded } as const;
    expect(decodeAssignmentChange(encodeAssignmentChange(change))).toMatchObject({ item: other });
  });

  test('an item goes by its own key only', () => {
    const change = { action: 'set', kind: 'task', key: 'other', item: aTask() } as const;
    expect(() => encodeAssignmentChange(change)).toThrow("assignment key 'other' is not the key");
  });

  test('an empty change is refused', () => {
    expect(() => decodeAssignmentChange(new Uint8Array(0))).toThrow(
      expect.objectContaining({ code: 'data-loss' }),
    );
  });
});
