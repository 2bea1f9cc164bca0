import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AssignmentChange } from '../../../common/model/assignment.ts';
import type { ConfigId } from '../../../common/model/ids.ts';
import { messageParts } from '../../../manager/dispatcher/message-parts.ts';
import { idOf } from '../../support/builders.ts';

const KIB = 1024;

function aFile(bytes: number, i = 0): AssignmentChange {
  const id = idOf<ConfigId>(`c${i}x`);
  const item = { id, name: 'config', data: new Uint8Array(bytes), templateDriver: '' } as const;
  return { action: 'set', kind: 'config', key: id, item };
}

const files = (sizes: readonly number[]): AssignmentChange[] => sizes.map(aFile);
const removals = (count: number): AssignmentChange[] =>
  Array.from({ length: count }, (_, i) => ({ action: 'remove', kind: 'task', key: `t${i}` }));

describe('message parts', () => {
  test.each<[string, AssignmentChange[], number[]]>([
    ['are one for nothing', [], [0]],
    ['are one for what is larger alone', files([2_000 * KIB]), [1]],
    ['hold 100 changes', removals(250), [100, 100, 50]],
    ['hold 1 MiB', files([500 * KIB, 500 * KIB, 500 * KIB]), [2, 1]],
    ['hold what is larger alone', files([1, 2_000 * KIB, 1]), [1, 1, 1]],
    ['are cut for either reason', [...removals(99), ...files([600 * KIB, 600 * KIB])], [100, 1]],
  ])('%s', (_what, changes, lengths) => {
    expect(messageParts(changes).map(({ length }) => length)).toEqual(lengths);
  });

  test('are together what was cut, in its order; none of several is empty', () => {
    const size = fc.constantFrom(0, 10, 300 * KIB, 1_000 * KIB);
    fc.assert(
      fc.property(fc.array(size, { maxLength: 30 }), fc.nat(300), (sizes, removed) => {
        const changes = [...files(sizes), ...removals(removed)];
        const parts = messageParts(changes);
        expect(parts.flat()).toStrictEqual(changes);
        if (parts.length > 1) expect(parts.every(({ length }) => length > 0)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });
});
