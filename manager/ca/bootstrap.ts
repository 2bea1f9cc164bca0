/** The first objects of a new cluster: its trust root, tokens, settings and first manager. */
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
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
import { checkNextRoot } from '../../common/pki/authority-pair.ts';
import { certificateDigest, notAfterMs, parseCertificate } from '../../common/pki/certificate.ts';
import { sameCertificate } from '../../common/pki/chain.ts';
import type { WantedCertificate } from '../../common/pki/external-ca.ts';
import { type Identity, identityOf } from '../../common/pki/identity.ts';
import {
  type CertificateAuthority,
  createRequest,
  createRoot,
  issueNodeCertificate,
} from '../../common/pki/issue.ts';
import { createJoinToken } from '../../common/pki/join-token.ts';
import { createUnlockKey, formatUnlockKey } from '../../common/pki/unlock-key.ts';
import { type ExternalSigner, type ExternalSigning, signOutside } from './external-signing.ts';

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
  /** needed when the spec names external authorities */
  readonly external?: {
    /** asks them in the name of an identity that only the new cluster knows */
    readonly signer: (identity: Identity) => ExternalSigner;
    /** wall clock: they take their time, and what they sign is valid from then on */
    readonly nowMs: () => number;
    /** one of them did not sign; the next is asked */
    readonly failed: ExternalSigning['failed'];
  };
}

export interface NewCluster {
  /** to be written into the store by the first manager, in its first transaction */
  readonly cluster: Cluster;
  readonly node: Node;
  readonly identity: Identity;
}

/**
 * Makes a cluster of one manager. Writes nothing. Throws `invalid-argument` for bad settings, `unavailable` when external
 * authorities are named and none signs.
 */
export async function createCluster(options: CreateClusterOptions): Promise<NewCluster> {
  const { random } = options;
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
  const { csrPem, keyPem } = await createRequest();
  const wanted = { csrPem, nodeId, role: 'manager' as const, clusterId: id };
  const own = await ownTrust({ ...options, spec }, wanted);
  const { authority, certPem, issuedMs } =
    spec.externalCas.length === 0 ? own : await externalTrust(options, spec, wanted, keyPem, own);
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
    identity: identityOf({ certPem, keyPem, rootPem: authority.certPem }, issuedMs),
  };
}

/** A trust root ('' = its key is outside), and the first manager's certificate by it. */
interface FirstTrust {
  readonly authority: CertificateAuthority;
  readonly certPem: string;
  /** wall clock, when it was there */
  readonly issuedMs: number;
}

async function ownTrust(
  { random, nowMs, spec }: CreateClusterOptions & { readonly spec: ClusterSpec },
  wanted: WantedCertificate,
): Promise<FirstTrust> {
  const authority = await createRoot({ nowMs, random });
  const validityMs = spec.nodeCertExpiryNanos / NANOS_PER_MS;
  const parts = { ...wanted, authority, nowMs, validityMs, random };
  return { authority, certPem: await issueNodeCertificate(parts), issuedMs: nowMs };
}

/** The root of those outside is that of the cluster from the start: no token or certificate of another is ever given. */
async function externalTrust(
  { nowMs, external }: CreateClusterOptions,
  { externalCas }: ClusterSpec,
  wanted: WantedCertificate,
  keyPem: string,
  own: FirstTrust,
): Promise<FirstTrust> {
  const [root, ...others] = externalCas.map(({ certPem }, i) => {
    if (certPem !== '') return checkNextRoot(certPem, '', nowMs);
    throw invalid(
      `CAConfig.ExternalCAs[${i}].CACert: a new cluster needs the root that the external CA signs for (cacert=FILE)`,
    );
  });
  if (!root || others.some((other) => !sameCertificate(other, root))) {
    throw invalid('CAConfig.ExternalCAs: those of a new cluster must sign for one root');
  }
  const rootPem = root.toString();
  const shown = identityOf({ certPem: own.certPem, keyPem, rootPem: own.authority.certPem }, nowMs);
  assert(external, 'a cluster with external authorities is made with the means to ask them');
  const signing = { external: external.signer(shown), authorities: externalCas, rootPem };
  const certPem = await signOutside(
    { ...signing, nowMs: external.nowMs, failed: external.failed },
    wanted,
  );
  const authority = { certPem: rootPem, keyPem: '' };
  return { authority, certPem, issuedMs: external.nowMs() };
}

function invalid(message: string): SkepError {
  return new SkepError('invalid-argument', message);
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
    containerAttachments: [],
    attachmentsSequence: 0,
    certificate: new Uint8Array(certificate.raw),
    certificatesEndMs: notAfterMs(certificate),
    renewCertificate: false,
  };
}
