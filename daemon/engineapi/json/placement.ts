/** The explanation of a placement, to JSON. */
import type { ServiceExplanationJson } from '../../../common/model/engine-json/service.ts';
import type { PlacementExplanation } from '../../../common/model/placement.ts';

export function explanationToJson(explanation: PlacementExplanation): ServiceExplanationJson {
  const { serviceId, serviceName, waiting, waitingCount, nodes, nearest } = explanation;
  return {
    ServiceID: serviceId,
    ServiceName: serviceName,
    WaitingCount: waitingCount,
    Waiting: waiting.map(({ taskId, slot, nodeId, state, reason }) => ({
      TaskID: taskId,
      Slot: slot ?? 0,
      NodeID: nodeId ?? '',
      State: state,
      Reason: reason,
    })),
    Nodes: nodes.map(({ nodeId, hostname, tasks, refusals }) => ({
      NodeID: nodeId,
      Hostname: hostname,
      Tasks: tasks,
      Fits: refusals.length === 0,
      Refusals: refusals.map(({ filter, detail, remedy, shortBy }) => ({
        Filter: filter,
        Detail: detail,
        Remedy: remedy,
        ShortBy: shortBy,
      })),
    })),
    Nearest: nearest && {
      NodeID: nearest.nodeId,
      Hostname: nearest.hostname,
      Changes: nearest.changes,
    },
  };
}
