/**
 * A membership that is on the disk and cannot be taken up: the manager's keys are locked, or its state
 * is damaged or belongs to somebody else. The daemon runs all the same, so that the reason can be seen
 * and the node can be unlocked or leave. Nothing on the disk is changed.
 */
import { describeError, hasCode, SkepError } from '../common/base/errors.ts';
import type { StoredIdentity } from '../common/pki/identity.ts';
import type { NodeAddresses } from './node-addresses.ts';

export interface StalledMembership {
  readonly kind: 'locked' | 'error';
  readonly identity: StoredIdentity;
  readonly addresses: NodeAddresses;
  readonly error: SkepError;
}

/** Docker's words. */
const LOCKED =
  'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.';

/** Null for failures that another start may not meet: these end the daemon. */
export function stalledBy(
  identity: StoredIdentity,
  addresses: NodeAddresses,
  err: unknown,
): StalledMembership | null {
  if (!hasCode(err, 'locked', 'data-loss', 'failed-precondition')) return null;
  const kind = err.code === 'locked' ? 'locked' : 'error';
  return { kind, identity, addresses, error: err };
}

/** For people: in `docker info`. */
export function stalledReason({ kind, error }: StalledMembership): string {
  return kind === 'locked' ? LOCKED : describeError(error);
}

/** What everybody is told who asks for the cluster. */
export function stalledError({ kind, error }: StalledMembership): SkepError {
  if (kind === 'locked') return new SkepError('locked', LOCKED, { cause: null });
  const words = "this node's part in the cluster cannot be taken up";
  return new SkepError('unavailable', words, { cause: error });
}

/** A node that could be unlocked is not left by mistake. */
export function stalledLeaveRefusal(stalled: StalledMembership): SkepError {
  if (stalled.kind === 'error') return stalledError(stalled);
  return new SkepError(
    'unavailable',
    'Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message.',
  );
}
