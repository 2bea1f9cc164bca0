/** What a task's files of names say when its network is its own. Pure. */
import { type NetworkMode, networkModeOf } from '../../common/model/predefined-networks.ts';
import { addressesIn, type LocalAddress, type Task } from '../../common/model/task.ts';
import { hostsFile, plainResolvConf, resolvConf } from '../network/name-files.ts';
import type { NameFiles } from './task-files.ts';

export interface NameFacts {
  readonly hostname: string;
  /** of the host */
  readonly nameservers: readonly string[];
  /** those that this node gave it, which are known from its attachment on */
  readonly localAddresses: readonly LocalAddress[];
}

/** @param task with its templates expanded */
export function ownNames(task: Task, facts: NameFacts): NameFiles {
  const { container, networks } = task.spec;
  const { hostname } = facts;
  return {
    resolvConf: resolvConfOf(networkModeOf(networks), container.dns, facts),
    hosts: hostsFile({
      hostname,
      domainname: container.domainname,
      addresses: addressesOf(task, facts),
      extra: container.hosts,
    }),
    hostname,
  };
}

function resolvConfOf(
  mode: NetworkMode,
  dns: Task['spec']['container']['dns'],
  { nameservers }: NameFacts,
): string {
  if (mode === 'cluster') return resolvConf(dns);
  return plainResolvConf(dns, nameservers, mode === 'host');
}

/** In the order of its networks. */
function addressesOf({ networks, status }: Task, { localAddresses }: NameFacts): readonly string[] {
  const known = { networks, status: { ...status, localAddresses } };
  return networks.flatMap(({ networkId }) => addressesIn(known, networkId));
}
