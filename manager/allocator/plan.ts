/**
 * One pass of the allocator: what is dirty -> the changes to write. Decides against one view and the
 * book; order matters: networks, then endpoints, then nodes, then tasks, each building on the last.
 */
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Endpoint, Service } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { ReadView } from '../store/types.ts';
import type { AllocationBook } from './allocation-book.ts';
import {
  lostForerunners,
  type NodeChanges,
  planNode,
  planTask,
  type TaskAllocation,
  taskNeedsAllocation,
} from './plan-attachments.ts';
import { planEndpoint } from './plan-endpoint.ts';
import { type NetworkAllocation, needsAllocation, planNetwork } from './plan-network.ts';
import { isProblem, type Problem } from './problem.ts';

/** Ids whose objects must be looked at. Ids of objects that are gone are harmless. */
export interface DirtyIds {
  readonly networks: ReadonlySet<NetworkId>;
  readonly services: ReadonlySet<ServiceId>;
  readonly nodes: ReadonlySet<NodeId>;
  readonly tasks: ReadonlySet<TaskId>;
}

export type AllocationChange =
  | { readonly kind: 'network'; readonly id: NetworkId; readonly allocation: NetworkAllocation }
  | { readonly kind: 'service'; readonly id: ServiceId; readonly endpoint: Endpoint }
  | ({ readonly kind: 'node'; readonly id: NodeId } & NodeChanges)
  | {
      readonly kind: 'task';
      readonly id: TaskId;
      readonly allocation: TaskAllocation;
      /** they were told to stop, and cannot hear it: what they had is the task's */
      readonly withdrawn: readonly TaskId[];
    }
  | { readonly kind: 'task-waits'; readonly id: TaskId; readonly problem: string };

export interface AllocationPlan {
  readonly changes: readonly AllocationChange[];
  /** what could not be had: to be looked at again when something is freed or set up */
  readonly waiting: {
    readonly networks: ReadonlyMap<NetworkId, string>;
    readonly services: ReadonlyMap<ServiceId, string>;
    readonly nodes: ReadonlyMap<NodeId, string>;
    readonly tasks: ReadonlySet<TaskId>;
  };
}

export function planAllocations(
  book: AllocationBook,
  view: ReadView,
  dirty: DirtyIds,
): AllocationPlan {
  return new PlanPass(book, view).run(dirty);
}

class PlanPass {
  readonly #book: AllocationBook;
  readonly #view: ReadView;
  readonly #changes: AllocationChange[] = [];
  readonly #networks = new Map<NetworkId, string>();
  readonly #services = new Map<ServiceId, string>();
  readonly #nodes = new Map<NodeId, string>();
  readonly #tasks = new Set<TaskId>();
  /** endpoints asked for in this pass: one decision for all tasks of a service */
  readonly #endpoints = new Map<ServiceId, Endpoint | Problem>();

  constructor(book: AllocationBook, view: ReadView) {
    this.#book = book;
    this.#view = view;
  }

  run(dirty: DirtyIds): AllocationPlan {
    for (const id of dirty.networks) this.#planNetwork(id);
    for (const id of dirty.services) this.#planService(id);
    for (const id of dirty.nodes) this.#planNode(id);
    for (const id of dirty.tasks) this.#planTask(id);
    return {
      changes: this.#changes,
      waiting: {
        networks: this.#networks,
        services: this.#services,
        nodes: this.#nodes,
        tasks: this.#tasks,
      },
    };
  }

  #planNetwork(id: NetworkId): void {
    const network = this.#view.get('network', id);
    if (!network || !needsAllocation(network) || this.#book.networks.has(id)) return;
    const allocation = planNetwork(this.#book, network, this.#view.list('node'));
    if (isProblem(allocation)) {
      this.#networks.set(id, allocation.problem);
      this.#book.obstacles.set(id, allocation.problem);
    } else {
      this.#changes.push({ kind: 'network', id, allocation });
    }
  }

  #planService(id: ServiceId): void {
    const service = this.#view.get('service', id);
    if (service) this.#endpointOf(service);
  }

  #endpointOf(service: Service): Endpoint | Problem {
    const known = this.#endpoints.get(service.id);
    if (known) return known;
    const before = this.#book.endpoints.get(service.id);
    const endpoint = planEndpoint(this.#book, this.#view, service);
    this.#endpoints.set(service.id, endpoint);
    if (isProblem(endpoint)) this.#services.set(service.id, endpoint.problem);
    else if (endpoint !== before) {
      this.#changes.push({ kind: 'service', id: service.id, endpoint });
    }
    return endpoint;
  }

  #planNode(id: NodeId): void {
    const node = this.#view.get('node', id);
    if (!node) return;
    const { problems, ...changes } = planNode(this.#book, this.#view, node);
    if (problems.length > 0) this.#nodes.set(id, problems.join('; '));
    if (changes.attachments || changes.places.size > 0) {
      this.#changes.push({ kind: 'node', id, ...changes });
    }
  }

  #planTask(id: TaskId): void {
    const task = this.#view.get('task', id);
    if (!task || !taskNeedsAllocation(task) || this.#book.taskAttachments.has(id)) return;
    const service = this.#view.get('service', task.serviceId);
    if (!service) return; // its service is gone: the orchestrator takes it away
    const endpoint = this.#endpointOf(service);
    const lost = lostForerunners(this.#view, task).flatMap((one) => {
      const attachments = this.#book.taskAttachments.get(one);
      return attachments ? [[one, attachments] as const] : [];
    });
    for (const [one] of lost) this.#book.releaseTask(one);
    const allocation = isProblem(endpoint)
      ? endpoint
      : planTask(this.#book, this.#view, task, service, endpoint);
    if (!isProblem(allocation)) {
      this.#changes.push({ kind: 'task', id, allocation, withdrawn: lost.map(([one]) => one) });
      return;
    }
    // They keep what is of no use to the task.
    for (const [one, attachments] of lost) this.#book.returnToTask(one, attachments);
    this.#tasks.add(id);
    this.#explain(task, allocation.problem);
  }

  #explain(task: Task, problem: string): void {
    if (task.status.err !== problem) {
      this.#changes.push({ kind: 'task-waits', id: task.id, problem });
    }
  }
}
