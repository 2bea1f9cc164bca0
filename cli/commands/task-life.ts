/** What the API says of a task's life, in the questions that waiting commands ask. */
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { isTerminal, type TaskState } from '../../common/model/task-state.ts';

type Life = Pick<TaskJson, 'Status' | 'DesiredState'>;

/** Nothing of it runs any more, or ever will. */
export const hasEnded = ({ Status }: Life): boolean => isTerminal(Status.State as TaskState);

/** It ended by itself, and not well. */
export const hasFailed = ({ Status: { State } }: Life): boolean =>
  State === 'failed' || State === 'rejected';

/** No node would have it, or something of the network is used up. */
export function isUnplaced({ Status }: Life): boolean {
  const isBefore = Status.State === 'new' || Status.State === 'pending';
  return isBefore && (Status.Err ?? '') !== '';
}

/** It runs or will, or has work to complete; not what is to stop or to go. */
export const isWanted = ({ DesiredState }: Life): boolean =>
  DesiredState === 'ready' || DesiredState === 'running' || DesiredState === 'complete';
