/** Cluster: settings, trust root, join tokens. */
import type { skep } from '../../proto/gen/skep.js';
import type { Cluster, ClusterSpec } from '../model/cluster.ts';
import { asId, type ClusterId } from '../model/ids.ts';
import { logDriverFromProto, logDriverToProto } from './container.ts';
import { metaFromProto, metaToProto } from './objects.ts';
import {
  int64,
  intFromProto,
  listFromProto,
  nanos64,
  nanosFromProto,
  nullable,
  requiredMessage,
  text,
  textList,
  textListFromProto,
  textMap,
  textMapFromProto,
  uint32,
  type WireInt,
} from './scalars.ts';

export function clusterSpecToProto(spec: ClusterSpec): skep.ClusterSpec.$Properties {
  const { raft } = spec;
  return {
    name: text(spec.name),
    labels: textMap(spec.labels),
    taskHistoryLimit: int64(spec.taskHistoryLimit, 'taskHistoryLimit'),
    raft: {
      snapshotInterval: int64(raft.snapshotInterval, 'raft.snapshotInterval'),
      keepOldSnapshots: int64(raft.keepOldSnapshots, 'raft.keepOldSnapshots'),
      logEntriesForSlowFollowers: int64(
        raft.logEntriesForSlowFollowers,
        'raft.logEntriesForSlowFollowers',
      ),
      electionTicks: int64(raft.electionTicks, 'raft.electionTicks'),
      heartbeatTicks: int64(raft.heartbeatTicks, 'raft.heartbeatTicks'),
    },
    dispatcherHeartbeatNanos: int64(spec.dispatcherHeartbeatNanos, 'dispatcherHeartbeatNanos'),
    nodeCertExpiryNanos: nanos64(spec.nodeCertExpiryNanos, 'nodeCertExpiryNanos'),
    autoLockManagers: spec.autoLockManagers,
    forceRotate: int64(spec.forceRotate, 'forceRotate'),
    externalCas: spec.externalCas.map((ca) => ({
      protocol: text(ca.protocol),
      url: text(ca.url),
      options: textMap(ca.options),
      certPem: text(ca.certPem),
    })),
    taskLogDriver: nullable(spec.taskLogDriver, logDriverToProto),
  };
}

export function clusterSpecFromProto(m: skep.ClusterSpec.$Properties): ClusterSpec {
  const raft = requiredMessage(m.raft, 'cluster spec.raft');
  return Object.freeze({
    name: m.name ?? '',
    labels: textMapFromProto(m.labels),
    taskHistoryLimit: intFromProto(m.taskHistoryLimit, 'taskHistoryLimit'),
    raft: Object.freeze({
      snapshotInterval: intFromProto(raft.snapshotInterval, 'raft.snapshotInterval'),
      keepOldSnapshots: intFromProto(raft.keepOldSnapshots, 'raft.keepOldSnapshots'),
      logEntriesForSlowFollowers: intFromProto(
        raft.logEntriesForSlowFollowers,
        'raft.logEntriesForSlowFollowers',
      ),
      electionTicks: intFromProto(raft.electionTicks, 'raft.electionTicks'),
      heartbeatTicks: intFromProto(raft.heartbeatTicks, 'raft.heartbeatTicks'),
    }),
    dispatcherHeartbeatNanos: intFromProto(m.dispatcherHeartbeatNanos, 'dispatcherHeartbeatNanos'),
    nodeCertExpiryNanos: nanosFromProto(m.nodeCertExpiryNanos),
    autoLockManagers: m.autoLockManagers ?? false,
    forceRotate: intFromProto(m.forceRotate, 'forceRotate'),
    externalCas: listFromProto(m.externalCas, (ca) =>
      Object.freeze({
        protocol: 'cfssl' as const,
        url: ca.url ?? '',
        options: textMapFromProto(ca.options),
        certPem: ca.certPem ?? '',
      }),
    ),
    taskLogDriver: nullable(m.taskLogDriver, logDriverFromProto),
  });
}

function blockedNodesToProto(blocked: Cluster['blockedNodes']): { [nodeId: string]: number } {
  for (const [nodeId, untilMs] of Object.entries(blocked)) {
    text(nodeId);
    int64(untilMs, `blockedNodes.${nodeId}`);
  }
  return blocked as { [nodeId: string]: number };
}

function blockedNodesFromProto(
  m: { [nodeId: string]: WireInt } | null | undefined,
): Cluster['blockedNodes'] {
  const entries = Object.entries(m ?? {});
  return Object.freeze(
    Object.fromEntries(entries.map(([id, ms]) => [id, intFromProto(ms, 'blockedNodes')])),
  );
}

export function clusterToProto(cluster: Cluster): skep.Cluster.$Properties {
  const { rootCa } = cluster;
  return {
    id: text(cluster.id),
    meta: metaToProto(cluster.meta),
    spec: clusterSpecToProto(cluster.spec),
    rootCa: {
      certPem: text(rootCa.certPem),
      keyPem: text(rootCa.keyPem),
      certDigest: text(rootCa.certDigest),
      joinTokens: {
        worker: text(rootCa.joinTokens.worker),
        manager: text(rootCa.joinTokens.manager),
      },
      rotation: nullable(rootCa.rotation, (rotation) => ({
        certPem: text(rotation.certPem),
        keyPem: text(rotation.keyPem),
        crossSignedPem: text(rotation.crossSignedPem),
      })),
      bridgePem: text(rootCa.bridgePem),
      lastForcedRotation: int64(rootCa.lastForcedRotation, 'rootCa.lastForcedRotation'),
    },
    defaultAddressPool: textList(cluster.defaultAddressPool),
    subnetSize: uint32(cluster.subnetSize, 'cluster.subnetSize'),
    dataPathPort: uint32(cluster.dataPathPort, 'cluster.dataPathPort'),
    blockedNodes: blockedNodesToProto(cluster.blockedNodes),
    unlockKey: text(cluster.unlockKey),
    unlockKeyVersion: int64(cluster.unlockKeyVersion, 'cluster.unlockKeyVersion'),
  };
}

export function clusterFromProto(m: skep.Cluster.$Properties): Cluster {
  const rootCa = requiredMessage(m.rootCa, 'cluster.rootCa');
  const joinTokens = requiredMessage(rootCa.joinTokens, 'cluster.rootCa.joinTokens');
  return Object.freeze({
    id: asId<ClusterId>(m.id ?? ''),
    meta: metaFromProto(requiredMessage(m.meta, 'cluster.meta')),
    spec: clusterSpecFromProto(requiredMessage(m.spec, 'cluster.spec')),
    rootCa: Object.freeze({
      certPem: rootCa.certPem ?? '',
      keyPem: rootCa.keyPem ?? '',
      certDigest: rootCa.certDigest ?? '',
      joinTokens: Object.freeze({
        worker: joinTokens.worker ?? '',
        manager: joinTokens.manager ?? '',
      }),
      rotation: nullable(rootCa.rotation, (rotation) =>
        Object.freeze({
          certPem: rotation.certPem ?? '',
          keyPem: rotation.keyPem ?? '',
          crossSignedPem: rotation.crossSignedPem ?? '',
        }),
      ),
      bridgePem: rootCa.bridgePem ?? '',
      lastForcedRotation: intFromProto(rootCa.lastForcedRotation, 'rootCa.lastForcedRotation'),
    }),
    defaultAddressPool: textListFromProto(m.defaultAddressPool),
    subnetSize: m.subnetSize ?? 0,
    dataPathPort: m.dataPathPort ?? 0,
    blockedNodes: blockedNodesFromProto(m.blockedNodes),
    unlockKey: m.unlockKey ?? '',
    unlockKeyVersion: intFromProto(m.unlockKeyVersion, 'unlockKeyVersion'),
  });
}
