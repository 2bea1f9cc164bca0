/** Where tasks that are alike go. Books each decision in the table at once; writes nothing. */
import type { NodeId } from '../../common/model/ids.ts';
import type { GenericResource } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { genericDemand } from './generic-pool.ts';
import type { NodeTable } from './node-table.ts';
import { Pipeline, type Stage, stagesOf } from './pipeline.ts';
import { labelReaders, preferenceTree } from './preferences.ts';
import { explain, noSuitableNode, Refusals } from './refusals.ts';
import { type NodeSource, SpreadHeap, type SpreadRule } from './spread.ts';
import { NO_SUCCESSION, type Succession } from './successors.ts';
import { versionKey } from './task-groups.ts';

export interface Placement {
  readonly kind: 'place';
  readonly task: Task;
  readonly nodeId: NodeId;
  readonly assignedGenericResources: readonly GenericResource[];
  /** its room is that of tasks that end before it runs */
  readonly inPlace: boolean;
}

/** The task's node is one that is awaited: it has its place, and is written when the node is back. */
export interface Hold {
  readonly kind: 'hold';
  readonly task: Task;
  /** of the node */
  readonly index: number;
}

export interface Refusal {
  readonly kind: 'refuse';
  readonly task: Task;
  /** for `status.err` */
  readonly explanation: string;
}

export type Decision = Placement | Hold | Refusal;

export interface GroupPlan {
  readonly decisions: readonly Decision[];
  /** null = every task has a node */
  readonly refusals: Refusals | null;
}

/**
 * Decides for tasks that are alike.
 * @param nowMs monotonic, for the age of failures
 * @param stages of the first task: see `Pipeline`
 */
export function planGroup(
  table: NodeTable,
  tasks: readonly Task[],
  nowMs: number,
  succession: Succession = NO_SUCCESSION,
  stages?: readonly Stage[],
): GroupPlan {
  const [model] = tasks;
  if (!model) return { decisions: [], refusals: null };
  const pipeline = new Pipeline(table, stages ?? stagesOf(model, table));
  const source = openSource(table, model, pipeline, nowMs, succession);
  const decisions: Decision[] = [];
  const demand = genericDemand(model.spec.resources.reservations.generic);
  let [task, decision]: [Task, Decision | null] = [model, null];
  const take = (index: number): void => {
    decision = book(table, task, index, demand);
  };
  for (let at = 0; at < tasks.length; at++) {
    task = tasks[at]!;
    if (source.placeOn(take) < 0) {
      const rest = tasks.slice(at);
      return planInPlace(table, rest, pipeline, succession, decisions);
    }
    decisions.push(decision!);
  }
  return { decisions, refusals: null };
}

/** For tasks that no node has room for as it is: where others end before them, their places are theirs. */
function planInPlace(
  table: NodeTable,
  tasks: readonly Task[],
  pipeline: Pipeline,
  { before }: Succession,
  decisions: Decision[],
): GroupPlan {
  const refused = tasks.filter((task) => {
    const leaving = before(task);
    const decision = table.without(leaving, () => {
      const index = leaving
        .map((taskId) => table.placeOf(taskId))
        .find((home) => home !== undefined && pipeline.passes(home));
      const { generic } = task.spec.resources.reservations;
      return index === undefined ? null : book(table, task, index, genericDemand(generic), true);
    });
    if (decision) decisions.push(decision);
    return decision === null;
  });
  if (refused.length === 0) return { decisions, refusals: null };
  const refusals = new Refusals(table, pipeline);
  const explanation = noSuitableNode(refusals.explanation());
  for (const task of refused) decisions.push({ kind: 'refuse', task, explanation });
  return { decisions, refusals };
}

/** A task of a global service: only its own node counts. Null while that node is unknown. */
export function planPreassigned(
  table: NodeTable,
  task: Task,
  before: Succession['before'] = NO_SUCCESSION.before,
): Decision | null {
  const index = task.nodeId === null ? undefined : table.indexOf(task.nodeId);
  if (index === undefined) return null;
  const pipeline = new Pipeline(table, stagesOf(task, table));
  const demand = genericDemand(task.spec.resources.reservations.generic);
  const leaving = before(task);
  if (leaving.length > 0 && pipeline.verdict(index) === 0) return book(table, task, index, demand);
  return table.without(leaving, () => {
    const verdict = pipeline.verdict(index);
    if (verdict === 0) return book(table, task, index, demand, leaving.length > 0);
    const { filter } = pipeline.stages.find(({ number }) => number === verdict)!;
    return { kind: 'refuse', task, explanation: explain([{ filter: filter.name, nodes: 1 }]) };
  });
}

function openSource(
  table: NodeTable,
  model: Task,
  pipeline: Pipeline,
  nowMs: number,
  { leaving }: Succession,
): NodeSource {
  const rule: SpreadRule = {
    table,
    serviceId: model.serviceId,
    leaving,
    hasRoom: (index) => pipeline.hasRoom(index),
    failures: table.failures.recent(versionKey(model), nowMs),
  };
  const readers = labelReaders(model.spec.placement.preferences);
  const candidates = pipeline.candidates();
  if (readers.length === 0) return new SpreadHeap(candidates, rule);
  const members = new Set(candidates);
  return preferenceTree([...table.indexes()], readers, (index) => members.has(index), rule);
}

function book(
  table: NodeTable,
  task: Task,
  index: number,
  demand: ReadonlyMap<string, number>,
  inPlace = false,
): Placement | Hold {
  const assignedGenericResources =
    demand.size === 0
      ? NO_GENERIC
      : [...demand].flatMap(([kind, count]) => table.generic(index).pick(kind, count));
  table.book(task, index, assignedGenericResources);
  if (table.isAwaited(index)) return { kind: 'hold', task, index };
  return { kind: 'place', task, nodeId: table.node(index).id, assignedGenericResources, inPlace };
}

const NO_GENERIC: readonly GenericResource[] = [];
