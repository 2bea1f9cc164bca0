/**
 * Tasks that are prepared and not let run, because their service waits for another one: what readers are
 * told of that. It is worked out when somebody asks: the status of a task on a node is its agent's.
 */
import type { ServiceId } from '../../common/model/ids.ts';
import { type ClusterView, isCold, waitInWords } from '../../common/model/start-order.ts';
import type { Task } from '../../common/model/task.ts';
import type { ReadView } from '../store/types.ts';

/** For the tasks of one answer: each service is looked at once. */
export function tellOfWaiting(view: ReadView): (task: Task) => Task {
  const known = new Map<ServiceId, string | null>();
  const wordsOf = (id: ServiceId): string | null => {
    const words = known.has(id) ? known.get(id) : waitOf(view, id);
    known.set(id, words ?? null);
    return words ?? null;
  };
  return (task) => {
    const { desiredState, status, serviceId } = task;
    if (desiredState !== 'ready' || status.state !== 'ready' || status.err !== '') return task;
    const err = wordsOf(serviceId);
    return err === null ? task : { ...task, status: { ...status, err } };
  };
}

function waitOf(view: ReadView, id: ServiceId): string | null {
  const service = view.get('service', id);
  // Where a part of it runs, what is prepared waits out its restart delay.
  if (!service || !isCold(service, view.tasksByService(id))) return null;
  const cluster: ClusterView = {
    serviceByName: (name) => view.byName('service', name)[0],
    tasks: (other) => view.tasksByService(other.id),
    node: (nodeId) => view.get('node', nodeId),
  };
  return waitInWords(service.spec, cluster);
}
