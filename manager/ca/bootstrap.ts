/** The first objects of a new cluster: its trust root, tokens, settings and first manager. */
import type { Random } from '../../common/base/random.ts';
import {
  type Cluster,
  type ClusterSpec,
  DEFAULT_ADDRESS_POOL,
  DEFAULT_CLUSTER_SPEC,
  DEFAULT_DATA_PATH_PORT,
  DEFAULT_SUBNET_SIZE,
} from '../../common/model/cluster.ts';
import { checkAddressing, checkClusterSpec } from '../../common/model/cluster-rules.ts';
import { type ClusterId, type NodeId, newId } from '../../common/model/ids.ts';
import type { Availability, Node, NodeRole } from '../../common/model/node.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import { certificateDigest, notAfterMs, parseCertificate } from '../../common/pki/certificate.ts';
import { type Identity, identityOf } from '../../common/pki/identity.ts';
import { createRequest, createRoot, issueNodeCertificate } from '../../common/pki/issue.ts';
import { createJoinToken } from '../../common/pki/join-token.ts';
import { createUnlockKey, formatUnlockKey } from '../../common/pki/unlock-key.ts';

const NANOS_PER_MS = 1e6;

export interface CreateClusterOptions {
  readonly random: Random;
  /** wall clock */
  readonly nowMs: number;
  readonly spec?: ClusterSpec;
  readonly defaultAddressPool?: readonly string[];
  readonly subnetSize?: number;
  readonly dataPathPort?: number;
  /** of the first manager */
  readonly availability?: Availability;
}

export interface NewCluster {
  /** to be written into the store by the first manager, in its first transaction */
  readonly cluster: Cluster;
  readonly node: Node;
  readonly identity: Identity;
}

/** Makes a cluster of one manager. Writes nothing. Throws `invalid-argument` for bad settings. */
export async function createCluster(options: CreateClusterOptions): Promise<NewCluster> {
  const { random, nowMs } = options;
  const spec = options.spec ?? DEFAULT_CLUSTER_SPEC;
  const addressing = {
    defaultAddressPool: options.defaultAddressPool ?? DEFAULT_ADDRESS_POOL,
    subnetSize: options.subnetSize ?? DEFAULT_SUBNET_SIZE,
    dataPathPort: options.dataPathPort ?? DEFAULT_DATA_PATH_PORT,
  };
  checkClusterSpec(spec);
  checkAddressing(addressing);
  const id = newId<ClusterId>(random);
  const nodeId = newId<NodeId>(random);
  const authority = await createRoot({ nowMs, random });
  const { csrPem, keyPem } = await createRequest();
  const certPem = await issueNodeCertificate({
    authority,
    csrPem,
    nodeId,
    role: 'manager',
    clusterId: id,
    nowMs,
    validityMs: spec.nodeCertExpiryNanos / NANOS_PER_MS,
    random,
  });
  const cluster: Cluster = {
    id,
    meta: UNSTAMPED,
    spec,
    rootCa: {
      ...authority,
      certDigest: certificateDigest(parseCertificate(authority.certPem)),
      joinTokens: {
        worker: createJoinToken(authority.certPem, random),
        manager: createJoinToken(authority.certPem, random),
      },
      rotation: null,
      bridgePem: '',
      lastForcedRotation: spec.forceRotate,
    },
    ...addressing,
    blockedNodes: {},
    unlockKey: spec.autoLockManagers ? formatUnlockKey(createUnlockKey(random)) : '',
    unlockKeyVersion: spec.autoLockManagers ? 1 : 0,
  };
  return {
    cluster,
    node: newNode(nodeId, 'manager', options.availability ?? 'active', certPem, ''),
    identity: identityOf({ certPem, keyPem, rootPem: authority.certPem }, nowMs),
  };
}

/** A node before its agent's first session. */
export function newNode(
  id: NodeId,
  role: NodeRole,
  availability: Availability,
  certPem: string,
  address: string,
): Node {
  const certificate = parseCertificate(certPem);
  return {
    id,
    meta: UNSTAMPED,
    spec: { name: '', labels: {}, desiredRole: role, availability },
    description: null,
    status: { state: 'unknown', message: 'waiting for the first session', address },
    role,
    attachments: [],
    certificate: new Uint8Array(certificate.raw),
    certificatesEndMs: notAfterMs(certificate),
    renewCertificate: false,
  };
}
