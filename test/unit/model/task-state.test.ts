import { describe, expect, test } from 'vitest';
import {
  compareDesiredStates,
  type DesiredState,
  isAfter,
  isBefore,
  isTerminal,
  TASK_STATES,
  type TaskState,
} from '../../../common/model/task-state.ts';

const ENDED: readonly TaskState[] = [
  'complete',
  'shutdown',
  'failed',
  'rejected',
  'remove',
  'orphaned',
];

describe('task states', () => {
  test('come in the order of a life', () => {
    expect(TASK_STATES).toEqual([
      'new',
      'pending',
      'assigned',
      'accepted',
      'preparing',
      'ready',
      'starting',
      'running',
      'complete',
      'shutdown',
      'failed',
      'rejected',
      'remove',
      'orphaned',
    ]);
  });

  test('are each before, equal to or after another, and never two of these', () => {
    for (const [i, a] of TASK_STATES.entries()) {
      for (const [j, b] of TASK_STATES.entries()) {
        expect([isBefore(a, b), isAfter(a, b)]).toEqual([i < j, i > j]);
      }
    }
  });

  test.each(TASK_STATES.map((state) => [state, ENDED.includes(state)] as const))(
    '%s has ended: %s',
    (state, ended) => {
      expect(isTerminal(state)).toBe(ended);
    },
  );

  test('desired states grow from ready to remove', () => {
    const desired: DesiredState[] = ['remove', 'running', 'shutdown', 'ready', 'complete'];
    expect(desired.sort(compareDesiredStates)).toEqual([
      'ready',
      'running',
      'complete',
      'shutdown',
      'remove',
    ]);
  });
});
