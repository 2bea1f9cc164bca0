/** What users are told on a node that is no manager, in Docker's words. */
import { ROLE_LOST, SkepError } from '../../common/base/errors.ts';

export function notAManager(): SkepError {
  return new SkepError(
    'not-a-manager',
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.",
  );
}

/** A node that was demoted, and was asked or asks others before it knows: for its users it is a worker. */
export function inUsersWords(err: unknown): unknown {
  return err instanceof SkepError && err.details[ROLE_LOST] === 'manager' ? notAManager() : err;
}
