/** Why tasks of a service wait, and what each node says to one more of them. */
import type { NodeId, ServiceId, TaskId } from './ids.ts';
import type { Service } from './service.ts';

/** What one filter of the scheduler says to a node that it refuses. */
export interface FilterRefusal {
  readonly filter: string;
  /** what is wanted, what is there, and by how much it falls short */
  readonly detail: string;
  /** the change that would make this filter pass, as an order to the reader */
  readonly remedy: string;
  /** what is missing, where that can be counted: `NanoCPUs`, `MemoryBytes`, or a generic resource */
  readonly shortBy: Readonly<Record<string, number>>;
}

export interface NodeVerdict {
  readonly nodeId: NodeId;
  readonly hostname: string;
  /** tasks of the service there that are wanted */
  readonly tasks: number;
  /** every filter that refuses, in the order in which they are asked; none = the node will do */
  readonly refusals: readonly FilterRefusal[];
}

export interface WaitingTask {
  readonly taskId: TaskId;
  /** null for tasks of global services */
  readonly slot: number | null;
  /** of tasks of global services, which come with their node */
  readonly nodeId: NodeId | null;
  /** `new` waits for addresses and ports, `pending` for a node */
  readonly state: 'new' | 'pending';
  /** in the words of its status; empty = it was not looked at yet */
  readonly reason: string;
}

export interface PlacementExplanation {
  readonly serviceId: ServiceId;
  readonly serviceName: string;
  /** the first of them, by slot */
  readonly waiting: readonly WaitingTask[];
  readonly waitingCount: number;
  readonly nodes: readonly NodeVerdict[];
  /** the smallest change that would make a node do; null = one will do as it is, or there is none */
  readonly nearest: {
    readonly nodeId: NodeId;
    readonly hostname: string;
    /** all of them are needed */
    readonly changes: readonly string[];
  } | null;
}

/** A task that stands where its service, or the node, has more than elsewhere. */
export interface TaskMove {
  readonly taskId: TaskId;
  readonly serviceName: string;
  readonly slot: number;
  readonly from: { readonly nodeId: NodeId; readonly hostname: string };
  /** where the scheduler would put it now */
  readonly to: { readonly nodeId: NodeId; readonly hostname: string };
}

/** What a change of a service does to its tasks, for a look at where they would land. */
export interface PlacementStep {
  /** as it would be */
  readonly service: Service;
  /** tasks that others take the place of, or that only go */
  readonly gone: readonly TaskId[];
  /** tasks that come; null = one for each node that will have it */
  readonly coming: number | null;
}

export interface PlacementForecast {
  /** in the order of their names */
  readonly nodes: readonly {
    readonly nodeId: NodeId;
    readonly hostname: string;
    readonly tasks: number;
  }[];
  /** tasks that no node would take now, and why; null = there are none */
  readonly unplaced: { readonly tasks: number; readonly reason: string } | null;
}
