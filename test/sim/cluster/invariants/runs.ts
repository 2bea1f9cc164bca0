/**
 * What really runs: two tasks of one slot only while nobody can know that the first one still does, or
 * the user wants it so.
 */
import type { NodeId, TaskId } from '../../../../common/model/ids.ts';
import type { Task } from '../../../../common/model/task.ts';
import type { Commit, ReadView } from '../../../../manager/store/types.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { Host } from '../host.ts';
import type { ClusterWorld } from '../world.ts';

/** The longest that a replacement waits for the end of what it replaces. */
const STOP_WAIT_MS = 60_000;

export class OneRun implements ClusterChecker {
  readonly number = 7;
  readonly name = 'two tasks of one seat do not run together';
  readonly #world: ClusterWorld;
  readonly #startFirst = new Set<string>();
  /** When a node was down last; who is down now is in `#down`. */
  readonly #downMs = new Map<NodeId, number>();
  readonly #down = new Set<NodeId>();
  readonly #toldToStopMs = new Map<TaskId, number>();

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  committed({ changes }: Commit): void {
    const nowMs = this.#world.clock.nowMs;
    for (const { kind, action, object } of changes) {
      if (kind === 'service') {
        const configs = [object.spec.update, object.spec.rollback];
        if (configs.some((config) => config?.order === 'start-first'))
          this.#startFirst.add(object.id);
      } else if (kind === 'node') {
        const isLost = action === 'remove' || object.status.state === 'down';
        if (isLost) this.#down.add(object.id);
        else if (this.#down.delete(object.id)) this.#downMs.set(object.id, nowMs);
      } else if (kind === 'task' && isToldToStop(object)) {
        if (!this.#toldToStopMs.has(object.id)) this.#toldToStopMs.set(object.id, nowMs);
      }
    }
  }

  started(host: Host, task: Task): void {
    if (this.#startFirst.has(task.serviceId)) return;
    for (const other of this.#world.hosts.values()) {
      for (const { task: one, state } of other.containers.all.values()) {
        if (state !== 'running' || one.id === task.id || !isSameSeat(one, task, host, other))
          continue;
        // Either may be one that was given up, and whose node did not hear of it in time.
        const why = this.#world.view((view) => this.#excuse(view, one) ?? this.#excuse(view, task));
        expect(why !== null, () => {
          return `task ${task.id} runs on machine ${host.id}, and ${one.id} of the same seat still does on ${other.id}`;
        });
      }
    }
  }

  /** Why nobody need wait for `task`, which runs; null = there is no reason. */
  #excuse(view: ReadView, { id, nodeId, serviceId }: Task): string | null {
    const stored = view.get('task', id);
    if (!stored || !view.get('service', serviceId)) return 'it was removed';
    if (stored.status.state === 'rejected' || stored.status.state === 'orphaned') return 'given up';
    if (nodeId === null || this.#down.has(nodeId)) return 'its node is down';
    const sinceMs = this.#toldToStopMs.get(id);
    if (sinceMs === undefined) return null;
    if ((this.#downMs.get(nodeId) ?? -1) >= sinceMs) return 'its node was down';
    return this.#world.clock.nowMs - sinceMs >= STOP_WAIT_MS ? 'it was waited for' : null;
  }
}

function isToldToStop({ desiredState }: Task): boolean {
  return desiredState === 'shutdown' || desiredState === 'remove';
}

function isSameSeat(a: Task, b: Task, hostOfB: Host, hostOfA: Host): boolean {
  if (a.serviceId !== b.serviceId || a.jobIteration !== b.jobIteration) return false;
  return a.slot === null ? hostOfA === hostOfB : a.slot === b.slot;
}
