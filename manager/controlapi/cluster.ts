/** Writes to the cluster object. */
import type { Random } from '../../common/base/random.ts';
import type { Cluster, ClusterSpec } from '../../common/model/cluster.ts';
import { checkClusterSpec } from '../../common/model/cluster-rules.ts';
import { createJoinToken } from '../../common/pki/join-token.ts';
import { createUnlockKey, formatUnlockKey } from '../../common/pki/unlock-key.ts';
import type { UpdateClusterRequest } from '../../common/rpc/control-methods.ts';
import type { ReadView, Store, WriteTx } from '../store/types.ts';
import { requireVersion } from './lookup.ts';
import { failed } from './refusal.ts';
import { planRootCa } from './trust-root.ts';
import type { WriteEnvironment } from './writes.ts';

/** The one cluster. Throws `failed-precondition` before it is there. */
export function requireCluster(view: ReadView): Cluster {
  const cluster = view.list('cluster')[0];
  if (!cluster) throw failed('this manager does not have its cluster yet');
  return cluster;
}

/**
 * New tokens do not touch nodes that joined with old ones. What is asked of the trust root takes time, and is decided before
 * the transaction: the version says that the cluster is still the same.
 */
export async function updateCluster(
  store: Store,
  request: UpdateClusterRequest,
  environment: WriteEnvironment,
  signal?: AbortSignal,
): Promise<Cluster> {
  const cluster = store.view(requireCluster);
  requireVersion(cluster, request.version);
  const spec = withDefaults(request.spec, cluster);
  checkClusterSpec(spec);
  const rootCa = await planRootCa(cluster, { ...request, spec }, environment, signal);
  return store.update((tx) => {
    const current = requireCluster(tx);
    requireVersion(current, request.version);
    return writeCluster(tx, current, { ...request, spec }, rootCa, environment);
  }, signal);
}

/** Zeros mean what is there: clients that know nothing of a setting send none. An authority without a root has the present one. */
function withDefaults(spec: ClusterSpec, { spec: present, rootCa }: Cluster): ClusterSpec {
  return {
    ...spec,
    dispatcherHeartbeatNanos: spec.dispatcherHeartbeatNanos || present.dispatcherHeartbeatNanos,
    forceRotate: spec.forceRotate || present.forceRotate,
    externalCas: spec.externalCas.map((ca) => ({ ...ca, certPem: ca.certPem || rootCa.certPem })),
  };
}

function writeCluster(
  tx: WriteTx,
  cluster: Cluster,
  request: UpdateClusterRequest,
  rootCa: Cluster['rootCa'],
  { random }: WriteEnvironment,
): Cluster {
  const { spec } = request;
  const { worker, manager } = rootCa.joinTokens;
  const fresh = (): string => createJoinToken(rootCa.certPem, random);
  const joinTokens = {
    worker: request.rotateWorkerToken ? fresh() : worker,
    manager: request.rotateManagerToken ? fresh() : manager,
  };
  return tx.update('cluster', {
    ...cluster,
    spec,
    rootCa: { ...rootCa, joinTokens },
    ...unlockKeyFor(cluster, spec, request.rotateUnlockKey, random),
  });
}

/** A key while managers lock themselves, none otherwise; asking for a new one makes one only then. */
function unlockKeyFor(
  { unlockKey, unlockKeyVersion }: Cluster,
  { autoLockManagers }: ClusterSpec,
  rotate: boolean,
  random: Random,
): Pick<Cluster, 'unlockKey' | 'unlockKeyVersion'> {
  const isKept = autoLockManagers ? unlockKey !== '' && !rotate : unlockKey === '';
  if (isKept) return { unlockKey, unlockKeyVersion };
  return {
    unlockKey: autoLockManagers ? formatUnlockKey(createUnlockKey(random)) : '',
    unlockKeyVersion: unlockKeyVersion + 1,
  };
}
