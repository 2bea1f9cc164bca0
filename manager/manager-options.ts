/** What a manager is given, and how it comes to its state. */
import type { Clock } from '../common/base/clock.ts';
import type { OnFailure } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import type { NodeId } from '../common/model/ids.ts';
import type { ExchangeToken } from '../common/model/registry-token.ts';
import type { CredentialsSource } from '../common/rpc/credentials.ts';
import type { RpcClients } from '../common/rpc/pool.ts';
import type { RpcService } from '../common/rpc/server.ts';
import type { NewCluster } from './ca/bootstrap.ts';
import type { TellClusterEvent } from './cluster-events.ts';
import type { Disk } from './raftnode/disk.ts';
import type { RaftNodeOptions } from './raftnode/node-options.ts';
import type { RegistryLogins } from './registry-credentials.ts';

export interface ManagerOptions {
  readonly dataDir: string;
  readonly nodeId: NodeId;
  readonly clusterId: string;
  /** `IP:port` where the other managers reach this one */
  readonly address: string;
  readonly server: RpcService;
  readonly pool: RpcClients;
  /** of this node: shown to external certificate authorities */
  readonly credentials: Pick<CredentialsSource, 'current'>;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
  /** How often snapshots are taken and how large segments are; default: see `RaftNodeOptions`. */
  readonly raft?: Pick<
    RaftNodeOptions,
    'snapshotIntervalEntries' | 'keepEntries' | 'segmentBytes' | 'smallSegmentBytes'
  >;
  /** of this node, which as the leader's exchanges them for all; default: they are left as they are */
  readonly registryLogins?: RegistryLogins & { readonly exchange: ExchangeToken };
  /** `Manager.identityKey` may be another. */
  readonly onLockChanged?: () => void;
  /** What changes in the cluster, for the events of this node's API. */
  readonly onClusterEvent?: TellClusterEvent;
  /** This node was removed from the group of managers. */
  readonly onRemoved: () => void;
}

/** How this manager comes to its state. The addresses are those of managers known from elsewhere. */
export type ManagerOrigin =
  | { readonly kind: 'bootstrap'; readonly cluster: NewCluster }
  | { readonly kind: 'join'; readonly managerAddresses: readonly string[] }
  | {
      readonly kind: 'restart';
      readonly forceNewCluster: boolean;
      /** opens the keys of a locked manager */
      readonly unlockKey?: Uint8Array;
      readonly managerAddresses: readonly string[];
    };
