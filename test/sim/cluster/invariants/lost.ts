/** What was on a node that is down is wanted elsewhere, while that node is still down. */
import type { NodeId, ServiceId } from '../../../../common/model/ids.ts';
import type { Service } from '../../../../common/model/service.ts';
import type { Task } from '../../../../common/model/task.ts';
import { isTerminal } from '../../../../common/model/task-state.ts';
import type { Commit, ReadView } from '../../../../manager/store/types.ts';
import { expect } from '../../checker.ts';
import { Calm } from '../calm.ts';
import type { ClusterChecker } from '../checker.ts';
import type { ClusterWorld } from '../world.ts';

/** The leader's rooms have so long, in calm. */
const LIMIT_MS = 4_000;

export class LostIsReplaced implements ClusterChecker {
  readonly number = 12;
  readonly name = 'tasks of a node that is down are replaced while it is down';
  readonly #world: ClusterWorld;
  readonly #calm: Calm;
  readonly #downSinceMs = new Map<NodeId, number>();
  /** Since when a service has fewer slots filled than it is to have. */
  readonly #lackingSinceMs = new Map<ServiceId, number>();

  constructor(world: ClusterWorld) {
    this.#world = world;
    this.#calm = new Calm(world);
  }

  committed({ changes }: Commit): void {
    this.#calm.look();
    for (const change of changes) {
      if (change.kind === 'service') this.#lackingSinceMs.delete(change.object.id);
      if (change.kind !== 'node') continue;
      const { id, status } = change.object;
      const isDown = change.action !== 'remove' && status.state === 'down';
      if (!isDown) this.#downSinceMs.delete(id);
      else if (!this.#downSinceMs.has(id)) this.#downSinceMs.set(id, this.#world.clock.nowMs);
    }
  }

  second(): void {
    this.#calm.look();
    this.#world.view((view) => {
      for (const [nodeId, sinceMs] of this.#downSinceMs) this.#lookAtNode(view, nodeId, sinceMs);
      for (const service of view.list('service')) this.#lookAtService(view, service);
    });
  }

  #lookAtNode(view: ReadView, nodeId: NodeId, sinceMs: number): void {
    if (!this.#isOver(sinceMs)) return;
    const left = view.tasksByNode(nodeId).find((task) => {
      return (
        isWanted(task) && !isTerminal(task.status.state) && view.get('service', task.serviceId)
      );
    });
    expect(left === undefined, () => {
      return `task ${left!.id} is wanted ${left!.desiredState} on ${nodeId}, which is down for ${LIMIT_MS} ms`;
    });
  }

  #lookAtService(view: ReadView, { id, spec }: Service): void {
    const nowMs = this.#world.clock.nowMs;
    const tasks = view.tasksByService(id);
    const replicas = spec.mode.kind === 'replicated' ? spec.mode.replicas : 0;
    const filled = new Set(tasks.filter(isThere).map(({ slot }) => slot)).size;
    if (filled >= replicas || mayStayAway(tasks, spec)) {
      this.#lackingSinceMs.delete(id);
      return;
    }
    const sinceMs = this.#lackingSinceMs.get(id) ?? nowMs;
    this.#lackingSinceMs.set(id, sinceMs);
    expect(!this.#isOver(sinceMs), () => {
      return `service ${spec.name} has ${filled} of ${replicas} slots for ${LIMIT_MS} ms`;
    });
  }

  #isOver(sinceMs: number): boolean {
    return this.#world.clock.nowMs - Math.max(sinceMs, this.#calm.sinceMs) >= LIMIT_MS;
  }
}

function isWanted({ desiredState }: Task): boolean {
  return desiredState === 'ready' || desiredState === 'running' || desiredState === 'complete';
}

/** One that ended while it waited for its restart waits its delay out before the next comes. */
function isThere(task: Task): boolean {
  return isWanted(task) && (task.desiredState === 'ready' || !isTerminal(task.status.state));
}

/** By some restart policy a task that ended need not be replaced. */
function mayStayAway(tasks: readonly Task[], { task }: Service['spec']): boolean {
  return [task, ...tasks.map(({ spec }) => spec)].some(({ restart }) => {
    return restart !== null && (restart.maxAttempts > 0 || restart.condition !== 'any');
  });
}
