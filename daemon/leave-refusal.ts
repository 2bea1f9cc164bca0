/** What a manager that is to leave says of what would be lost. Pure. */
import { SkepError } from '../common/base/errors.ts';

const START =
  'You are attempting to leave the swarm on a node that is participating as a manager. ';
const END =
  'The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.';

/**
 * Why a manager does not leave without force, in Docker's words.
 * @param voters the managers with a vote, this one among them, as the leader sees them; null = it does not answer
 */
export function leaveRefusal(voters: readonly { readonly reachable: boolean }[] | null): SkepError {
  return new SkepError('unavailable', START + whatIsLost(voters));
}

function whatIsLost(voters: readonly { readonly reachable: boolean }[] | null): string {
  if (voters === null) return `Doing so may lose the consensus of your cluster. ${END}`;
  if (voters.length <= 1) {
    return 'Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ';
  }
  const reachable = voters.filter((voter) => voter.reachable).length;
  const silent = voters.length - reachable;
  if (reachable - 2 > silent) return END;
  return `Removing this node leaves ${Math.max(0, reachable - 1)} managers out of ${voters.length}. Without a Raft quorum your swarm will be inaccessible. ${END}`;
}
