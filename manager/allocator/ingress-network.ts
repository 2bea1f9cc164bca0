/** The routing mesh's own network, made once for each cluster. */
import type { Random } from '../../common/base/random.ts';
import { type NetworkId, newId } from '../../common/model/ids.ts';
import type { Network } from '../../common/model/network.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import type { WriteTx } from '../store/types.ts';

export const INGRESS_NETWORK_NAME = 'ingress';

/** Not allocated yet: its subnet is the first of the default pools, 10.0.0.0/24 by default. */
export function newIngressNetwork(id: NetworkId): Network {
  return {
    id,
    meta: UNSTAMPED,
    spec: {
      name: INGRESS_NETWORK_NAME,
      labels: {},
      driver: 'overlay',
      driverOptions: {},
      internal: false,
      attachable: false,
      ingress: true,
      ipv6: false,
      ipam: { driver: 'default', options: {}, configs: [] },
      configOnly: false,
      configFrom: '',
    },
    ipam: [],
    vxlanId: null,
  };
}

/**
 * Creates it in a cluster that has no network and no service yet. One that the user removed later
 * does not come back by itself: that is the user's word.
 */
export function ensureIngressNetwork(tx: WriteTx, random: Random): void {
  if (tx.count('network') > 0 || tx.count('service') > 0) return;
  tx.create('network', newIngressNetwork(newId<NetworkId>(random)));
}
