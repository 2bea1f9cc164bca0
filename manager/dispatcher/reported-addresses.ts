/**
 * Addresses that a node says it gave its task. All nodes are told of them, so what a node can say is limited to what it may choose.
 */
import { isIPv4 } from 'node:net';
import { addressProblem } from '../../common/model/fixed-address.ts';
import { isNodeMade } from '../../common/model/network.ts';
import type { LocalAddress, Task } from '../../common/model/task.ts';
import type { ReadView } from '../store/types.ts';

/**
 * Those that stand: one for each of the task's places whose address its node chooses, and of the network's subnet where the
 * cluster knows that. The others are as if they had not been told.
 */
export function standingAddresses(
  view: ReadView,
  { networks }: Pick<Task, 'networks'>,
  reported: readonly LocalAddress[],
): readonly LocalAddress[] {
  if (reported.length === 0) return reported; // most of the time
  return networks.flatMap(({ networkId, addresses }) => {
    if (addresses.length > 0) return [];
    const spec = view.get('network', networkId)?.spec;
    if (!spec || !isNodeMade(spec)) return [];
    const { name, ipam } = spec;
    const isKnown = ipam.configs.some(({ subnet }) => subnet !== '');
    const found = reported.find((one) => {
      const address = addressOf(one);
      if (one.networkId !== networkId || address === null) return false;
      return !isKnown || addressProblem(address, name, ipam.configs) === null;
    });
    return found ? [found] : [];
  });
}

/** null unless it is IPv4 in CIDR notation */
function addressOf({ address: cidr }: LocalAddress): string | null {
  const [address = '', prefix = '', ...rest] = cidr.split('/');
  const isCidr = isIPv4(address) && /^\d{1,2}$/.test(prefix) && Number(prefix) <= 32;
  return isCidr && rest.length === 0 ? address : null;
}
