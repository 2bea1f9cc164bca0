import { describe, expect, test } from 'vitest';
import { leaveRefusal } from '../../../daemon/leave-refusal.ts';

const voters = (reachable: number, silent: number) => [
  ...Array.from({ length: reachable }, () => ({ reachable: true })),
  ...Array.from({ length: silent }, () => ({ reachable: false })),
];

const LAST = 'Removing the last manager erases all current state of the swarm.';
const QUORUM = 'Without a Raft quorum your swarm will be inaccessible.';

describe('a manager that is to leave', () => {
  test('that is the last one is told that all is lost, and nothing of a way back', () => {
    const { code, message } = leaveRefusal(voters(1, 0));
    expect(code).toBe('unavailable');
    expect(message).toContain(LAST);
    expect(message).not.toContain('--force-new-cluster');
  });

  test.each([
    [2, 0, 1, 2],
    [2, 1, 1, 3],
    [3, 1, 2, 4],
    [3, 2, 2, 5],
    [1, 2, 0, 3],
    [0, 2, 0, 2],
  ])(
    'of %d that are reachable and %d that are not is told that the quorum goes',
    (reachable, silent, left, all) => {
      const { message } = leaveRefusal(voters(reachable, silent));
      expect(message).toContain(
        `Removing this node leaves ${left} managers out of ${all}. ${QUORUM}`,
      );
      expect(message).toContain('Use `--force` to suppress this message.');
    },
  );

  test.each([
    [3, 0],
    [4, 1],
    [5, 0],
  ])(
    'of %d that are reachable and %d that are not is told of the danger in general',
    (reachable, silent) => {
      const { message } = leaveRefusal(voters(reachable, silent));
      expect(message).not.toContain(QUORUM);
      expect(message).not.toContain(LAST);
      expect(message).toContain('--force-new-cluster');
    },
  );

  test('without a leader is told that nobody knows', () => {
    expect(leaveRefusal(null).message).toContain(
      'may lose the consensus of your cluster. The only',
    );
  });
});
