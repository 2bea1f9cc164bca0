/**
 * The scheduler: gives every allocated task a node, or says in words why none will do. Leader only; it
 * decides as soon as something comes, for all that has come by then. It knows no other room.
 */
import { assertNever } from '../../common/base/assert.ts';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { deepEqual } from '../../common/base/equal.ts';
import type { OnFailure } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { Node } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { Follower } from '../store/follower.ts';
import type { Commit, Store, StoreChange } from '../store/types.ts';
import { applyDecision, isSchedulable } from './apply.ts';
import { NodeTable } from './node-table.ts';
import { PendingTasks } from './pending-tasks.ts';
import { explainPlacement, type NodeVerdict } from './pipeline.ts';
import { type Decision, planGroup, planPreassigned } from './plan-placement.ts';

export interface SchedulerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

/** Decisions made in one turn before they are written, so that no turn grows without limit. */
const DECISIONS_PER_TURN_MAX = 5000;
/** Tasks that were refused are tried again when something became free, but no more often than this. */
const RETRY_PERIOD_MS = 50;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #follower: Follower;
  #table = new NodeTable();
  #pending = new PendingTasks();
  /** a node changed or something was freed since the last retry */
  #relief = false;
  #lastRetryMs = Number.NEGATIVE_INFINITY;
  #retryTimer: Timer | null = null;

  constructor(options: SchedulerOptions) {
    this.#options = { ...options, log: options.log.child({ component: 'scheduler' }) };
    this.#follower = new Follower(this.#options, {
      resync: (signal) => this.#resync(signal),
      react: (commits, signal) => this.#react(commits, signal),
    });
  }

  async start(): Promise<void> {
    this.#follower.start();
  }

  async stop(): Promise<void> {
    await this.#follower.stop();
    this.#retryTimer?.cancel();
    this.#retryTimer = null;
  }

  /** What every node says to `task` at this moment. */
  explain(task: Task): readonly NodeVerdict[] {
    return explainPlacement(this.#table, task);
  }

  async #resync(signal: AbortSignal): Promise<void> {
    this.#table = new NodeTable();
    this.#pending = new PendingTasks();
    this.#options.store.view((view) => {
      for (const { id, spec } of view.list('network')) {
        this.#table.networkDrivers.set(id, spec.driver);
      }
      for (const node of view.list('node')) this.#table.putNode(node);
      for (const task of view.list('task')) {
        this.#table.putTask(task);
        this.#pending.put(task);
      }
    });
    await this.#decideAll(signal);
  }

  async #react(commits: readonly Commit[], signal: AbortSignal): Promise<void> {
    for (const { changes } of commits) for (const change of changes) this.#observe(change);
    this.#retryRefused();
    await this.#decideAll(signal);
  }

  #observe(change: StoreChange): void {
    switch (change.kind) {
      case 'task':
        this.#observeTask(change.object, change.action === 'remove');
        if (change.action === 'update') this.#observeFailure(change.object, change.previous);
        return;
      case 'node':
        if (change.action === 'remove') this.#table.removeNode(change.object.id);
        else this.#table.putNode(change.object);
        if (change.action !== 'update' || mayHelp(change.object, change.previous)) {
          this.#relief = true;
        }
        return;
      case 'network':
        if (change.action === 'remove') this.#table.networkDrivers.delete(change.object.id);
        else this.#table.networkDrivers.set(change.object.id, change.object.spec.driver);
        return;
      case 'cluster':
      case 'service':
      case 'secret':
      case 'config':
        return;
      default:
        assertNever(change, 'store change');
    }
  }

  #observeTask(task: Task, removed: boolean): void {
    const freed = removed ? this.#table.removeTask(task.id) : this.#table.putTask(task);
    if (removed) this.#pending.remove(task.id);
    else this.#pending.put(task);
    if (freed) this.#relief = true;
  }

  /** Tasks of global services have no choice of node: their failures say nothing about it. */
  #observeFailure(task: Task, previous: Task): void {
    const { state } = task.status;
    if (task.slot === 0 || task.nodeId === null || isTerminal(previous.status.state)) return;
    if (state !== 'failed' && state !== 'rejected') return;
    this.#table.get(task.nodeId)?.noteFailure(task, this.#options.clock.monotonicMs());
  }

  /** Freed places come in bursts; refused tasks are tried again for all of a burst together. */
  #retryRefused(): void {
    if (!this.#relief) return;
    if (this.#pending.size === 0) {
      this.#relief = false;
      return;
    }
    const { clock } = this.#options;
    const waitMs = this.#lastRetryMs + RETRY_PERIOD_MS - clock.monotonicMs();
    if (waitMs > 0) {
      this.#retryTimer ??= clock.setTimer(waitMs, () => {
        this.#retryTimer = null;
        this.#follower.wake();
      });
      return;
    }
    this.#relief = false;
    this.#lastRetryMs = clock.monotonicMs();
    this.#pending.retryAll();
  }

  async #decideAll(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options;
    while (this.#pending.hasDue) {
      const decisions = this.#decide();
      const writes = decisions.filter(saysSomethingNew);
      const nowMs = clock.wallMs();
      await store.batch(writes, (tx, decision) => applyDecision(tx, decision, nowMs), signal);
      this.#settle(writes);
    }
  }

  #decide(): Decision[] {
    const nowMs = this.#options.clock.monotonicMs();
    const decisions: Decision[] = [];
    for (const tasks of this.#pending.takeDue()) {
      for (const decision of this.#decideGroup(tasks, nowMs)) {
        decisions.push(decision);
        if (decision.kind === 'place') this.#pending.remove(decision.task.id);
      }
      if (decisions.length >= DECISIONS_PER_TURN_MAX) break;
    }
    return decisions;
  }

  #decideGroup(tasks: readonly Task[], nowMs: number): Decision[] {
    if (tasks[0]?.nodeId === null) return planGroup(this.#table, tasks, nowMs);
    return tasks.flatMap((task) => planPreassigned(this.#table, task) ?? []);
  }

  /**
   * What could not be written is as open as before: its booking is undone. It is not decided again
   * until the feed brings the change of the node that stood in the way.
   */
  #settle(writes: readonly Decision[]): void {
    this.#options.store.view((view) => {
      for (const { kind, task } of writes) {
        if (kind !== 'place') continue;
        const now = view.get('task', task.id);
        if (now && !isSchedulable(now)) continue; // written, or another's word: the feed tells
        this.#table.removeTask(task.id);
        if (now) this.#pending.putBack(now);
      }
    });
  }
}

/** A refusal in the same words as before needs no write. */
function saysSomethingNew(decision: Decision): boolean {
  return decision.kind === 'place' || decision.task.status.err !== decision.explanation;
}

/** Attachments and certificates change often and open no place. */
function mayHelp(node: Node, previous: Node): boolean {
  return (
    node.status.state !== previous.status.state ||
    node.status.address !== previous.status.address ||
    node.role !== previous.role ||
    !deepEqual(node.spec, previous.spec) ||
    !deepEqual(node.description, previous.description)
  );
}
