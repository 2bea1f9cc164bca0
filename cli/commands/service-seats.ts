/** The running tasks of a service as containers, on whatever nodes they are. */
import { containerIdOf } from '../../common/model/container-id.ts';
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type { ServiceJson } from '../../common/model/engine-json/service.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { asId, type TaskId } from '../../common/model/ids.ts';
import { ApiError, hasStatus } from '../client/transport.ts';
import { type CommandContext, UsageError } from './context.ts';

export interface Seat {
  /** `web.1`, or `web.NODE` of a global service */
  readonly name: string;
  /** name of the node */
  readonly node: string;
  readonly containerId: string;
}

const ON_WORKERS =
  'From a worker this works where managers and workers are started with --api-exec-on-workers.';

/** The running tasks that `ref` means, by slot. Throws when there is no such service. */
export function runningSeats(context: CommandContext, ref: string): Promise<readonly Seat[]> {
  const { client } = context;
  return orHowOnWorkers(context, async () => {
    const { service, place } = await findService(context, ref);
    const [tasks, nodes] = await Promise.all([
      client.tasks({ service: [service.ID], 'desired-state': ['running'] }),
      client.nodes(),
    ]);
    return seatsOf(service, tasks, nodes, place);
  });
}

/** What `read` finds. A worker's refusal says besides Docker's words by what flag the daemons would answer. */
export async function orHowOnWorkers<T>(
  { client }: CommandContext,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (err) {
    if (!hasStatus(err, 503)) throw err;
    const { Swarm } = await client.info();
    const isWorker = Swarm.LocalNodeState === 'active' && !Swarm.ControlAvailable;
    throw isWorker ? new ApiError(err.status, `${err.message} ${ON_WORKERS}`) : err;
  }
}

/** Of its tasks those that run. @param place slot, or node's name or id; null = all */
export function seatsOf(
  service: ServiceJson,
  tasks: readonly TaskJson[],
  nodes: readonly NodeJson[],
  place: string | null = null,
): readonly Seat[] {
  const names = new Map(nodes.map(({ ID, Description }) => [ID, Description?.Hostname]));
  return tasks
    .filter(({ Status }) => Status.State === 'running')
    .map((task) => {
      const node = names.get(task.NodeID ?? '') ?? task.NodeID ?? '';
      return { task, node, shown: task.Slot ? String(task.Slot) : node };
    })
    .filter(({ task, shown }) => place === null || [shown, task.NodeID].includes(place))
    .sort((a, b) => bySeat(a, b))
    .map(({ task, node, shown }) => ({
      name: `${service.Spec.Name}.${shown}`,
      node,
      containerId: containerIdOf(asId<TaskId>(task.ID)),
    }));
}

type Placed = { readonly task: TaskJson; readonly shown: string };

function bySeat(a: Placed, b: Placed): number {
  const slots = (a.task.Slot ?? 0) - (b.task.Slot ?? 0);
  return slots !== 0 ? slots : a.shown < b.shown ? -1 : 1;
}

/** A service's name holds no dot: what follows one is a slot or a node. */
async function findService(context: CommandContext, ref: string) {
  const at = ref.indexOf('.');
  const [name, place] = at < 0 ? [ref, null] : [ref.slice(0, at), ref.slice(at + 1)];
  try {
    return { service: await context.client.service(name), place };
  } catch (err) {
    if (hasStatus(err, 404)) throw new UsageError(`no such service: ${name}`);
    throw err;
  }
}
