/** What a manager that is to leave says of what would be lost. Pure. */
import { SkepError } from '../common/base/errors.ts';
import type { Manager } from '../manager/manager.ts';

/** Why a manager does not leave without force: Docker's words for the three situations. */
export function leaveRefusal(manager: Pick<Manager, 'members'>): SkepError {
  const start =
    'You are attempting to leave the swarm on a node that is participating as a manager. ';
  const voters = manager.members().filter(({ learner }) => !learner).length;
  const middle =
    voters <= 1
      ? 'Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. '
      : voters <= 2
        ? 'Removing this node leaves 1 managers out of 2. Without a Raft quorum your swarm will be inaccessible. The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.'
        : 'The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.';
  return new SkepError('unavailable', start + middle);
}
