/** How far a rolling update has come. The leader's memory only: rebuilt from tasks by the next one. */
import type { TaskId } from '../../common/model/ids.ts';

export interface UpdateAttempt {
  readonly taskId: TaskId;
  /** when it was seen running, wall ms; null = not yet */
  reachedAtMs: number | null;
  /** when it ran, ended, vanished or was told to stop: from then on its worker is free again (after the delay) */
  settledAtMs: number | null;
  /** its end was met and looked at by an earlier leader: no reason to pause now */
  readonly judged: boolean;
  /** no node had room for the task that it replaces: nothing is lost while one waits in its place */
  readonly hadNoRoom: boolean;
}

export interface UpdateProgress {
  /** of the service: another one voids all this */
  readonly specVersion: number;
  /** dirty seats at the beginning: the denominator of the failure ratio */
  readonly seats: number;
  /** the update's own task in each seat it has touched, by seat key */
  readonly attempts: Map<string, UpdateAttempt>;
  /** of these tasks: the numerator; an earlier leader's among them */
  readonly failed: Set<TaskId>;
}
