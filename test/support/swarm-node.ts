/** A node's part in a cluster, with a manager on a real socket and disk; its worker does nothing. */
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { type ClusterSpec, DEFAULT_CLUSTER_SPEC } from '../../common/model/cluster.ts';
import { SwarmNode } from '../../daemon/swarm-node.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import type { Worker } from '../../worker/worker.ts';
import { freePort } from './free-port.ts';

type Used =
  | 'register'
  | 'join'
  | 'suspend'
  | 'leave'
  | 'describeAgain'
  | 'refusal'
  | 'images'
  | 'whenGreeted';

export const idleWorker: Pick<Worker, Used> = {
  register: () => async () => {},
  join: async () => {},
  suspend: async () => {},
  leave: async () => {},
  describeAgain: () => {},
  refusal: '',
  whenGreeted: async () => {},
  images: { identities: { onReplaced: () => () => {} } } as unknown as Worker['images'],
};

/** It is in no cluster yet. */
export function idleSwarmNode(
  dataDir: string,
  onFailure: (err: unknown) => void,
  { disk = new NodeDisk(), clock = new SystemClock(), worker = idleWorker } = {},
): SwarmNode {
  return new SwarmNode({
    ...{ dataDir, hostname: 'host', listenAddress: '', advertiseAddress: '' },
    worker: worker as Worker,
    describe: () => {
      throw new Error('nobody asks');
    },
    ...{ disk, clock, random: new SystemRandom(), log: silentLogger },
    onFailure,
    register: () => () => {},
    onClusterEvent: () => {},
  });
}

/** For a cluster on a free port of this machine. */
export async function initRequest(spec: ClusterSpec = DEFAULT_CLUSTER_SPEC) {
  return {
    listenAddress: `127.0.0.1:${await freePort()}`,
    advertiseAddress: '127.0.0.1',
    dataPathAddress: '',
    forceNewCluster: false,
    cluster: {
      ...{ spec, defaultAddressPool: ['10.0.0.0/8'], subnetSize: 24, dataPathPort: 4789 },
      availability: 'active',
    },
  } as const;
}
