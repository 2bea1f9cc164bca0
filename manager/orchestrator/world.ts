/** What the plan of one service sees, and the changes it may ask for. Plain data, no store. */
import type { NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { Service, UpdateStatus } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { DesiredState } from '../../common/model/task-state.ts';

export interface ServiceWorld {
  readonly service: Service;
  /** all tasks of the service, in any order */
  readonly tasks: readonly Task[];
  node(id: NodeId): Node | undefined;
  /** every node of the cluster */
  readonly nodes: readonly Node[];
  /** wall clock, ms: compared with creation times, which outlive a leader */
  readonly nowMs: number;
  newTaskId(): TaskId;
  /** a service that this one waits for has not come as far as it should: no update begins */
  readonly mustWait: boolean;
  /** and nothing of this one runs yet: tasks are prepared, but not let run */
  readonly holdsStarts: boolean;
}

/**
 * New tasks of one service decided at once; the rest follows when these are written. What a spec asks
 * for may be far more than one turn or one write can hold.
 */
export const CREATES_MAX = 10_000;

/** Tasks of one service told to go at once, so that no plan holds all that were of a very large one; the rest follows, too. */
export const REMOVALS_MAX = 10_000;

/** Where a task of a service sits: a numbered slot, or a node (global services and jobs). */
export interface SeatPlace {
  /** 1.. for replicated services, 0.. for replicated jobs; null for global services and jobs */
  readonly slot: number | null;
  /** preassigned node of a global service's or job's task */
  readonly nodeId: NodeId | null;
}

export type OrchestratorChange =
  /** a new task from the service's present words, and an end to those it replaces, in one write */
  | {
      readonly kind: 'create';
      readonly taskId: TaskId;
      readonly service: Service;
      readonly place: SeatPlace;
      readonly desiredState: DesiredState;
      readonly stops: readonly TaskId[];
    }
  /** desired state only grows: what is further already stays as it is */
  | { readonly kind: 'desire'; readonly taskId: TaskId; readonly desiredState: DesiredState }
  | {
      readonly kind: 'update-status';
      readonly serviceId: ServiceId;
      readonly specVersion: number;
      readonly status: UpdateStatus;
    }
  /**
   * Back to the previous spec; the only place where a spec changes without its user. `paused` is the status
   * if that cannot be any more, its message to be completed by why.
   */
  | {
      readonly kind: 'rollback';
      readonly serviceId: ServiceId;
      readonly specVersion: number;
      readonly status: UpdateStatus;
      readonly paused: UpdateStatus;
    };

/** A node on which nothing of ours may stay: gone, down or drained. */
export function isLost(node: Node | undefined): boolean {
  return !node || node.status.state === 'down' || node.spec.availability === 'drain';
}

/** The time from which on a step may be taken; null = no need to look again. */
export function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

export const nanosToMs = (nanos: number): number => nanos / 1e6;
