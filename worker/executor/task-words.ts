/** What a task's container is in the words of others: of events, and of its networks. Pure. */
import { containerIdOf } from '../../common/model/container-id.ts';
import { containerAttributes } from '../../common/model/container-labels.ts';
import { type EndpointOptions, endpointOptionsOf } from '../../common/model/endpoint-options.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { Task } from '../../common/model/task.ts';
import type { EventSubject } from './container-events.ts';
import type { Networks } from './ports.ts';

/** A task's container and its networks, as events name them. @param imageLabels over which its own go */
export function taskSubject(
  task: Task,
  networks: Pick<Networks, 'networkOf'>,
  imageLabels: () => StringMap,
): EventSubject {
  return {
    id: containerIdOf(task.id),
    attributes: () => ({ ...imageLabels(), ...containerAttributes(task) }),
    networks: () =>
      task.networks.map(({ networkId: id }) => {
        const { name = null, driver = null } = networks.networkOf(id) ?? {};
        return { id, name, type: driver };
      }),
  };
}

/** Of its places by network; null = none was asked for with any. Throws as `endpointOptionsOf`. */
export function endpointOptions({ spec }: Task): Record<string, EndpointOptions> | null {
  const asked = spec.networks.filter((one) => Object.keys(one.driverOptions).length > 0);
  if (asked.length === 0) return null;
  const entries = asked.map((one) => [one.target, endpointOptionsOf(one.driverOptions)] as const);
  return Object.fromEntries(entries);
}
