/**
 * What one seat needs, whatever its service's mode: replacements for tasks that ended or lost their
 * node, leave to run for prepared ones, and an end to those that a newer one has made superfluous.
 */

import type { DirtyTest } from '../../common/model/dirty-task.ts';
import { hasFixedAddress } from '../../common/model/fixed-address.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { waitsForSeat } from '../../common/model/succession.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { POSSIBLE_AGAIN_MS } from './possible-nodes.ts';
import { delayOverAtMs, endedByItself, mayRestart, startableAtMs } from './restart-policy.ts';
import { isPrepared, isWanted, lacksAddress, type Seat } from './seat.ts';
import { earliest, isLost, type OrchestratorChange, type ServiceWorld } from './world.ts';

export interface SeatPlan {
  readonly seat: Seat;
  readonly changes: readonly OrchestratorChange[];
  /** look again then, wall ms */
  readonly wakeAtMs: number | null;
  /**
   * `live`: counts as a replica (a task is wanted, or its restart policy says that it has done its
   * work). `dead`: a task is missing. `settled` is live without a wanted task.
   */
  readonly state: 'live' | 'settled' | 'dead';
  /** lives, or is settled, without a task that says what the service says: the updater's concern */
  readonly dirty: boolean;
  /** the wanted tasks after `changes` that existed before */
  readonly wanted: readonly Task[];
  /** the task that `changes` create in place of an ended one that was out of date; null = none */
  readonly successor: TaskId | null;
}

/** The seats of a service after the mode's own rules; those that may be updated apart. */
export interface ModePlan {
  readonly changes: readonly OrchestratorChange[];
  readonly wakeAtMs: number | null;
  readonly updatable: readonly SeatPlan[];
}

export interface SeatRules {
  readonly dirtyTest: DirtyTest;
  readonly startFirst: boolean;
  readonly rollingBack: boolean;
  /** whether a new task of the service may be placed at all */
  readonly hasPossibleNode: () => boolean;
}

export function planSeat(seat: Seat, world: ServiceWorld, rules: SeatRules): SeatPlan {
  const wanted = seat.tasks.filter(isWanted);
  if (wanted.length === 0) return planIdleSeat(seat, world, rules);
  const draft = new SeatDraft(seat, world, rules);
  const fallen = wanted.filter((task) => hasFallen(task, world));
  const standing = wanted.filter((task) => !fallen.includes(task));
  draft.replaceFallen(fallen, standing);
  draft.thinOut(standing);
  draft.promote();
  return draft.finish();
}

function hasFallen(task: Task, world: ServiceWorld): boolean {
  if (isTerminal(task.status.state)) return true;
  return task.nodeId !== null && isLost(world.node(task.nodeId));
}

/** Nothing is wanted here any more: either the work is done, or a task is missing. */
function planIdleSeat(seat: Seat, world: ServiceWorld, rules: SeatRules): SeatPlan {
  const newest = seat.tasks.at(-1);
  const settled =
    newest !== undefined &&
    newest.desiredState !== 'remove' &&
    !rules.rollingBack &&
    !mayRestart(newest, seat, world.nowMs);
  return {
    seat,
    changes: [],
    wakeAtMs: null,
    state: settled ? 'settled' : 'dead',
    dirty: settled && rules.dirtyTest.isDirty(newest),
    wanted: [],
    successor: null,
  };
}

class SeatDraft {
  readonly #seat: Seat;
  readonly #world: ServiceWorld;
  readonly #rules: SeatRules;
  readonly #changes: OrchestratorChange[] = [];
  #wakeAtMs: number | null = null;
  #wanted: Task[] = [];
  #replaced = false;
  #successor: TaskId | null = null;
  /** the old task serves on, or is told to stop only now: the new one runs after that */
  #awaitsEnd = false;

  constructor(seat: Seat, world: ServiceWorld, rules: SeatRules) {
    this.#seat = seat;
    this.#world = world;
    this.#rules = rules;
  }

  replaceFallen(fallen: readonly Task[], standing: readonly Task[]): void {
    const ripe = fallen.filter((task) => !this.#holdsBack(task));
    const newest = ripe.at(-1);
    if (!newest) return;
    const missing =
      ripe.length === fallen.length &&
      (standing.length === 0 || this.#isFailedAttempt(newest, standing));
    if (missing && mayRestart(newest, this.#seat, this.#world.nowMs)) {
      const taskId = this.#world.newTaskId();
      this.#replaced = true;
      if (this.#rules.dirtyTest.isDirty(newest)) this.#successor = taskId;
      this.#changes.push({
        kind: 'create',
        taskId,
        service: this.#world.service,
        place: this.#seat.place,
        desiredState: 'ready',
        stops: ripe.map(({ id }) => id),
      });
      return;
    }
    for (const task of ripe) this.#stop(task);
  }

  /** A task that ended within its own start delay waits it out first: no tight loop. */
  #holdsBack(task: Task): boolean {
    if (task.desiredState !== 'ready' || !isTerminal(task.status.state)) return false;
    const overAtMs = delayOverAtMs(task, this.#seat, this.#world.nowMs);
    if (overAtMs <= this.#world.nowMs) return false;
    this.#wakeAtMs = earliest(this.#wakeAtMs, overAtMs);
    this.#wanted.push(task);
    return true;
  }

  /** The new half of a start-first update, or move, failed while the old half still runs: try the new again. */
  #isFailedAttempt(newest: Task, standing: readonly Task[]): boolean {
    const { dirtyTest } = this.#rules;
    const isOld = (task: Task): boolean => dirtyTest.isDirty(task) || task.moving !== null;
    return !isOld(newest) && standing.every(isOld);
  }

  /** One task for each seat; two only while the old one of an update, or move, serves until the new one can. */
  thinOut(standing: readonly Task[]): void {
    const { dirtyTest } = this.#rules;
    // One that is to move is as good as out of date: another takes its place.
    const isOld = (task: Task): boolean => dirtyTest.isDirty(task) || task.moving !== null;
    const fresh = standing.filter((task) => !isOld(task));
    const old = standing.filter(isOld);
    const keptFresh = best(fresh);
    const keptOld = best(old);
    for (const task of fresh) if (task !== keptFresh) this.#stop(task);
    for (const task of old) if (task !== keptOld) this.#stop(task);
    if (keptFresh) this.#wanted.push(keptFresh);
    if (!keptOld) return;
    this.#awaitsEnd = keptFresh !== undefined && !this.#startsFirst(keptOld, keptFresh);
    if (keptFresh && this.#mayEnd(keptOld, keptFresh)) this.#stop(keptOld);
    else this.#wanted.push(keptOld);
  }

  /**
   * Stop first means before the new one starts, not before its image is on its node. One that no node has room for has none
   * in place of the old one either: the scheduler counts that as gone. Addresses it does not get that way, and only they are
   * worth the old one, if a node may take it then.
   */
  #mayEnd(old: Task, fresh: Task): boolean {
    if (this.#startsFirst(old, fresh)) return fresh.status.state === 'running';
    if (!lacksAddress(fresh)) return isPrepared(fresh);
    if (this.#rules.hasPossibleNode()) return true;
    this.#wakeAtMs = earliest(this.#wakeAtMs, this.#world.nowMs + POSSIBLE_AGAIN_MS);
    return false;
  }

  #startsFirst({ moving, spec }: Task, fresh: Task): boolean {
    if (hasFixedAddress(spec)) return false; // its successor has it only then
    if (fresh.hasForerunnersPlace && waitsForSeat(fresh)) return false; // there is no room for both
    return moving === null ? this.#rules.startFirst : moving === 'start-first';
  }

  promote(): void {
    for (const task of this.#wanted) {
      if (task.desiredState !== 'ready' || isTerminal(task.status.state)) continue;
      if (this.#awaitsEnd) continue;
      const atMs = startableAtMs(task, this.#seat, this.#world);
      if (atMs > this.#world.nowMs) this.#wakeAtMs = earliest(this.#wakeAtMs, atMs);
      else this.#changes.push({ kind: 'desire', taskId: task.id, desiredState: 'running' });
    }
  }

  finish(): SeatPlan {
    const live = this.#replaced || this.#wanted.length > 0;
    const newest = this.#seat.tasks.at(-1)!;
    const settled =
      !live && !this.#rules.rollingBack && !mayRestart(newest, this.#seat, this.#world.nowMs);
    const dirty = live ? this.#isBehind(newest) : settled && this.#rules.dirtyTest.isDirty(newest);
    return {
      seat: this.#seat,
      changes: this.#changes,
      wakeAtMs: this.#wakeAtMs,
      state: live ? 'live' : settled ? 'settled' : 'dead',
      dirty,
      wanted: this.#wanted,
      successor: this.#successor,
    };
  }

  /**
   * Every task that stays is out of date. One that was called off (a rollback came) is no reply to that,
   * even if its words are the service's again; one of these very words that ended by itself, and may not
   * be restarted, is.
   */
  #isBehind(newest: Task): boolean {
    const { dirtyTest } = this.#rules;
    if (this.#replaced || this.#wanted.some((task) => !dirtyTest.isDirty(task))) return false;
    return newest.specVersion !== this.#world.service.specVersion || !endedByItself(newest);
  }

  #stop(task: Task): void {
    this.#changes.push({ kind: 'desire', taskId: task.id, desiredState: 'shutdown' });
  }
}

/** The one nearest to serving: running before not, then the newest. `tasks` are oldest first. */
function best(tasks: readonly Task[]): Task | undefined {
  return tasks.findLast(({ status }) => status.state === 'running') ?? tasks.at(-1);
}
