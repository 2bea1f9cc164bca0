/**
 * Where the tasks of services that are about to change would land, by the rules that place them: the groups are
 * planned one after the other in a table of their own. Pure.
 */
import { asId, type NetworkId, type NodeId, type TaskId } from '../../common/model/ids.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import type { PlacementForecast, PlacementStep } from '../../common/model/placement.ts';
import { isPredefinedNetwork } from '../../common/model/predefined-networks.ts';
import type { Endpoint, Service } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { NodeTable } from './node-table.ts';
import { type Decision, planGroup, planPreassigned } from './plan-placement.ts';

/** Books all of it in `table`. @param nowMs monotonic */
export function forecast(
  table: NodeTable,
  steps: readonly PlacementStep[],
  nowMs: number,
): readonly PlacementForecast[] {
  let minted = 0;
  return steps.map((step) => {
    const { service, coming } = step;
    const next = (nodeId: NodeId | null): Task =>
      candidateTask(service, asId<TaskId>(`forecast-${minted++}`), nodeId);
    const decisions =
      coming === null ? onEachNode(table, step, next) : oneByOne(table, step, coming, next, nowMs);
    return summary(table, decisions);
  });
}

/** In the order of an update: a task's predecessor leaves before it comes, or after. */
function oneByOne(
  table: NodeTable,
  { service, gone }: PlacementStep,
  coming: number,
  next: (nodeId: null) => Task,
  nowMs: number,
): Decision[] {
  const startsFirst = service.spec.update?.order === 'start-first';
  const decisions: Decision[] = [];
  for (let at = 0; at < coming; at++) {
    const predecessor = gone[at];
    if (predecessor !== undefined && !startsFirst) table.removeTask(predecessor);
    decisions.push(...planGroup(table, [next(null)], nowMs).decisions);
    if (predecessor !== undefined && startsFirst) table.removeTask(predecessor);
  }
  for (const id of gone.slice(coming)) table.removeTask(id);
  return decisions;
}

/** What a node refuses by itself is none of its tasks. */
function onEachNode(
  table: NodeTable,
  { gone }: PlacementStep,
  next: (nodeId: NodeId) => Task,
): Decision[] {
  for (const id of gone) table.removeTask(id);
  return [...table.indexes()].flatMap((index) => {
    const decision = planPreassigned(table, next(table.node(index).id));
    return decision === null || decision.kind === 'refuse' ? [] : [decision];
  });
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
  nodes.sort((a, b) => (a.hostname < b.hostname ? -1 : a.hostname > b.hostname ? 1 : 0));
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
  };
}
