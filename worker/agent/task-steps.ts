/**
 * The order of a task's moves, as pure functions. Each move advances the state
 * by at most one; knows nothing of how a move is made.
 */
import type { DesiredState, TaskState } from '../../common/model/task-state.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';

/** What nothing but a new state comes of. */
export type Announcement = 'accept' | 'begin-preparing' | 'begin-starting';

/** What the controller does. It takes its time, can fail, and can be broken off. */
export type Work = 'prepare' | 'start' | 'wait' | 'shutdown';

export type Step =
  | Announcement
  | Work
  /** nothing to do until the assignment changes */
  | 'rest';

export function isAnnouncement(step: Announcement | Work): step is Announcement {
  return step === 'accept' || step === 'begin-preparing' || step === 'begin-starting';
}

/** What to do next for a task that is observed in `state` and wanted in `desired`. */
export function nextStep(state: TaskState, desired: DesiredState): Step {
  if (!isTerminal(state) && (desired === 'shutdown' || desired === 'remove')) return 'shutdown';
  switch (state) {
    case 'new':
    case 'pending':
    case 'assigned':
      return 'accept';
    case 'accepted':
      return 'begin-preparing';
    case 'preparing':
      return 'prepare';
    case 'ready':
      return desired === 'ready' ? 'rest' : 'begin-starting';
    case 'starting':
      return 'start';
    case 'running':
      return 'wait';
    case 'complete':
    case 'shutdown':
    case 'failed':
    case 'rejected':
    case 'remove':
    case 'orphaned':
      return 'rest';
  }
}

/** The state that a finished step leads to. */
export const STATE_AFTER: Readonly<Record<Exclude<Step, 'rest'>, TaskState>> = {
  accept: 'accepted',
  'begin-preparing': 'preparing',
  prepare: 'ready',
  'begin-starting': 'starting',
  start: 'running',
  wait: 'complete',
  shutdown: 'shutdown',
};

/** The message that goes with a state reported by an agent. */
export const STATE_MESSAGE: Readonly<Partial<Record<TaskState, string>>> = {
  accepted: 'accepted',
  preparing: 'preparing',
  ready: 'prepared',
  starting: 'starting',
  running: 'started',
  complete: 'finished',
  shutdown: 'shutdown',
};

/** Where a failed step leads: before the process ran the task is rejected, afterwards it failed. */
export function stateAfterFailure(state: TaskState): 'rejected' | 'failed' {
  return isBefore(state, 'starting') ? 'rejected' : 'failed';
}
