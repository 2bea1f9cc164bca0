/** What a node is made of, whether or not it is in a cluster. */
import type { Clock } from '../common/base/clock.ts';
import type { OnFailure } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import type { NodeDescription } from '../common/model/node.ts';
import type { Identity } from '../common/pki/identity.ts';
import type { RpcService } from '../common/rpc/server.ts';
import type { TellClusterEvent } from '../manager/cluster-events.ts';
import type { Disk } from '../manager/raftnode/disk.ts';
import type { Worker } from '../worker/worker.ts';

export interface SwarmNodeOptions {
  readonly dataDir: string;
  readonly hostname: string;
  /** of the daemon's flags; empty = not given */
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  readonly worker: Worker;
  readonly describe: (address: string, identity: Identity) => NodeDescription;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
  /** Serves what managers ask of this node's daemon; returns the release. */
  readonly register: (server: RpcService) => () => void;
  /** What changes in the cluster, while this node is a manager. */
  readonly onClusterEvent: TellClusterEvent;
}
