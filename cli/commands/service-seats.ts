/** The running tasks of a service as containers, on whatever nodes they are. */
import { containerIdOf } from '../../common/model/container-id.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { asId, type TaskId } from '../../common/model/ids.ts';
import { hasStatus } from '../client/transport.ts';
import { type CommandContext, UsageError } from './context.ts';

export interface Seat {
  /** `web.1`, or `web.NODE` of a global service */
  readonly name: string;
  readonly containerId: string;
}

/** The running tasks that `ref` means, by slot. Throws when there is no such service. */
export async function runningSeats(context: CommandContext, ref: string): Promise<readonly Seat[]> {
  const { client } = context;
  const { service, place } = await findService(context, ref);
  const filters = { service: [service.ID], 'desired-state': ['running'] };
  const tasks = (await client.tasks(filters)).filter(({ Status }) => Status.State === 'running');
  const nodes = tasks.some(({ Slot }) => !Slot) ? await client.nodes() : [];
  const placed = tasks.map((task) => {
    const node = nodes.find(({ ID }) => ID === task.NodeID);
    const shown = task.Slot
      ? String(task.Slot)
      : (node?.Description?.Hostname ?? task.NodeID ?? '');
    return { task, shown, isMeant: place === null || [shown, task.NodeID].includes(place) };
  });
  return placed
    .filter(({ isMeant }) => isMeant)
    .sort((a, b) => bySeat(a, b))
    .map(({ task, shown }) => ({
      name: `${service.Spec.Name}.${shown}`,
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
