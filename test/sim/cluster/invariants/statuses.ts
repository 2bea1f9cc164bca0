/** What agents report is kept: states grow, ends are final, an acknowledged status is stored. */
import type { TaskStatusUpdate } from '../../../../common/model/session.ts';
import type { Task } from '../../../../common/model/task.ts';
import { compareDesiredStates, isBefore, isTerminal } from '../../../../common/model/task-state.ts';
import type { Commit } from '../../../../manager/store/types.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { Host } from '../host.ts';
import type { ClusterWorld } from '../world.ts';

export class NoLostStatus implements ClusterChecker {
  readonly number = 6;
  readonly name = 'no lost status';
  readonly #world: ClusterWorld;

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  committed({ changes }: Commit): void {
    for (const change of changes) {
      if (change.kind !== 'task' || change.action !== 'update') continue;
      const { object, previous } = change;
      const [from, to] = [previous.status.state, object.status.state];
      expect(!isBefore(to, from), () => `task ${object.id} went from ${from} back to ${to}`);
      const isOver = isTerminal(from);
      expect(!isOver || from === to, () => `task ${object.id} had ended ${from}, and is ${to} now`);
      const [was, is] = [previous.desiredState, object.desiredState];
      expect(
        compareDesiredStates(is, was) >= 0,
        () => `task ${object.id} was wanted ${was}, and is ${is} now`,
      );
      const isMoved = previous.nodeId !== null && previous.nodeId !== object.nodeId;
      expect(!isMoved, () => `task ${object.id} moved from ${previous.nodeId} to ${object.nodeId}`);
    }
  }

  acknowledged({ nodeId }: Host, updates: readonly TaskStatusUpdate[]): void {
    for (const { taskId, status } of updates) {
      const stored = this.#world.view((view) => view.get('task', taskId));
      if (!stored || stored.nodeId !== nodeId) continue;
      const { state } = stored.status;
      if (isTerminal(state) && isTerminal(status.state)) continue; // the first end counts
      expect(!isBefore(state, status.state), () => {
        return `task ${taskId}: ${status.state} was acknowledged, and ${state} is stored`;
      });
    }
  }

  /** Of those that an agent itself said have ended. */
  started(_host: Host, { id }: Task): void {
    const state = this.#world.view((view) => view.get('task', id))?.status.state;
    const isOver = state === 'complete' || state === 'failed' || state === 'shutdown';
    expect(!isOver, () => `task ${id} runs again, after it was ${state}`);
  }
}
