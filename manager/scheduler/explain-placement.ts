/**
 * What the scheduler would say of one more task of a service, node by node. Worked out from the store, so
 * that every manager can tell it, whoever leads.
 */
import type { Clock } from '../../common/base/clock.ts';
import { TurnBudget } from '../../common/base/turn-budget.ts';
import { asId, type TaskId } from '../../common/model/ids.ts';
import { type Network, networkPlugins } from '../../common/model/network.ts';
import type {
  NodeVerdict,
  PlacementExplanation,
  PlacementForecast,
  PlacementStep,
  TaskMove,
  WaitingTask,
} from '../../common/model/placement.ts';
import type { Service } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { Store } from '../store/types.ts';
import type { NodeRefusal } from './filter.ts';
import { candidateTask, forecast } from './forecast.ts';
import { NodeTable } from './node-table.ts';
import { Pipeline, stagesOf } from './pipeline.ts';
import { isActive } from './place.ts';
import { planRebalance } from './rebalance.ts';

/** Waiting tasks that are named: as a rule all say the same. */
const WAITING_SHOWN_MAX = 100;

export class PlacementExplainer {
  readonly #store: Store;
  readonly #clock: Pick<Clock, 'monotonicMs'>;

  constructor(options: { readonly store: Store; readonly clock: Pick<Clock, 'monotonicMs'> }) {
    this.#store = options.store;
    this.#clock = options.clock;
  }

  /** Of the state at the time of the call, worked out in turns. */
  async explain(service: Service, signal?: AbortSignal): Promise<PlacementExplanation> {
    const { table, tasks } = await this.#snapshot(signal);
    const own = tasks.filter(({ serviceId }) => serviceId === service.id);
    return explainPlacement(table, service, own);
  }

  /**
   * Where tasks would land if these steps were taken now, one after the other.
   * @param newNetworks that are not there yet, and that services of the steps name
   */
  async forecast(
    steps: readonly PlacementStep[],
    newNetworks: readonly Pick<Network, 'id' | 'spec'>[],
    signal?: AbortSignal,
  ): Promise<readonly PlacementForecast[]> {
    if (steps.length === 0) return [];
    const { table } = await this.#snapshot(signal);
    for (const { id, spec } of newNetworks) table.networkPlugins.set(id, networkPlugins(spec));
    return forecast(table, steps, this.#clock, signal);
  }

  /** Tasks that would better be elsewhere, at most `movesMax`. */
  async rebalance(movesMax: number, signal?: AbortSignal): Promise<readonly TaskMove[]> {
    const { table, tasks } = await this.#snapshot(signal);
    const services = this.#store.view((view) => view.list('service'));
    return planRebalance(table, { services, tasks }, movesMax, this.#clock, signal);
  }

  /** Everything at the time of the call, put into a table in turns. */
  async #snapshot(
    signal: AbortSignal | undefined,
  ): Promise<{ readonly table: NodeTable; readonly tasks: readonly Task[] }> {
    const budget = new TurnBudget(this.#clock, signal);
    budget.begin();
    const { networks, nodes, tasks } = this.#store.view((view) => ({
      networks: view.list('network'),
      nodes: view.list('node'),
      tasks: view.list('task'),
    }));
    const table = new NodeTable();
    for (const { id, spec } of networks) table.networkPlugins.set(id, networkPlugins(spec));
    for (const node of nodes) {
      table.putNode(node);
      if (budget.spent) await budget.renew();
    }
    for (const task of tasks) {
      table.putTask(task);
      if (budget.spent) await budget.renew();
    }
    return { table, tasks };
  }
}

/** @param tasks of the service */
export function explainPlacement(
  table: NodeTable,
  service: Service,
  tasks: readonly Task[],
): PlacementExplanation {
  const pipeline = new Pipeline(
    table,
    stagesOf(candidateTask(service, asId<TaskId>(''), null), table),
  );
  const active = table.activeOf(service.id);
  // A node that has its task of a global service gets no other.
  const isServed = (index: number): boolean => isGlobal(service) && (active.get(index) ?? 0) > 0;
  const looks = [...table.indexes()].map((index) => ({
    index,
    refusals: isServed(index) ? [] : refusalsOf(pipeline, index),
  }));
  const verdicts = looks.map(({ index, refusals }): NodeVerdict => {
    const node = table.node(index);
    return {
      nodeId: node.id,
      hostname: node.description?.hostname ?? '',
      tasks: active.get(index) ?? 0,
      refusals: refusals.map(({ effort, ...refusal }) => refusal),
    };
  });
  const best = verdicts.some(({ refusals }) => refusals.length === 0)
    ? undefined
    : looks.sort((a, b) => effortOf(a.refusals) - effortOf(b.refusals))[0];
  const waiting = tasks
    .flatMap((task) => waitingTask(task) ?? [])
    .sort((a, b) => (a.slot ?? 0) - (b.slot ?? 0));
  const bestNode = best && table.node(best.index);
  return {
    serviceId: service.id,
    serviceName: service.spec.name,
    waiting: waiting.slice(0, WAITING_SHOWN_MAX),
    waitingCount: waiting.length,
    nodes: verdicts,
    nearest:
      best && bestNode
        ? {
            nodeId: bestNode.id,
            hostname: bestNode.description?.hostname ?? '',
            changes: best.refusals.map(({ remedy }) => remedy),
          }
        : null,
  };
}

type RankedRefusal = NodeRefusal & { readonly filter: string };

function refusalsOf(pipeline: Pipeline, index: number): RankedRefusal[] {
  return pipeline.stages
    .filter(({ check }) => !check.passes(index))
    .map(({ filter, check }) => ({ filter: filter.name, ...check.refusal(index) }));
}

function effortOf(refusals: readonly RankedRefusal[]): number {
  return refusals.reduce((sum, { effort }) => sum + effort, 0);
}

function isGlobal({ spec }: Service): boolean {
  return spec.mode.kind === 'global' || spec.mode.kind === 'global-job';
}

function waitingTask(task: Task): WaitingTask | null {
  const { state, err } = task.status;
  if (!isActive(task) || (state !== 'new' && state !== 'pending')) return null;
  return { taskId: task.id, slot: task.slot, nodeId: task.nodeId, state, reason: err };
}
