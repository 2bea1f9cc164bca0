/**
 * The allocator: gives networks their subnets, services their virtual addresses and ports, nodes and
 * tasks their addresses, and takes them back. Leader only; it knows no other room.
 */
import { assertNever } from '../../common/base/assert.ts';
import type { Clock } from '../../common/base/clock.ts';
import type { OnFailure } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { TurnBudget } from '../../common/base/turn-budget.ts';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { Follower } from '../store/follower.ts';
import type { Commit, ReadView, Store, StoreChange } from '../store/types.ts';
import { AllocationBook, keepsAddresses } from './allocation-book.ts';
import { applyAllocation } from './apply.ts';
import { ensureIngressNetwork } from './ingress-network.ts';
import { type AllocationPlan, type DirtyIds, planAllocations } from './plan.ts';
import { taskNeedsAllocation } from './plan-attachments.ts';

export interface AllocatorOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

/** Problems remembered as logged; then they are forgotten and may be logged once more. */
const LOGGED_MAX = 10_000;

/** Tasks decided in one go, before they are written. */
const TASKS_PER_PLAN_MAX = 400;
const NONE: ReadonlySet<never> = new Set();

/** What the next pass looks at. */
class DirtySets {
  readonly networks = new Set<NetworkId>();
  readonly services = new Set<ServiceId>();
  readonly nodes = new Set<NodeId>();
  readonly tasks = new Set<TaskId>();

  get empty(): boolean {
    return this.networks.size + this.services.size + this.nodes.size + this.tasks.size === 0;
  }

  /** All but the tasks, then the tasks some at a time: each part builds on what the last one gave. */
  *parts(tasksMax: number): Generator<DirtyIds> {
    const nothing = { networks: NONE, services: NONE, nodes: NONE };
    if (this.networks.size + this.services.size + this.nodes.size > 0) {
      yield { networks: this.networks, services: this.services, nodes: this.nodes, tasks: NONE };
    }
    const tasks = [...this.tasks];
    for (let at = 0; at < tasks.length; at += tasksMax) {
      yield { ...nothing, tasks: new Set(tasks.slice(at, at + tasksMax)) };
    }
  }
}

export class Allocator {
  readonly #options: AllocatorOptions;
  readonly #follower: Follower;
  readonly #budget: TurnBudget;
  #book = new AllocationBook([], 0);
  #dirty = new DirtySets();
  #waiting: AllocationPlan['waiting'] | null = null;
  /** something was given back or set up: those who wait may be served */
  #relief = false;
  /** problems that were logged, by id */
  readonly #logged = new Map<string, string>();

  constructor(options: AllocatorOptions) {
    this.#options = { ...options, log: options.log.child({ component: 'allocator' }) };
    this.#budget = new TurnBudget(options.clock);
    this.#follower = new Follower(this.#options, {
      resync: (signal) => this.#resync(signal),
      react: (commits, signal) => this.#react(commits, signal),
    });
  }

  async start(): Promise<void> {
    this.#follower.start();
  }

  stop(): Promise<void> {
    return this.#follower.stop();
  }

  async #resync(signal: AbortSignal): Promise<void> {
    const { store, random } = this.#options;
    await store.update((tx) => ensureIngressNetwork(tx, random), signal);
    this.#dirty = new DirtySets();
    this.#waiting = null;
    const restoring = store.view((view) => {
      const { book, restoring } = AllocationBook.restore(view);
      this.#book = book;
      for (const network of sortedIngressFirst(view.list('network'))) {
        this.#dirty.networks.add(network.id);
      }
      for (const service of view.list('service')) this.#dirty.services.add(service.id);
      for (const node of view.list('node')) this.#dirty.nodes.add(node.id);
      for (const task of view.list('task')) {
        if (taskNeedsAllocation(task)) this.#dirty.tasks.add(task.id);
      }
      return restoring;
    });
    this.#budget.begin();
    while (!restoring.next().done) if (this.#budget.spent) await this.#budget.renew();
    await this.#allocate(signal);
  }

  async #react(commits: readonly Commit[], signal: AbortSignal): Promise<void> {
    this.#budget.begin();
    for (const { changes } of commits) {
      this.#options.store.view((view) => {
        for (const change of changes) this.#observe(view, change);
      });
      if (this.#budget.spent) await this.#budget.renew();
    }
    if (this.#relief) this.#retryWaiting();
    if (!this.#dirty.empty) await this.#allocate(signal);
  }

  #observe(view: ReadView, change: StoreChange): void {
    const book = this.#book;
    switch (change.kind) {
      case 'network':
        if (change.action === 'remove') this.#freed(book.releaseNetwork(change.object.id));
        else this.#dirty.networks.add(change.object.id);
        this.#freed(this.#waiting !== null); // it may be the one that others could not find
        return;
      case 'service':
        if (change.action === 'remove') this.#freed(book.releaseService(change.object.id));
        else this.#observeService(view, change.object.id);
        return;
      case 'node':
        if (change.action === 'remove') this.#freed(book.releaseNode(change.object.id));
        else this.#observeNode(view, change.object.id);
        // What it had may be taken over by those who wait for an address of their own.
        if (change.action === 'update') this.#freed(wentDown(change.object, change.previous));
        return;
      case 'task':
        this.#observeTask(change.object, change.action);
        if (change.action === 'update') this.#observeMove(change.object, change.previous);
        return;
      case 'cluster':
      case 'secret':
      case 'config':
        return;
      default:
        assertNever(change, 'store change');
    }
  }

  #observeService(view: ReadView, id: ServiceId): void {
    const service = view.get('service', id);
    if (!service) return; // its removal is told next
    this.#freed(this.#book.kept.put(service));
    this.#dirty.services.add(id);
  }

  /**
   * As it is now, not as a change has it: what it said next may be planned already, and a place that is in use would be
   * given back by the word before.
   */
  #observeNode(view: ReadView, id: NodeId): void {
    const node = view.get('node', id);
    if (!node) return; // its removal is told next
    this.#freed(this.#book.releaseLeft(id, node.containerAttachments));
    this.#dirty.nodes.add(id);
  }

  #observeTask(task: Task, action: StoreChange['action']): void {
    if (action === 'remove' || !keepsAddresses(task)) {
      this.#freed(this.#book.releaseTask(task.id));
      if (task.nodeId && task.networks.length > 0) this.#dirty.nodes.add(task.nodeId);
    } else if (taskNeedsAllocation(task) && !this.#waiting?.tasks.has(task.id)) {
      this.#dirty.tasks.add(task.id);
    }
  }

  /** A task that came to a node brings the node into the task's networks. */
  #observeMove(task: Task, previous: Task): void {
    if (task.nodeId === null || task.networks.length === 0) return;
    if (previous.status.state === task.status.state && previous.nodeId === task.nodeId) return;
    if (task.status.state === 'assigned') this.#dirty.nodes.add(task.nodeId);
  }

  #freed(freed: boolean): void {
    if (freed) this.#relief = true;
  }

  #retryWaiting(): void {
    this.#relief = false;
    if (!this.#waiting) return;
    for (const id of this.#waiting.networks.keys()) this.#dirty.networks.add(id);
    for (const id of this.#waiting.services.keys()) this.#dirty.services.add(id);
    for (const id of this.#waiting.nodes.keys()) this.#dirty.nodes.add(id);
    for (const id of this.#waiting.tasks) this.#dirty.tasks.add(id);
    this.#waiting = null;
  }

  async #allocate(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options;
    const dirty = this.#dirty;
    this.#dirty = new DirtySets();
    for (const part of dirty.parts(TASKS_PER_PLAN_MAX)) {
      const plan = store.view((view) => planAllocations(this.#book, view, part));
      this.#remember(plan);
      this.#logProblems(plan);
      const nowMs = clock.wallMs();
      await store.batch(plan.changes, (tx, change) => applyAllocation(tx, change, nowMs), signal);
      // A network or an endpoint that came into being may be what others wait for.
      if (plan.changes.some(({ kind }) => kind === 'network' || kind === 'service')) {
        this.#relief = this.#waiting !== null;
      }
      if (this.#budget.spent) await this.#budget.renew();
    }
    if (this.#relief) this.#follower.wake();
  }

  /** Each problem once, and again when its words change. */
  #logProblems({ waiting }: AllocationPlan): void {
    const { log } = this.#options;
    const fresh = (id: string, problem: string): boolean => {
      if (this.#logged.get(id) === problem) return false;
      if (this.#logged.size >= LOGGED_MAX) this.#logged.clear();
      this.#logged.set(id, problem);
      return true;
    };
    for (const [networkId, problem] of waiting.networks) {
      if (fresh(networkId, problem))
        log.warn({ networkId, problem }, 'network waits for allocation');
    }
    for (const [serviceId, problem] of waiting.services) {
      if (fresh(serviceId, problem))
        log.warn({ serviceId, problem }, 'service waits for allocation');
    }
    for (const [nodeId, problem] of waiting.nodes) {
      if (fresh(nodeId, problem)) log.warn({ nodeId, problem }, 'node waits for an address');
    }
  }

  #remember({ waiting }: AllocationPlan): void {
    const old = this.#waiting;
    const next = {
      networks: new Map([...(old?.networks ?? []), ...waiting.networks]),
      services: new Map([...(old?.services ?? []), ...waiting.services]),
      nodes: new Map([...(old?.nodes ?? []), ...waiting.nodes]),
      tasks: new Set([...(old?.tasks ?? []), ...waiting.tasks]),
    };
    const count = next.networks.size + next.services.size + next.nodes.size + next.tasks.size;
    this.#waiting = count > 0 ? next : null;
  }
}

function wentDown({ status }: Node, previous: Node): boolean {
  return status.state === 'down' && previous.status.state !== 'down';
}

/** So that the ingress network gets the first subnet of the pool. */
function sortedIngressFirst<T extends { readonly spec: { readonly ingress: boolean } }>(
  networks: readonly T[],
): T[] {
  return [...networks].sort((a, b) => Number(b.spec.ingress) - Number(a.spec.ingress));
}
