/** Where the tasks of one group go. Books each decision in the table at once; writes nothing. */
import type { NodeId } from '../../common/model/ids.ts';
import type { GenericResource } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { genericDemand } from './generic-pool.ts';
import { groupKey, type NodeEntry } from './node-entry.ts';
import type { NodeTable } from './node-table.ts';
import { Pipeline } from './pipeline.ts';
import { labelReaders, preferenceTree } from './preferences.ts';
import { type NodeSource, SpreadHeap } from './spread.ts';

export interface Placement {
  readonly kind: 'place';
  readonly task: Task;
  readonly nodeId: NodeId;
  readonly assignedGenericResources: readonly GenericResource[];
}

export interface Refusal {
  readonly kind: 'refuse';
  readonly task: Task;
  /** for `status.err` */
  readonly explanation: string;
}

export type Decision = Placement | Refusal;

/**
 * Decides for tasks that are alike (same service and spec version).
 * @param nowMs monotonic, for the age of failures
 */
export function planGroup(table: NodeTable, tasks: readonly Task[], nowMs: number): Decision[] {
  const [model] = tasks;
  if (!model) return [];
  const pipeline = new Pipeline(model, table);
  const source = openSource(table, model, pipeline, nowMs);
  const decisions: Decision[] = [];
  let refused: string | null = null;
  for (const task of tasks) {
    let placement: Placement | null = null;
    if (refused === null) {
      source.placeOn((entry) => {
        placement = book(table, task, entry);
      });
    }
    if (placement) {
      decisions.push(placement);
      continue;
    }
    refused ??= noSuitableNode(pipeline.explain(table.entries));
    decisions.push({ kind: 'refuse', task, explanation: refused });
  }
  return decisions;
}

/** A task of a global service: only its own node counts. Null while that node is unknown. */
export function planPreassigned(table: NodeTable, task: Task): Decision | null {
  const entry = task.nodeId === null ? undefined : table.get(task.nodeId);
  if (!entry) return null;
  const pipeline = new Pipeline(task, table);
  if (pipeline.passes(entry)) return book(table, task, entry);
  return { kind: 'refuse', task, explanation: pipeline.explain([entry]) };
}

function noSuitableNode(explanation: string): string {
  return explanation === '' ? 'no suitable node' : `no suitable node (${explanation})`;
}

function openSource(table: NodeTable, model: Task, pipeline: Pipeline, nowMs: number): NodeSource {
  const passes = (entry: NodeEntry): boolean => pipeline.passes(entry);
  const key = groupKey(model);
  const heap = (entries: readonly NodeEntry[]): NodeSource =>
    new SpreadHeap(entries, model.serviceId, passes, (entry) => entry.failuresOf(key, nowMs));
  const readers = labelReaders(model.spec.placement.preferences);
  return preferenceTree([...table.entries], readers, model.serviceId, passes, heap);
}

function book(table: NodeTable, task: Task, entry: NodeEntry): Placement {
  const assignedGenericResources = [
    ...genericDemand(task.spec.resources.reservations.generic),
  ].flatMap(([kind, count]) => entry.generic.pick(kind, count));
  const nodeId = entry.node.id;
  table.putTask({
    ...task,
    nodeId,
    assignedGenericResources,
    status: { ...task.status, state: 'assigned' },
  });
  return { kind: 'place', task, nodeId, assignedGenericResources };
}
