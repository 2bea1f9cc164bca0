/** What a task's container is called. Pure. */
import { defaultHostname } from '../../common/model/container-id.ts';
import { networkModeOf } from '../../common/model/predefined-networks.ts';
import type { Task } from '../../common/model/task.ts';

/**
 * @param task with its templates expanded
 * @param machineName this machine's own
 */
export function taskHostname(
  { id, spec: { container, networks } }: Pick<Task, 'id' | 'spec'>,
  machineName: string,
): string {
  if (container.isolation?.uts === 'host') return machineName;
  if (container.hostname !== '') return container.hostname;
  // As the host is called in its own network; without a network it is itself alone.
  return networkModeOf(networks) === 'host' ? machineName : defaultHostname(id);
}
