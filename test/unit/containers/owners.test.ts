import { describe, expect, test } from 'vitest';
import { mappedOwners, SAME_OWNERS } from '../../../worker/containers/owners.ts';

const uids = [
  { containerID: 0, hostID: 1000, size: 10 },
  { containerID: 10, hostID: 5000, size: 10 },
];
const gids = [{ containerID: 0, hostID: 2000, size: 20 }];

describe('owners of files of a container with a user namespace', () => {
  const owners = mappedOwners(uids, gids);

  test.each([
    [
      [0, 0],
      [1000, 2000],
    ],
    [
      [9, 19],
      [1009, 2019],
    ],
    [
      [10, 0],
      [5000, 2000],
    ],
  ] as const)('%j inside is %j outside', ([uid, gid], [hostUid, hostGid]) => {
    expect(owners.outside(uid, gid)).toEqual([hostUid, hostGid]);
    expect(owners.inside(hostUid, hostGid)).toEqual([uid, gid]);
  });

  test('what has no place is nobody’s inside, and of its root outside', () => {
    expect(owners.inside(0, 1)).toEqual([65_534, 65_534]);
    expect(owners.outside(20, 20)).toEqual([1000, 2000]);
  });

  test('without one they are the same', () => {
    expect(SAME_OWNERS.inside(5, 6)).toEqual([5, 6]);
    expect(SAME_OWNERS.outside(5, 6)).toEqual([5, 6]);
  });
});
