/**
 * Callers that wait for their entries. Pure bookkeeping: settles each promise exactly once.
 */
import { assert } from '../../common/base/assert.ts';
import { EFFECT, type ErrorCode, SkepError } from '../../common/base/errors.ts';
import type { Entry, EntryType } from '../raft/types.ts';
import type { RaftMember } from './membership.ts';

export type ProposalErrorCode = Extract<
  ErrorCode,
  'not-leader' | 'no-leader' | 'unavailable' | 'invalid-argument' | 'not-a-manager'
>;

/**
 * A proposal that was not committed, as far as this node knows. INVARIANT: with `not-leader` and
 * `no-leader` it never will be, so that callers may repeat it at the next leader. Its `EFFECT` says what
 * `mayCommit` does.
 */
export class ProposalError extends SkepError {
  /**
   * True = the entry is in some logs and may yet be committed: read before proposing it again.
   * False = it certainly never will be.
   */
  readonly mayCommit: boolean;

  constructor(
    code: ProposalErrorCode,
    message: string,
    mayCommit: boolean,
    options: { cause?: unknown; details?: Readonly<Record<string, string>> } = {},
  ) {
    const effect = mayCommit ? 'unknown' : 'none';
    super(code, message, { ...options, details: { ...options.details, [EFFECT]: effect } });
    assert(!mayCommit || (code !== 'not-leader' && code !== 'no-leader'), `${code}: may commit`);
    this.mayCommit = mayCommit;
  }
}

/** Of a node that does not lead. @param leader another node that does, as far as this one knows */
export function notLeaderError(action: string, leader: RaftMember | null): ProposalError {
  if (leader === null) {
    return new ProposalError('no-leader', `${action}: the managers have no leader`, false);
  }
  const words = `${action}: ${leader.nodeId} at ${leader.address} is the leader`;
  const details = { leaderAddress: leader.address };
  return new ProposalError('not-leader', words, false, { details });
}

interface Waiter {
  readonly term: number;
  readonly type: EntryType;
  readonly resolve: (index: number) => void;
  readonly reject: (err: unknown) => void;
  readonly release: () => void;
}

export type NewWaiter = Omit<Waiter, 'release'> & {
  readonly index: number;
  /** Not aborted yet. */
  readonly signal: AbortSignal | undefined;
};

const nothing = (): void => {};

/** INVARIANT: at most one waiter per index; a settled waiter is gone from the map. */
export class ProposalWaiters {
  readonly #waiters = new Map<number, Waiter>();

  get size(): number {
    return this.#waiters.size;
  }

  /** Resolves with `index` once the entry is applied here. Abort only ends the waiting. */
  wait(index: number, term: number, type: EntryType, signal?: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) =>
      this.add({ index, term, type, resolve, reject, signal }),
    );
  }

  /** `wait` for a promise that is there already. */
  add({ index, signal, ...rest }: NewWaiter): void {
    assert(!this.#waiters.has(index), `raft proposal: two waiters for index ${index}`);
    if (signal === undefined) {
      this.#waiters.set(index, { ...rest, release: nothing });
      return;
    }
    const onAbort = (): void => {
      this.#waiters.delete(index);
      rest.reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const release = (): void => signal.removeEventListener('abort', onAbort);
    this.#waiters.set(index, { ...rest, release });
  }

  /** An entry was applied here: it is what its waiter proposed, or has taken its place. */
  applied(entry: Entry): void {
    const waiter = this.#take(entry.index);
    if (waiter === undefined) return;
    if (waiter.term !== entry.term) {
      waiter.reject(new ProposalError('not-leader', 'propose: another leader took over', false));
    } else if (waiter.type !== entry.type) {
      waiter.reject(
        new ProposalError('unavailable', 'change members: another change is under way', false),
      );
    } else {
      waiter.resolve(entry.index);
    }
  }

  /** The log up to `index` came as a snapshot: nobody can tell what became of single entries. */
  passed(index: number): void {
    this.#rejectWhere(
      (waiting) => waiting <= index,
      () => new ProposalError('unavailable', 'propose: the outcome is not known', true),
    );
  }

  /** Entries above `index` are in danger; those up to it will be applied. */
  rejectAbove(index: number, error: () => ProposalError): void {
    this.#rejectWhere((waiting) => waiting > index, error);
  }

  /** Whoever waits since a term before `term`. */
  rejectBefore(term: number, error: () => ProposalError): void {
    this.#rejectWhere((_, waiter) => waiter.term < term, error);
  }

  #rejectWhere(test: (index: number, waiter: Waiter) => boolean, error: () => ProposalError): void {
    for (const [index, waiter] of [...this.#waiters]) {
      if (test(index, waiter)) this.#take(index)?.reject(error());
    }
  }

  #take(index: number): Waiter | undefined {
    const waiter = this.#waiters.get(index);
    this.#waiters.delete(index);
    waiter?.release();
    return waiter;
  }
}
