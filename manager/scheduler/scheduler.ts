/**
 * The scheduler: gives every allocated task a node, or says in words why none will do. Leader only; it
 * decides as soon as something comes, for all that has come by then. It knows no other room.
 */
import { assertNever } from '../../common/base/assert.ts';
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { OnFailure } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { TurnBudget } from '../../common/base/turn-budget.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { networkPlugins } from '../../common/model/network.ts';
import type { Service } from '../../common/model/service.ts';
import { updateConfigOf } from '../../common/model/service-update.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { Follower } from '../store/follower.ts';
import type { Commit, ReadView, Store, StoreChange } from '../store/types.ts';
import { applyDecision, isSchedulable } from './apply.ts';
import { NodeTable } from './node-table.ts';
import { type PendingGroup, PendingTasks } from './pending-tasks.ts';
import { preparePipeline, type Stage, stagesOf } from './pipeline.ts';
import { holdsPlace } from './place.ts';
import {
  type Decision,
  type Hold,
  type Placement,
  planGroup,
  planPreassigned,
  type Refusal,
} from './plan-placement.ts';
import { RefusedTasks } from './refused-tasks.ts';
import { placesBefore, Successors } from './successors.ts';
import { versionKey } from './task-groups.ts';

export interface SchedulerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

/** Decisions made in one go, before they are written. */
const DECISIONS_PER_WRITE_MAX = 400;
/**
 * How long a new leader keeps places for nodes that have not registered with it yet. Agents wait at most
 * 5 s between attempts to reconnect; the rest is for the registration itself.
 */
export const RETURN_GRACE_MS = 8_000;

/** The first of the tasks that are decided next, with the filters that concern it. */
interface NextTask {
  readonly task: Task;
  readonly stages: readonly Stage[];
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #follower: Follower;
  readonly #budget: TurnBudget;
  #table = new NodeTable();
  #pending = new PendingTasks();
  #successors = new Successors();
  #refused: RefusedTasks;
  /** tasks with a place on a node that is awaited; they are in no group of those that wait for one */
  #holds = new Map<TaskId, Hold>();
  #graceTimer: Timer | null = null;
  #graceIsOver = false;
  /** of the view that `resync` read: what was created later is new to us */
  #seenRevision = 0;

  constructor(options: SchedulerOptions) {
    this.#options = { ...options, log: options.log.child({ component: 'scheduler' }) };
    this.#budget = new TurnBudget(options.clock);
    this.#follower = new Follower(this.#options, {
      resync: (signal) => this.#resync(signal),
      react: (commits, signal) => this.#react(commits, signal),
    });
    this.#refused = this.#noneRefused();
  }

  async start(): Promise<void> {
    this.#graceTimer = this.#options.clock.setTimer(RETURN_GRACE_MS, () => {
      this.#graceIsOver = true;
      this.#follower.wake();
    });
    this.#follower.start();
  }

  async stop(): Promise<void> {
    await this.#follower.stop();
    this.#graceTimer?.cancel();
    this.#refused.stop();
  }

  #noneRefused(): RefusedTasks {
    const { store, clock } = this.#options;
    return new RefusedTasks({
      ...{ store, clock, table: this.#table, pending: this.#pending, successors: this.#successors },
      wake: () => this.#follower.wake(),
    });
  }

  async #resync(signal: AbortSignal): Promise<void> {
    this.#budget.begin();
    this.#refused.stop();
    this.#table = new NodeTable();
    this.#pending = new PendingTasks();
    this.#successors = new Successors();
    this.#holds = new Map();
    this.#refused = this.#noneRefused();
    this.#table.awaitsUnknown = !this.#graceIsOver;
    // The lists stay as they are; what is committed while they are read in turns comes by the feed.
    const { revision, networks, nodes, tasks } = this.#options.store.view((view) => ({
      revision: view.revision,
      networks: view.list('network'),
      nodes: view.list('node'),
      tasks: view.list('task'),
    }));
    this.#seenRevision = revision;
    for (const { id, spec } of networks) this.#table.networkPlugins.set(id, networkPlugins(spec));
    for (const node of nodes) {
      this.#table.putNode(node);
      if (this.#budget.spent) await this.#budget.renew();
    }
    for (const task of tasks) {
      this.#table.putTask(task);
      this.#pending.put(task);
      this.#successors.put(task);
      if (this.#budget.spent) await this.#budget.renew();
    }
    await this.#decideAll(signal);
  }

  async #react(commits: readonly Commit[], signal: AbortSignal): Promise<void> {
    this.#budget.begin();
    for (const commit of commits) {
      this.#options.store.view((view) => {
        for (const change of commit.changes) this.#observe(view, commit, change);
      });
      if (this.#budget.spent) await this.#budget.renew();
    }
    if (this.#graceIsOver) this.#endGrace();
    await this.#refused.review(this.#budget);
    await this.#decideAll(signal);
  }

  #observe(view: ReadView, { revision }: Commit, change: StoreChange): void {
    switch (change.kind) {
      case 'task':
        if (change.action === 'create' && revision > this.#seenRevision) {
          this.#observeNew(taskNow(view, revision, change));
        } else {
          this.#observeTask(change.object, taskNow(view, revision, change));
        }
        if (change.action === 'update') this.#observeFailure(change.object, change.previous);
        return;
      case 'node': {
        const { id } = change.object;
        const index = this.#table.indexOf(id);
        if (change.action === 'remove') {
          this.#table.removeNode(id);
          this.#successors.noteNodeGone();
        } else {
          this.#table.putNode(change.object);
        }
        if (index !== undefined) this.#releaseHolds(index);
        return;
      }
      case 'network':
        if (change.action === 'remove') this.#table.networkPlugins.delete(change.object.id);
        else this.#table.networkPlugins.set(change.object.id, networkPlugins(change.object.spec));
        return;
      case 'service':
        if (change.action === 'update') this.#observeOrder(view, change.object, change.previous);
        return;
      case 'cluster':
      case 'secret':
      case 'config':
        return;
      default:
        assertNever(change, 'store change');
    }
  }

  /** One of which nothing is booked or remembered yet, so that nothing is to be looked for. */
  #observeNew(task: Task | undefined): void {
    if (task === undefined) return;
    this.#successors.put(task);
    if (isSchedulable(task)) this.#pending.putNew(task);
    else if (holdsPlace(task)) this.#table.putTask(task);
  }

  /**
   * @param task as it is now, not as the change has it: somebody may have written to it while we assigned
   * it, and that change, older than our own, would undo the booking of its place
   */
  #observeTask(changed: Task, task: Task | undefined): void {
    const { id } = changed;
    if (task === undefined) {
      this.#holds.delete(id);
      this.#pending.remove(id);
      this.#successors.remove(changed);
      this.#table.removeTask(id);
      return;
    }
    this.#successors.put(task);
    if (this.#holds.size > 0) {
      const hold = this.#holds.get(task.id);
      if (hold && isSchedulable(task)) {
        this.#holds.set(task.id, { ...hold, task }); // its place is kept
        return;
      }
      this.#holds.delete(task.id);
    }
    this.#pending.put(task);
    this.#table.putTask(task);
  }

  /** By another order tasks may have, or have no more, the places of those that they follow. */
  #observeOrder(view: ReadView, service: Service, previous: Service): void {
    if (updateConfigOf(service).order === updateConfigOf(previous).order) return;
    this.#successors.noteService(service.id);
    for (const task of view.tasksByService(service.id)) {
      for (const taskId of isSchedulable(task) ? placesBefore(task, view) : []) {
        const index = this.#table.placeOf(taskId);
        if (index !== undefined) this.#table.relieved.add(index);
      }
    }
  }

  /** Tasks of global services have no choice of node: their failures say nothing about it. */
  #observeFailure(task: Task, previous: Task): void {
    const { state } = task.status;
    if (task.slot === null || task.nodeId === null || isTerminal(previous.status.state)) return;
    if (state !== 'failed' && state !== 'rejected') return;
    const index = this.#table.indexOf(task.nodeId);
    if (index === undefined) return;
    this.#table.failures.note(versionKey(task), index, this.#options.clock.monotonicMs());
  }

  #endGrace(): void {
    if (!this.#table.awaitsUnknown) return;
    this.#table.awaitsUnknown = false;
    this.#options.log.debug({ tasks: this.#holds.size }, 'nodes are no longer awaited');
    const indexes = new Set([...this.#holds.values()].map(({ index }) => index));
    for (const index of indexes) this.#releaseHolds(index);
  }

  /** The node registered, or is not coming: what was held for it is decided again. */
  #releaseHolds(index: number): void {
    if (this.#holds.size === 0) return;
    if (this.#table.nodeAt(index) && this.#table.isAwaited(index)) return;
    for (const { task, index: home } of this.#holds.values()) {
      if (home !== index) continue;
      this.#holds.delete(task.id);
      this.#table.removeTask(task.id);
      this.#pending.put(task);
    }
  }

  async #decideAll(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options;
    for (;;) {
      const next = await this.#prepareNext();
      const writes = [...this.#refused.takeRestatements(), ...this.#decide(next)];
      if (writes.length > 0) {
        if (this.#budget.spent) await this.#budget.renew(); // to write them is another turn's work
        const nowMs = clock.wallMs();
        const unwritten = new Set<Placement | Refusal>();
        await store.batch(
          writes,
          (tx, decision) => {
            if (applyDecision(tx, decision, nowMs)) unwritten.delete(decision);
            else unwritten.add(decision); // `batch` may run it again
          },
          signal,
        );
        this.#settle(unwritten);
      }
      if (!this.#pending.hasDue) return;
      if (this.#budget.spent) await this.#budget.renew();
    }
  }

  /** All nodes are judged by filters that no task had before: more than one turn's work when they are thousands. */
  async #prepareNext(): Promise<NextTask | null> {
    const task = this.#pending.nextAnywhere;
    if (!task) return null;
    const stages = stagesOf(task, this.#table);
    while (preparePipeline(stages, this.#table)) {
      if (this.#budget.spent) await this.#budget.renew();
    }
    return { task, stages };
  }

  /** Decisions to write, for as many of the tasks that are due as fit into this turn. */
  #decide(next: NextTask | null): (Placement | Refusal)[] {
    const nowMs = this.#options.clock.monotonicMs();
    const writes: (Placement | Refusal)[] = [];
    let room = DECISIONS_PER_WRITE_MAX;
    while (room > 0 && this.#pending.hasDue) {
      const { group, tasks } = this.#pending.takeDue(room)!;
      room -= tasks.length;
      for (const decision of this.#decideTasks(group.nodeId === null, tasks, nowMs, next)) {
        this.#note(group, decision);
        if (decision.kind !== 'hold' && saysSomethingNew(decision)) writes.push(decision);
      }
      if (this.#budget.spent) break;
    }
    return writes;
  }

  #decideTasks(
    alike: boolean,
    tasks: readonly Task[],
    nowMs: number,
    next: NextTask | null,
  ): readonly Decision[] {
    const [table, successors] = [this.#table, this.#successors];
    return this.#options.store.view((view) => {
      if (!alike) {
        const before = (task: Task) => placesBefore(task, view);
        return tasks.flatMap((task) => planPreassigned(table, task, before) ?? []);
      }
      const succession = successors.of(tasks[0]!.serviceId, view, table);
      const stages = tasks[0] === next?.task ? next?.stages : undefined;
      const plan = planGroup(table, tasks, nowMs, succession, stages);
      if (plan.refusals) this.#refused.note(tasks[0]!, plan.refusals);
      return plan.decisions;
    });
  }

  #note(group: PendingGroup, decision: Decision): void {
    if (decision.kind === 'refuse') return;
    if (decision.kind === 'hold') this.#holds.set(decision.task.id, decision);
    this.#pending.settle(group, decision.task.id);
  }

  /**
   * What could not be written is as open as before: its booking is undone. It is not decided again
   * until the feed brings the change of the node that stood in the way.
   */
  #settle(unwritten: Iterable<Placement | Refusal>): void {
    this.#options.store.view((view) => {
      for (const { kind, task } of unwritten) {
        if (kind !== 'place') continue;
        const now = view.get('task', task.id);
        if (now && !isSchedulable(now)) continue; // another's word: the feed tells
        this.#table.removeTask(task.id);
        this.#successors.put(task); // others may have been counted with its place
        if (now) this.#pending.putBackUnwritten(now);
      }
    });
  }
}

/** The task as it is now: of the commit that was applied last that is what the change says, and needs no look. */
function taskNow(
  view: ReadView,
  revision: number,
  { action, object }: Extract<StoreChange, { kind: 'task' }>,
): Task | undefined {
  if (revision < view.revision) return view.get('task', object.id);
  return action === 'remove' ? undefined : object;
}

/** A refusal in the same words as before needs no write. */
function saysSomethingNew(decision: Placement | Refusal): boolean {
  return decision.kind === 'place' || decision.task.status.err !== decision.explanation;
}
