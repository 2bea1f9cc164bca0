/**
 * The way of a proposal: refused, or gathered while the round before it is under way, handed to the
 * core, and waited for until it is applied here or its fate is known.
 *
 * One round at a time: what a write and its answers cost on every member is the same for one entry as
 * for many, so that under load a second round would take more from the first than it gains (see
 * docs/decisions/0020). Alone, a proposal waits for nobody.
 *
 *   push -> startRound -> core -> (log, peers, commit, apply) -> waiters.applied -> the caller
 */
import type { Clock } from '../../common/base/clock.ts';
import { entryTypeOf } from '../raft/conf-change.ts';
import { ProposalDroppedError } from '../raft/errors.ts';
import type { RawNode } from '../raft/raw-node.ts';
import type { ConfChange } from '../raft/types.ts';
import type { Leadership } from './leadership.ts';
import type { NodeLife } from './node-life.ts';
import { DEFAULTS } from './node-options.ts';
import { ProposalError, ProposalWaiters } from './proposals.ts';

/** Largest proposal. With its envelope it fits a 4 MiB message. */
const PAYLOAD_BYTES_MAX = 3 * 1024 * 1024;

/** Gathered proposals, at most: as much as the core takes uncommitted. */
const PENDING_BYTES_MAX = DEFAULTS.flow.maxUncommittedBytes;
/** What a waiting caller costs beside its payload, roughly. */
const PENDING_OVERHEAD_BYTES = 512;

interface Pending {
  readonly payload: Uint8Array;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (index: number) => void;
  readonly reject: (err: unknown) => void;
}

export interface ProposalQueueOptions {
  readonly raw: RawNode;
  readonly clock: Clock;
  readonly life: NodeLife;
  readonly leadership: Leadership;
  readonly appliedIndex: () => number;
  /** How long the callers of a leader that lost its office wait for what was committed. */
  readonly orphanTicks: () => number;
  /** The core has something to do. */
  readonly wake: () => void;
  readonly notLeader: (action: string) => ProposalError;
}

export class ProposalQueue {
  readonly waiters = new ProposalWaiters();
  readonly #options: ProposalQueueOptions;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  /** Last index of the round under way, if it is not applied yet. */
  #roundEnd = 0;
  #diskFull = false;
  #ticks = 0;
  /** When callers whose leader lost its office have waited long enough. */
  #orphansUntilTick = 0;

  constructor(options: ProposalQueueOptions) {
    this.#options = options;
  }

  /** Resolves with the index when the entry is applied here. */
  push(payload: Uint8Array, signal?: AbortSignal): Promise<number> {
    const refusal = sizeRefusal(payload) ?? this.#refusal('propose');
    if (refusal !== null) return Promise.reject(refusal);
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#pendingBytes + payload.length > PENDING_BYTES_MAX) {
      const words = `propose: ${this.#pendingBytes} bytes wait for the raft log already`;
      return Promise.reject(new ProposalError('unavailable', words, false));
    }
    this.#pendingBytes += payload.length + PENDING_OVERHEAD_BYTES;
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      this.#pending.push({ payload, signal, resolve, reject });
      if (this.#pending.length === 1) clock.setTimer(0, () => this.#startRoundGuarded());
    });
  }

  /**
   * Hands everything that gathered to the core, unless a round is under way. It is over when it is
   * applied: its callers have been answered then, and what they propose next goes along.
   */
  startRound(): void {
    const { appliedIndex } = this.#options;
    if (this.#pending.length > 0 && appliedIndex() >= this.#roundEnd) this.#drain();
  }

  #drain(): void {
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#propose(pending.filter((proposal) => !rejectAborted(proposal)));
    this.#options.wake();
  }

  /** Resolves when the change is applied here. Changes do not gather: they are rare. */
  async change(change: ConfChange, signal?: AbortSignal): Promise<void> {
    const action = 'change members';
    const { raw, leadership, wake } = this.#options;
    const refusal = this.#refusal(action);
    if (refusal !== null) throw refusal;
    if (!leadership.isSettled) {
      throw new ProposalError('unavailable', `${action}: the leader has just been elected`, false);
    }
    try {
      raw.proposeConfChange(change);
    } catch (err) {
      throw err instanceof ProposalDroppedError ? this.#dropped(action, err) : err;
    }
    const { lastIndex, term } = raw.basicStatus();
    wake();
    await this.waiters.wait(lastIndex, term, entryTypeOf(change), signal);
  }

  tick(): void {
    this.#ticks++;
    if (this.#ticks === this.#orphansUntilTick) this.#rejectOrphans();
    this.#drain(); // a round that takes longer than a tick holds nobody up
  }

  /** What is not committed may be lost; what is committed is normally applied soon. */
  leadershipLost(): void {
    const { raw, orphanTicks } = this.#options;
    const words = 'propose: leadership was lost before the outcome was known';
    const unknown = (): ProposalError => new ProposalError('unavailable', words, true);
    this.waiters.rejectAbove(raw.basicStatus().commit, unknown);
    this.#orphansUntilTick = this.#ticks + orphanTicks();
    this.#roundEnd = 0;
  }

  /** Nothing can be written at present, or again. */
  setDiskFull(isFull: boolean): void {
    this.#diskFull = isFull;
    if (!isFull) return;
    const words = 'propose: no space left for the raft log';
    this.waiters.rejectAbove(0, () => new ProposalError('unavailable', words, true));
  }

  get diskFull(): boolean {
    return this.#diskFull;
  }

  /** Nobody will be answered any more. */
  end(words: string): void {
    const untried = new ProposalError('no-leader', words, false);
    for (const { reject } of this.#pending.splice(0)) reject(untried);
    this.waiters.rejectAbove(0, () => new ProposalError('unavailable', words, true));
  }

  #refusal(action: string): ProposalError | null {
    const { life, leadership, notLeader } = this.#options;
    const refusal = life.refusal(action);
    if (refusal !== null) return refusal;
    if (!leadership.isLeader) return notLeader(action);
    if (!this.#diskFull) return null;
    return new ProposalError('unavailable', `${action}: no space left for the raft log`, false);
  }

  #startRoundGuarded(): void {
    this.#options.life.guarded(() => this.startRound());
  }

  /**
   * Together, so that they leave in few messages and are answered by few. The core takes all or none:
   * when they are too much it gets one half after the other, and so as many as it has room for.
   */
  #propose(proposals: readonly Pending[]): void {
    if (proposals.length === 0) return;
    const { raw } = this.#options;
    try {
      raw.proposeAll(proposals.map(({ payload }) => payload));
    } catch (err) {
      if (!(err instanceof ProposalDroppedError)) throw err;
      if (err.reason === 'too-much-uncommitted' && proposals.length > 1) {
        const half = proposals.length >> 1;
        this.#propose(proposals.slice(0, half));
        this.#propose(proposals.slice(half));
        return;
      }
      for (const { reject } of proposals) reject(this.#dropped('propose', err));
      return;
    }
    const { lastIndex, term } = raw.basicStatus();
    this.#roundEnd = lastIndex;
    let index = lastIndex - proposals.length;
    for (const { signal, resolve, reject } of proposals) {
      this.waiters.add({ index: ++index, term, type: 'normal', resolve, reject, signal });
    }
  }

  #rejectOrphans(): void {
    const { raw, leadership } = this.#options;
    const { leadingTerm } = leadership;
    const words = 'propose: committed, but not yet applied here';
    const term = leadingTerm === 0 ? raw.basicStatus().term + 1 : leadingTerm;
    this.waiters.rejectBefore(term, () => new ProposalError('unavailable', words, true));
  }

  #dropped(action: string, err: ProposalDroppedError): ProposalError {
    if (err.reason === 'too-much-uncommitted') {
      return new ProposalError('unavailable', `${action}: ${err.reason}`, false, { cause: err });
    }
    // This node does not lead, or is about to stop leading: the next leader is to be asked.
    return this.#options.notLeader(action);
  }
}

function rejectAborted({ signal, reject }: Pending): boolean {
  if (!signal?.aborted) return false;
  reject(signal.reason);
  return true;
}

function sizeRefusal({ length }: Uint8Array): ProposalError | null {
  if (length > 0 && length <= PAYLOAD_BYTES_MAX) return null;
  const rule = `is outside 1..${PAYLOAD_BYTES_MAX}`;
  return new ProposalError('invalid-argument', `propose ${length} bytes: ${rule}`, false);
}
