/**
 * What a leader knows of one member's log, and how it may send to it. State changes only through
 * the methods; knows nothing of messages.
 *
 * Invariant: `0 <= match < next`; entries in `match < index < next` are under way.
 */
import { assert } from '../../common/base/assert.ts';
import { Inflights } from './inflights.ts';
import type { ProgressState, ProgressStatus } from './status.ts';

export interface InflightLimits {
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
}

export class Progress {
  /** Highest index known to be durable there and equal to the leader's. */
  match: number;
  /** The next index to send; in state `snapshot` the one after the pending snapshot. */
  next: number;
  isLearner: boolean;
  /** Something was heard since the last quorum check. Always true for the leader itself. */
  recentActive: boolean;
  /**
   * Appends wait for a sign of life: in `probe` after the one message allowed, in `replicate` when
   * the window is full. A heartbeat response clears it, so a lost message cannot block forever.
   */
  flowPaused = false;

  /** Highest commit index sent; may fall back when messages were lost. */
  #sentCommit = 0;
  #state: ProgressState = 'probe';
  #pendingSnapshot = 0;
  #inflights: Inflights;

  constructor(fields: {
    match: number;
    next: number;
    isLearner: boolean;
    recentActive: boolean;
    limits: InflightLimits;
  }) {
    assert(fields.match < fields.next, `raft progress: match ${fields.match}, next ${fields.next}`);
    this.match = fields.match;
    this.next = fields.next;
    this.isLearner = fields.isLearner;
    this.recentActive = fields.recentActive;
    this.#inflights = new Inflights(
      fields.limits.maxInflightMessages,
      fields.limits.maxInflightBytes,
    );
  }

  /** A copy for a configuration that may be thrown away; it shares the window of inflights. */
  cloneShallow(): Progress {
    const clone = new Progress({
      match: this.match,
      next: this.next,
      isLearner: this.isLearner,
      recentActive: this.recentActive,
      limits: { maxInflightMessages: 1, maxInflightBytes: 1 },
    });
    clone.flowPaused = this.flowPaused;
    clone.#sentCommit = this.#sentCommit;
    clone.#state = this.#state;
    clone.#pendingSnapshot = this.#pendingSnapshot;
    clone.#inflights = this.#inflights;
    return clone;
  }

  get state(): ProgressState {
    return this.#state;
  }

  get inflightsFull(): boolean {
    return this.#inflights.full;
  }

  /** Nothing may be sent now. */
  get paused(): boolean {
    return this.#state === 'snapshot' || this.flowPaused;
  }

  becomeProbe(): void {
    // A snapshot that was delivered is where the follower's log probably starts.
    const base = this.#state === 'snapshot' ? this.#pendingSnapshot : 0;
    this.#reset('probe');
    this.next = Math.max(this.match, base) + 1;
    this.#sentCommit = Math.min(this.#sentCommit, this.next - 1);
  }

  becomeReplicate(): void {
    this.#reset('replicate');
    this.next = this.match + 1;
  }

  becomeSnapshot(snapshotIndex: number): void {
    this.#reset('snapshot');
    this.#pendingSnapshot = snapshotIndex;
    this.next = snapshotIndex + 1;
    this.#sentCommit = snapshotIndex;
  }

  /** The pending snapshot did not arrive: probing goes on from what is known to match. */
  snapshotFailed(): void {
    this.#pendingSnapshot = 0;
    this.becomeProbe();
  }

  /** `count` entries with `bytes` of payload were sent from `next` on. */
  sentEntries(count: number, bytes: number): void {
    assert(this.#state !== 'snapshot', 'raft progress: append sent while a snapshot is pending');
    if (this.#state === 'probe') {
      if (count > 0) this.flowPaused = true;
      return;
    }
    if (count > 0) {
      this.next += count;
      this.#inflights.add(this.next - 1, bytes);
    }
    // An append into a full window counts as a probe.
    this.flowPaused = this.#inflights.full;
  }

  /** Sending `commit` could move the follower's commit index on. */
  canBumpCommit(commit: number): boolean {
    return commit > this.#sentCommit && this.#sentCommit < this.next - 1;
  }

  sentCommit(commit: number): void {
    this.#sentCommit = commit;
  }

  /** The member acknowledged `index`. False when that is old news. */
  acked(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.flowPaused = false;
    return true;
  }

  freeInflightsUpTo(index: number): void {
    this.#inflights.freeUpTo(index);
  }

  /**
   * The member refused an append based on `rejected` and may match at `hint`. False, with nothing
   * changed, when the refusal is stale (reordered or duplicated).
   */
  rejected(rejected: number, hint: number): boolean {
    if (this.#state === 'replicate') {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
      this.#sentCommit = Math.min(this.#sentCommit, this.next - 1);
      return true;
    }
    // Probes go out one at a time, so a genuine refusal names the entry before `next`.
    if (this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.#sentCommit = Math.min(this.#sentCommit, this.next - 1);
    this.flowPaused = false;
    return true;
  }

  status(): ProgressStatus {
    return {
      match: this.match,
      next: this.next,
      state: this.#state,
      pendingSnapshot: this.#pendingSnapshot,
      recentActive: this.recentActive,
      paused: this.paused,
      inflightMessages: this.#inflights.count,
      inflightFull: this.#inflights.full,
      isLearner: this.isLearner,
    };
  }

  #reset(state: ProgressState): void {
    this.flowPaused = false;
    this.#pendingSnapshot = 0;
    this.#state = state;
    this.#inflights.clear();
  }
}
