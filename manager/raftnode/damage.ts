/**
 * Damage of durable data: where, what, and what an operator can do. The words are the same whatever
 * was lost, for the log of the other managers is whole.
 */
import { SkepError } from '../../common/base/errors.ts';

const ADVICE =
  "nothing was changed; restore the raft directory from a backup, or run 'skep node rm' for this node on another manager, 'skep swarm leave --force' here, and join again";

/** Code `data-loss`. */
export class RaftDamageError extends SkepError {
  /** File or directory. */
  readonly path: string;
  /** Where reading ended; null when it is not one place, but something that is missing. */
  readonly offset: number | null;
  readonly reason: string;

  /** Place and reason, without the advice. */
  readonly summary: string;

  constructor(path: string, offset: number | null, reason: string) {
    const where = offset === null ? path : `${path} is damaged at offset ${offset}`;
    super('data-loss', `open raft directory: ${where}: ${reason}: ${ADVICE}`);
    this.summary = `${where}: ${reason}`;
    this.path = path;
    this.offset = offset;
    this.reason = reason;
  }
}
