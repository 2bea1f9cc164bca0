/** Writes to the cluster object. */
import { SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import type { Cluster, ClusterSpec } from '../../common/model/cluster.ts';
import { checkClusterSpec } from '../../common/model/cluster-rules.ts';
import { createJoinToken } from '../../common/pki/join-token.ts';
import { createUnlockKey, formatUnlockKey } from '../../common/pki/unlock-key.ts';
import type { UpdateClusterRequest } from '../../common/rpc/control-methods.ts';
import type { ReadView, WriteTx } from '../store/types.ts';
import { requireVersion } from './lookup.ts';
import { failed } from './refusal.ts';
import type { WriteEnvironment } from './writes.ts';

/** The one cluster. Throws `failed-precondition` before it is there. */
export function requireCluster(view: ReadView): Cluster {
  const cluster = view.list('cluster')[0];
  if (!cluster) throw failed('this manager does not have its cluster yet');
  return cluster;
}

/** New tokens do not touch nodes that joined with old ones. */
export function updateCluster(
  tx: WriteTx,
  request: UpdateClusterRequest,
  environment: WriteEnvironment,
): Cluster {
  const cluster = requireCluster(tx);
  requireVersion(cluster, request.version);
  const spec = {
    ...request.spec,
    dispatcherHeartbeatNanos:
      request.spec.dispatcherHeartbeatNanos || cluster.spec.dispatcherHeartbeatNanos,
  };
  checkClusterSpec(spec);
  refuseOtherRoot(cluster, request);
  const { rootCa } = cluster;
  const { worker, manager } = rootCa.joinTokens;
  const fresh = (): string => createJoinToken(rootCa.certPem, environment.random);
  const joinTokens = {
    worker: request.rotateWorkerToken ? fresh() : worker,
    manager: request.rotateManagerToken ? fresh() : manager,
  };
  return tx.update('cluster', {
    ...cluster,
    spec,
    rootCa: { ...rootCa, joinTokens },
    ...unlockKeyFor(cluster, spec, request.rotateUnlockKey, environment.random),
  });
}

function refuseOtherRoot({ rootCa }: Cluster, request: UpdateClusterRequest): void {
  const { spec, signingCertPem, signingKeyPem } = request;
  const isForced = spec.forceRotate !== rootCa.lastForcedRotation;
  if (!isForced && spec.externalCas.length === 0 && signingCertPem + signingKeyPem === '') return;
  throw new SkepError('unimplemented', 'CA rotation and external CAs are not done yet');
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
