import { describe, expect, test } from 'vitest';
import {
  type DesiredState,
  TASK_STATES,
  type TaskState,
} from '../../../common/model/task-state.ts';
import {
  nextStep,
  STATE_AFTER,
  type Step,
  stateAfterFailure,
} from '../../../worker/agent/task-steps.ts';

const ENDED: readonly TaskState[] = [
  'complete',
  'shutdown',
  'failed',
  'rejected',
  'remove',
  'orphaned',
];

describe('next step of a task', () => {
  test.each<[TaskState, DesiredState, Step]>([
    ['new', 'running', 'accept'],
    ['pending', 'running', 'accept'],
    ['assigned', 'ready', 'accept'],
    ['assigned', 'running', 'accept'],
    ['accepted', 'ready', 'begin-preparing'],
    ['accepted', 'running', 'begin-preparing'],
    ['preparing', 'ready', 'prepare'],
    ['preparing', 'running', 'prepare'],
    ['ready', 'ready', 'rest'],
    ['ready', 'running', 'begin-starting'],
    ['ready', 'complete', 'begin-starting'],
    ['starting', 'running', 'start'],
    ['starting', 'complete', 'start'],
    ['running', 'running', 'wait'],
    ['running', 'complete', 'wait'],
  ])('%s, wanted %s: %s', (state, desired, step) => {
    expect(nextStep(state, desired)).toBe(step);
  });

  test.each(
    TASK_STATES.filter((state) => !ENDED.includes(state)).flatMap((state) => [
      [state, 'shutdown'] as const,
      [state, 'remove'] as const,
    ]),
  )('%s, wanted %s: shutdown', (state, desired) => {
    expect(nextStep(state, desired)).toBe('shutdown');
  });

  test.each(ENDED)('%s is left alone, whatever is wanted', (state) => {
    for (const desired of ['ready', 'running', 'complete', 'shutdown', 'remove'] as const) {
      expect(nextStep(state, desired)).toBe('rest');
    }
  });

  test('following the steps leads from assigned to complete, one state at a time', () => {
    const states: TaskState[] = ['assigned'];
    for (;;) {
      const step = nextStep(states.at(-1)!, 'running');
      if (step === 'rest') break;
      states.push(STATE_AFTER[step]);
    }
    expect(states).toEqual([
      'assigned',
      'accepted',
      'preparing',
      'ready',
      'starting',
      'running',
      'complete',
    ]);
  });

  test.each<[TaskState, TaskState]>([
    ['assigned', 'rejected'],
    ['preparing', 'rejected'],
    ['ready', 'rejected'],
    ['starting', 'failed'],
    ['running', 'failed'],
  ])('a failure in %s leads to %s', (state, after) => {
    expect(stateAfterFailure(state)).toBe(after);
  });
});
