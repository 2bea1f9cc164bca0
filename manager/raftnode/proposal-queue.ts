/**
 * Proposals on their way into the core. While a flush is in flight they gather (they could not be
 * durable earlier anyway) and then go in together. Knows nothing of roles: the core refuses.
 */
import { entryTypeOf } from '../raft/conf-change.ts';
import { ProposalDroppedError } from '../raft/errors.ts';
import type { RawNode } from '../raft/raw-node.ts';
import type { ConfChange } from '../raft/types.ts';
import { ProposalError, ProposalWaiters } from './proposals.ts';

interface Pending {
  readonly payload: Uint8Array;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (index: Promise<number>) => void;
  readonly reject: (err: unknown) => void;
}

export interface ProposalQueueOptions {
  readonly raw: RawNode;
  /** A flush is in flight; `drain` is called when it ends. */
  readonly isBusy: () => boolean;
  /** Runs `drain` soon, where its assertions are handled. */
  readonly schedule: () => void;
  /** The core has something to do. */
  readonly wake: () => void;
  readonly notLeader: (action: string) => ProposalError;
}

export class ProposalQueue {
  readonly waiters = new ProposalWaiters();
  readonly #options: ProposalQueueOptions;
  #pending: Pending[] = [];

  constructor(options: ProposalQueueOptions) {
    this.#options = options;
  }

  /** Resolves with the index when the entry is applied here. */
  push(payload: Uint8Array, signal?: AbortSignal): Promise<number> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      this.#pending.push({ payload, signal, resolve, reject });
      if (!this.#options.isBusy()) this.#options.schedule();
    });
  }

  /** Hands everything that gathered to the core. */
  drain(): void {
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    for (const proposal of pending) this.#propose(proposal);
    this.#options.wake();
  }

  /** Resolves when the change is applied here. Changes do not gather: they are rare. */
  async change(change: ConfChange, signal?: AbortSignal): Promise<void> {
    const { raw, wake } = this.#options;
    try {
      raw.proposeConfChange(change);
    } catch (err) {
      throw err instanceof ProposalDroppedError ? this.#dropped('change members', err) : err;
    }
    const { lastIndex, term } = raw.basicStatus();
    wake();
    await this.waiters.wait(lastIndex, term, entryTypeOf(change), signal);
  }

  /** Nobody will be answered any more. */
  end(words: string): void {
    const error = (mayCommit: boolean) => (): ProposalError =>
      new ProposalError('unavailable', words, mayCommit);
    for (const { reject } of this.#pending.splice(0)) reject(error(false)());
    this.waiters.rejectAbove(0, error(true));
  }

  #propose({ payload, signal, resolve, reject }: Pending): void {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const { raw } = this.#options;
    try {
      raw.propose(payload);
    } catch (err) {
      if (!(err instanceof ProposalDroppedError)) throw err;
      reject(this.#dropped('propose', err));
      return;
    }
    const { lastIndex, term } = raw.basicStatus();
    resolve(this.waiters.wait(lastIndex, term, 'normal', signal));
  }

  #dropped(action: string, err: ProposalDroppedError): ProposalError {
    if (err.reason === 'not-leader' || err.reason === 'no-leader' || err.reason === 'removed') {
      return this.#options.notLeader(action);
    }
    return new ProposalError('unavailable', `${action}: ${err.reason}`, false, { cause: err });
  }
}
