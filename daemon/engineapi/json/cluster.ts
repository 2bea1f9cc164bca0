/** The cluster object: Docker's JSON (`Swarm`) and our model. */
import type { Cluster, ClusterSpec, ExternalCa } from '../../../common/model/cluster.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import type { LogDriver } from '../../../common/model/service.ts';
import { parseCertificate } from '../../../common/pki/certificate.ts';
import { issuerFrom } from '../../../common/pki/chain.ts';
import { isoTime } from './common.ts';
import type { JsonReader } from './reader.ts';
import { some } from './some.ts';

/** Zeros and absent fields mean the default, as Docker's clients intend. */
export function clusterSpecFromJson(json: JsonReader): ClusterSpec {
  const defaults = DEFAULT_CLUSTER_SPEC;
  const raft = json.object('Raft');
  const ca = json.object('CAConfig');
  const log = json.object('TaskDefaults').object('LogDriver');
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
    nodeCertExpiryNanos: ca.nanos('NodeCertExpiry') || defaults.nodeCertExpiryNanos,
    autoLockManagers: json.object('EncryptionConfig').boolean('AutoLockManagers'),
    forceRotate: ca.integer('ForceRotate'),
    externalCas: ca.objects('ExternalCAs').map(externalCaFromJson),
    taskLogDriver: log.string('Name')
      ? { name: log.string('Name'), options: log.stringMap('Options') }
      : null,
  };
}

function externalCaFromJson(json: JsonReader): ExternalCa {
  return {
    protocol: json.oneOf('Protocol', ['cfssl'], 'cfssl'),
    url: json.string('URL'),
    options: json.stringMap('Options'),
    certPem: json.string('CACert'),
  };
}

/** The trust root that an update asks for. It is no part of the spec: its key is never shown again. */
export function signingPairFromJson(json: JsonReader): { certPem: string; keyPem: string } {
  const ca = json.object('CAConfig');
  return { certPem: ca.string('SigningCACert'), keyPem: ca.string('SigningCAKey') };
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
      CAConfig: {
        NodeCertExpiry: spec.nodeCertExpiryNanos,
        ...some('ForceRotate', spec.forceRotate),
        ...some('ExternalCAs', spec.externalCas.map(externalCaToJson)),
      },
      TaskDefaults: spec.taskLogDriver ? { LogDriver: logDriverToJson(spec.taskLogDriver) } : {},
      EncryptionConfig: { AutoLockManagers: spec.autoLockManagers },
    },
    TLSInfo: tlsInfoToJson(cluster.rootCa),
    RootRotationInProgress: cluster.rootCa.rotation !== null,
    DefaultAddrPool: cluster.defaultAddressPool,
    SubnetSize: cluster.subnetSize,
    DataPathPort: cluster.dataPathPort,
  };
}

function logDriverToJson({ name, options }: LogDriver): object {
  return { Name: name, ...some('Options', options) };
}

function externalCaToJson({ protocol, url, options, certPem }: ExternalCa): object {
  return { Protocol: protocol, URL: url, ...some('Options', options), ...some('CACert', certPem) };
}

/** What nodes trust now, and who is to have issued their certificates: clients compare both with each node's. */
function tlsInfoToJson({ certPem, rotation }: Cluster['rootCa']): object {
  const { subject, publicKey } = issuerFrom(parseCertificate(rotation?.certPem ?? certPem));
  return {
    TrustRoot: certPem,
    CertIssuerSubject: Buffer.from(subject).toString('base64'),
    CertIssuerPublicKey: Buffer.from(publicKey).toString('base64'),
  };
}

/** With the join tokens: for GET /swarm on managers. */
export function swarmToJson(cluster: Cluster): object {
  const { worker, manager } = cluster.rootCa.joinTokens;
  return { ...clusterInfoToJson(cluster), JoinTokens: { Worker: worker, Manager: manager } };
}
