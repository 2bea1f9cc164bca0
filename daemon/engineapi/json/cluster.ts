/** The cluster object: Docker's JSON (`Swarm`) and our model. */
import type { Cluster, ClusterSpec } from '../../../common/model/cluster.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import { isoTime } from './common.ts';
import type { JsonReader } from './reader.ts';

/** Zeros and absent fields mean the default, as Docker's clients intend. */
export function clusterSpecFromJson(json: JsonReader): ClusterSpec {
  const defaults = DEFAULT_CLUSTER_SPEC;
  const raft = json.object('Raft');
  const ca = json.object('CAConfig');
  ca.refuse('ExternalCAs', 'external CAs are not done yet');
  ca.refuse('SigningCACert', 'a signing CA of your own is not done yet');
  ca.refuse('SigningCAKey', 'a signing CA of your own is not done yet');
  ca.refuse('ForceRotate', 'CA rotation is not done yet');
  json.object('TaskDefaults').refuse('LogDriver', 'a cluster-wide log driver is not done yet');
  const orchestration = json.object('Orchestration');
  return {
    name: json.string('Name') || defaults.name,
    labels: json.stringMap('Labels'),
    taskHistoryLimit: orchestration.integer('TaskHistoryRetentionLimit', defaults.taskHistoryLimit),
    raft: {
      snapshotInterval: raft.integer('SnapshotInterval') || defaults.raft.snapshotInterval,
      keepOldSnapshots: raft.integer('KeepOldSnapshots'),
      logEntriesForSlowFollowers: raft.integer(
        'LogEntriesForSlowFollowers',
        defaults.raft.logEntriesForSlowFollowers,
      ),
      electionTicks: raft.integer('ElectionTick') || defaults.raft.electionTicks,
      heartbeatTicks: raft.integer('HeartbeatTick') || defaults.raft.heartbeatTicks,
    },
    dispatcherHeartbeatNanos:
      json.object('Dispatcher').integer('HeartbeatPeriod') || defaults.dispatcherHeartbeatNanos,
    nodeCertExpiryNanos: ca.integer('NodeCertExpiry') || defaults.nodeCertExpiryNanos,
    autoLockManagers: json.object('EncryptionConfig').boolean('AutoLockManagers'),
  };
}

/** The cluster without its secrets: for /info, which any node answers. */
export function clusterInfoToJson(cluster: Cluster): object {
  const { spec } = cluster;
  return {
    ID: cluster.id,
    Version: { Index: cluster.meta.version },
    CreatedAt: isoTime(cluster.meta.createdAtMs),
    UpdatedAt: isoTime(cluster.meta.updatedAtMs),
    Spec: {
      Name: spec.name,
      Labels: spec.labels,
      Orchestration: { TaskHistoryRetentionLimit: spec.taskHistoryLimit },
      Raft: {
        SnapshotInterval: spec.raft.snapshotInterval,
        KeepOldSnapshots: spec.raft.keepOldSnapshots,
        LogEntriesForSlowFollowers: spec.raft.logEntriesForSlowFollowers,
        ElectionTick: spec.raft.electionTicks,
        HeartbeatTick: spec.raft.heartbeatTicks,
      },
      Dispatcher: { HeartbeatPeriod: spec.dispatcherHeartbeatNanos },
      CAConfig: { NodeCertExpiry: spec.nodeCertExpiryNanos },
      TaskDefaults: {},
      EncryptionConfig: { AutoLockManagers: spec.autoLockManagers },
    },
    TLSInfo: { TrustRoot: cluster.rootCa.certPem },
    RootRotationInProgress: false,
    DefaultAddrPool: cluster.defaultAddressPool,
    SubnetSize: cluster.subnetSize,
    DataPathPort: cluster.dataPathPort,
  };
}

/** With the join tokens: for GET /swarm on managers. */
export function swarmToJson(cluster: Cluster): object {
  const { worker, manager } = cluster.rootCa.joinTokens;
  return { ...clusterInfoToJson(cluster), JoinTokens: { Worker: worker, Manager: manager } };
}
