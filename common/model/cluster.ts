/** Cluster: exactly one object; settings, trust root and join secrets. */
import type { ClusterId } from './ids.ts';
import type { Annotations, Meta } from './objects.ts';
import type { LogDriver } from './service.ts';

export interface ClusterSpec extends Annotations {
  /** tasks kept per slot, the live one included; negative = for ever */
  readonly taskHistoryLimit: number;
  readonly raft: {
    /** entries between snapshots */
    readonly snapshotInterval: number;
    readonly keepOldSnapshots: number;
    readonly logEntriesForSlowFollowers: number;
    /** of 100 ms: after 1 to 2 times as long without a word of the leader a manager stands for election */
    readonly electionTicks: number;
    /** the leader's word comes as often as that; fewer than `electionTicks` */
    readonly heartbeatTicks: number;
  };
  /** shortest period of agents' heartbeats; the dispatcher stretches it when there are thousands */
  readonly dispatcherHeartbeatNanos: number;
  readonly nodeCertExpiryNanos: number;
  readonly autoLockManagers: boolean;
  /** another value than the last one = go over to a new trust root that the managers make */
  readonly forceRotate: number;
  /** those whose root signs now do so for the managers, the first that answers */
  readonly externalCas: readonly ExternalCa[];
  /** of new tasks whose service names none; null = their node's */
  readonly taskLogDriver: LogDriver | null;
}

/** A certificate authority outside of the cluster. */
export interface ExternalCa {
  readonly protocol: 'cfssl';
  /** `https://...`, its signing endpoint */
  readonly url: string;
  readonly options: Readonly<Record<string, string>>;
  /** the root that it signs with, PEM; '' = the cluster's root of when it was named */
  readonly certPem: string;
}

/** The way from one trust root to the next: until it is over, nodes trust the former one. */
export interface RootRotation {
  readonly certPem: string;
  /** '' = external authorities have it; else as `Cluster.rootCa.keyPem` */
  readonly keyPem: string;
  /** `certPem` signed by the former root: sent along with what the new one issued */
  readonly crossSignedPem: string;
}

/**
 * Shortest heartbeat period that a cluster may have: a quarter of the default, and the shortest with which whole clusters
 * are simulated. Nanoseconds that were meant to be something else come to 0 ms, and to agents that do nothing but beat.
 */
export const DISPATCHER_HEARTBEAT_NANOS_MIN = 500_000_000;

export const DEFAULT_CLUSTER_SPEC: ClusterSpec = {
  name: 'default',
  labels: {},
  taskHistoryLimit: 5,
  raft: {
    snapshotInterval: 10_000,
    keepOldSnapshots: 0,
    logEntriesForSlowFollowers: 500,
    electionTicks: 10,
    heartbeatTicks: 1,
  },
  dispatcherHeartbeatNanos: 2_000_000_000,
  nodeCertExpiryNanos: 90 * 24 * 3600 * 1e9,
  autoLockManagers: false,
  forceRotate: 0,
  externalCas: [],
  taskLogDriver: null,
};

export interface Cluster {
  readonly id: ClusterId;
  readonly meta: Meta;
  readonly spec: ClusterSpec;
  readonly rootCa: {
    readonly certPem: string;
    /** never leaves the managers; never in an API answer; '' = external authorities have it */
    readonly keyPem: string;
    /** digest part of the join tokens: base 36 sha256 of the DER certificate, 50 characters */
    readonly certDigest: string;
    readonly joinTokens: { readonly worker: string; readonly manager: string };
    /** null = none is under way */
    readonly rotation: RootRotation | null;
    /**
     * `certPem` signed by the root before it, sent along with node certificates: a node that was away when the
     * rotation ended still trusts that one. '' = there was no root before.
     */
    readonly bridgePem: string;
    /** `spec.forceRotate` as it was acted on last */
    readonly lastForcedRotation: number;
  };
  /**
   * Seals the keys of every manager on its disk, as `SWMKEY-1-...`; '' while `autoLockManagers` is off.
   * Never in an API answer but that of the unlock key.
   */
  readonly unlockKey: string;
  /** grows with each change of `unlockKey`; 0 = there never was one */
  readonly unlockKeyVersion: number;
  /** CIDRs from which overlay subnets are cut */
  readonly defaultAddressPool: readonly string[];
  /** prefix length of a subnet cut from the pool */
  readonly subnetSize: number;
  /** UDP port of VXLAN */
  readonly dataPathPort: number;
  /** node id -> wall ms after which the entry may be dropped: removed nodes whose certificates are void */
  readonly blockedNodes: Readonly<Record<string, number>>;
}

export const DEFAULT_ADDRESS_POOL: readonly string[] = ['10.0.0.0/8'];
export const DEFAULT_SUBNET_SIZE = 24;
export const DEFAULT_DATA_PATH_PORT = 4789;
export const CLUSTER_PORT = 2377;
