/**
 * Linearizable reads: asks the leader for its commit index, confirmed by a majority, and waits until
 * this node has applied that much. All callers of a moment share one request. Callers are bounded by
 * time only: each waits `limitTicks` at most for the leader's word, then for entries that are committed,
 * and costs less than the call that it came with.
 */
import { ByteWriter } from './bytes.ts';
import { ProposalError } from './proposals.ts';

/** A request is lost with its message, or with its leader: it is asked again after this. */
const RETRY_TICKS = 3;

interface Waiter {
  readonly deadlineTick: number;
  readonly resolve: (index: number) => void;
  readonly reject: (err: unknown) => void;
  readonly release: () => void;
}

interface Confirmed {
  readonly index: number;
  readonly waiters: readonly Waiter[];
}

export interface ReadBarrierOptions {
  /** Makes the requests of this life of the node unlike all others: 8 bytes. */
  readonly nonce: Uint8Array;
  /** Longest wait for a confirmation. */
  readonly limitTicks: () => number;
  /** Hands a request to the core; the answer may never come. */
  readonly issue: (context: Uint8Array) => void;
  readonly appliedIndex: () => number;
}

export class ReadBarriers {
  readonly #options: ReadBarrierOptions;
  readonly #next = new Set<Waiter>();
  #flying: { readonly context: string; sentTick: number; readonly waiters: Set<Waiter> } | null =
    null;
  #confirmed: Confirmed[] = [];
  #counter = 0;
  #tick = 0;

  constructor(options: ReadBarrierOptions) {
    this.#options = options;
  }

  /** Resolves with the confirmed index once it is applied; rejects with `no-leader` after the limit. */
  wait(signal?: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        this.#forget(waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        deadlineTick: this.#tick + this.#options.limitTicks(),
        resolve,
        reject,
        release: () => signal?.removeEventListener('abort', onAbort),
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#next.add(waiter);
      this.#issue();
    });
  }

  /** One unit of time. */
  tick(): void {
    this.#tick++;
    const limitTicks = this.#options.limitTicks();
    for (const waiters of [this.#next, this.#flying?.waiters ?? new Set<Waiter>()]) {
      for (const waiter of waiters) {
        if (waiter.deadlineTick > this.#tick) continue;
        waiters.delete(waiter);
        settle(waiter, () => waiter.reject(noAnswer(limitTicks)));
      }
    }
    if (this.#flying !== null && this.#tick - this.#flying.sentTick >= RETRY_TICKS) this.retry();
  }

  /** The leader changed: what was asked of the old one is asked again. */
  retry(): void {
    if (this.#flying === null) return;
    for (const waiter of this.#flying.waiters) this.#next.add(waiter);
    this.#flying = null;
    this.#issue();
  }

  /** The core's answer. */
  confirmed(context: Uint8Array, index: number): void {
    if (this.#flying?.context !== keyOf(context)) return;
    this.#confirmed.push({ index, waiters: [...this.#flying.waiters] });
    this.#flying = null;
    this.applied();
    this.#issue();
  }

  /** More was applied. */
  applied(): void {
    if (this.#confirmed.length === 0) return;
    const applied = this.#options.appliedIndex();
    const due = this.#confirmed.filter(({ index }) => index <= applied);
    this.#confirmed = this.#confirmed.filter(({ index }) => index > applied);
    for (const { index, waiters } of due) {
      for (const waiter of waiters) settle(waiter, () => waiter.resolve(index));
    }
  }

  rejectAll(error: () => unknown): void {
    const all = [...this.#next, ...(this.#flying?.waiters ?? [])];
    for (const { waiters } of this.#confirmed) all.push(...waiters);
    this.#next.clear();
    this.#flying = null;
    this.#confirmed = [];
    for (const waiter of all) settle(waiter, () => waiter.reject(error()));
  }

  #issue(): void {
    if (this.#flying !== null || this.#next.size === 0) return;
    const context = new ByteWriter(16)
      .raw(this.#options.nonce)
      .u64(++this.#counter)
      .finish();
    const waiters = new Set(this.#next);
    this.#next.clear();
    this.#flying = { context: keyOf(context), sentTick: this.#tick, waiters };
    this.#options.issue(context);
  }

  #forget(waiter: Waiter): void {
    this.#next.delete(waiter);
    this.#flying?.waiters.delete(waiter);
    this.#confirmed = this.#confirmed.map(({ index, waiters }) => ({
      index,
      waiters: waiters.filter((other) => other !== waiter),
    }));
  }
}

function settle(waiter: Waiter, act: () => void): void {
  waiter.release();
  act();
}

function keyOf(context: Uint8Array): string {
  return Buffer.from(context).toString('hex');
}

function noAnswer(limitTicks: number): ProposalError {
  return new ProposalError(
    'no-leader',
    `the swarm does not have a leader: no majority of the managers confirmed one within ${limitTicks} ticks, make sure more than half of the managers are online`,
    false,
  );
}
