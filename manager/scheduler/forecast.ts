/**
 * Where the tasks of services that are about to change would land, by the rules that place them: the groups are
 * planned one after the other in a table of their own, in turns. Pure.
 */
import type { Clock } from '../../common/base/clock.ts';
import { compareText } from '../../common/base/order.ts';
import { TurnBudget } from '../../common/base/turn-budget.ts';
import { asId, type NetworkId, type NodeId, type TaskId } from '../../common/model/ids.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import type { PlacementForecast, PlacementStep } from '../../common/model/placement.ts';
import { isPredefinedNetwork } from '../../common/model/predefined-networks.ts';
import type { Endpoint, Service } from '../../common/model/service.ts';
import { updateConfigOf } from '../../common/model/service-update.ts';
import type { Task } from '../../common/model/task.ts';
import type { NodeTable } from './node-table.ts';
import { type Decision, planGroup, planPreassigned } from './plan-placement.ts';

/** Tasks without a predecessor that are decided in one step: about a turn of work with thousands of nodes. */
const GROUP = 100;

/** Books all of it in `table`. */
export async function forecast(
  table: NodeTable,
  steps: readonly PlacementStep[],
  clock: Pick<Clock, 'monotonicMs'>,
  signal?: AbortSignal,
): Promise<readonly PlacementForecast[]> {
  const budget = new TurnBudget(clock, signal);
  budget.begin();
  let minted = 0;
  const forecasts: PlacementForecast[] = [];
  for (const step of steps) {
    const { service, coming } = step;
    const next = (nodeId: NodeId | null): Task =>
      candidateTask(service, asId<TaskId>(`forecast-${minted++}`), nodeId);
    const decisions =
      coming === null
        ? await onEachNode(table, step, next, budget)
        : await oneByOne(table, step, { coming, next, nowMs: clock.monotonicMs() }, budget);
    forecasts.push(summary(table, decisions));
  }
  return forecasts;
}

interface Coming {
  /** how many tasks */
  readonly coming: number;
  readonly next: (nodeId: null) => Task;
  /** monotonic */
  readonly nowMs: number;
}

/** In the order of an update: a task's predecessor leaves before it comes, or after. */
async function oneByOne(
  table: NodeTable,
  { service, gone }: PlacementStep,
  { coming, next, nowMs }: Coming,
  budget: TurnBudget,
): Promise<Decision[]> {
  const startsFirst = updateConfigOf(service).order === 'start-first';
  const decisions: Decision[] = [];
  for (const predecessor of gone.slice(0, coming)) {
    if (budget.spent) await budget.renew();
    if (!startsFirst) table.removeTask(predecessor);
    decisions.push(...planGroup(table, [next(null)], nowMs).decisions);
    if (startsFirst) table.removeTask(predecessor);
  }
  for (let left = coming - gone.length; left > 0; left -= GROUP) {
    if (budget.spent) await budget.renew();
    const group = Array.from({ length: Math.min(left, GROUP) }, () => next(null));
    decisions.push(...planGroup(table, group, nowMs).decisions);
  }
  for (const id of gone.slice(coming)) table.removeTask(id);
  return decisions;
}

/** What a node refuses by itself is none of its tasks. */
async function onEachNode(
  table: NodeTable,
  { gone }: PlacementStep,
  next: (nodeId: NodeId) => Task,
  budget: TurnBudget,
): Promise<Decision[]> {
  for (const id of gone) table.removeTask(id);
  const decisions: Decision[] = [];
  for (const index of table.indexes()) {
    if (budget.spent) await budget.renew();
    const decision = planPreassigned(table, next(table.node(index).id));
    if (decision !== null && decision.kind !== 'refuse') decisions.push(decision);
  }
  return decisions;
}

function summary(table: NodeTable, decisions: readonly Decision[]): PlacementForecast {
  const counts = new Map<number, number>();
  let refused = 0;
  let reason = '';
  for (const decision of decisions) {
    if (decision.kind === 'refuse') {
      refused++;
      reason ||= decision.explanation;
      continue;
    }
    const index = decision.kind === 'hold' ? decision.index : table.indexOf(decision.nodeId)!;
    counts.set(index, (counts.get(index) ?? 0) + 1);
  }
  const nodes = [...counts].map(([index, tasks]) => {
    const { id, description } = table.node(index);
    return { nodeId: id, hostname: description?.hostname ?? '', tasks };
  });
  nodes.sort((a, b) => compareText(a.hostname, b.hostname));
  return { nodes, unplaced: refused > 0 ? { tasks: refused, reason } : null };
}

/** A task that would be placed: as the orchestrator makes it and the allocator would complete it. */
export function candidateTask(service: Service, id: TaskId, nodeId: NodeId | null): Task {
  const { endpoint: spec, task, name, labels } = service.spec;
  const endpoint: Endpoint = service.endpoint ?? { spec, ports: spec.ports, virtualIps: [] };
  return {
    id,
    meta: UNSTAMPED,
    serviceId: service.id,
    slot: nodeId === null ? 0 : null,
    nodeId,
    spec: task,
    specVersion: service.specVersion,
    serviceAnnotations: { name, labels },
    status: {
      state: 'pending',
      timestampMs: 0,
      message: '',
      err: '',
      container: null,
      hostPorts: [],
      localAddresses: [],
      appliedAtMs: 0,
    },
    desiredState: 'running',
    networks: task.networks
      .filter(({ target }) => !isPredefinedNetwork(target))
      .map(({ target }) => ({ networkId: asId<NetworkId>(target), addresses: [], aliases: [] })),
    endpoint,
    logDriver: task.logDriver,
    assignedGenericResources: [],
    jobIteration: null,
    moving: null,
    hasForerunnersPlace: false,
  };
}
