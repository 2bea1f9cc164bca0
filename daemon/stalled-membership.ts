/**
 * A membership that is on the disk and cannot be taken up: the manager's state is damaged or belongs
 * to somebody else. The daemon runs all the same, so that its tasks and the reason can be seen and the
 * node can leave. Nothing on the disk is changed.
 */
import { hasCode, SkepError } from '../common/base/errors.ts';
import type { Identity } from '../common/pki/identity.ts';
import type { NodeAddresses } from './node-addresses.ts';

export interface StalledMembership {
  readonly identity: Identity;
  readonly addresses: NodeAddresses;
  readonly error: SkepError;
}

/** Null for failures that another start may not meet: these end the daemon. */
export function stalledBy(
  identity: Identity,
  addresses: NodeAddresses,
  err: unknown,
): StalledMembership | null {
  if (!(err instanceof SkepError) || !hasCode(err, 'data-loss', 'failed-precondition')) return null;
  return { identity, addresses, error: err };
}

/** What everybody is told who asks for the cluster. */
export function stalledError({ error }: StalledMembership): SkepError {
  return new SkepError('unavailable', `this node's part in the cluster cannot be taken up`, {
    cause: error,
  });
}
