/**
 * The public face of the Raft core: feed it messages and ticks, take from it what to persist, send
 * and apply. Not reentrant; every method is synchronous. Knows no disk, no network and no clock.
 */
import { assert } from '../../common/base/assert.ts';
import { asV2, confChange, encodeConfChange, entryTypeOf } from './conf-change.ts';
import type { RaftConfig, RaftTiming } from './config.ts';
import { totalSizeBytes } from './entry-slices.ts';
import { LocalMessageError, UnknownPeerError } from './errors.ts';
import { applyMembershipChange } from './membership.ts';
import { startRaft, step, tick } from './raft.ts';
import type { RaftState } from './raft-state.ts';
import { becomeFollower } from './roles.ts';
import type { BasicStatus, ConfChangeRefusal, ProgressStatus, Status } from './status.ts';
import {
  storageAppend,
  storageAppendResponse,
  storageApply,
  storageApplyResponse,
} from './storage-messages.ts';
import { confStateOf } from './tracker.ts';
import {
  type AnyConfChange,
  type ConfState,
  EMPTY_HARD_STATE,
  type Entry,
  type EntryType,
  type HardState,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type LogGap,
  type Message,
  type MessageType,
  message,
  NO_NODE,
  type NodeId,
  type Ready,
  type SoftState,
} from './types.ts';

export interface BootstrapPeer {
  readonly id: NodeId;
  /** Put into the `context` of the member's first conf change. */
  readonly context: Uint8Array;
}

const LOCAL_TYPES: ReadonlySet<MessageType> = new Set([
  'hup',
  'beat',
  'check-quorum',
  'unreachable',
  'snapshot-status',
  'storage-append',
  'storage-append-response',
  'storage-apply',
  'storage-apply-response',
]);

const RESPONSE_TYPES: ReadonlySet<MessageType> = new Set([
  'append-response',
  'vote-response',
  'pre-vote-response',
  'heartbeat-response',
  'read-index-response',
]);

/** True for the writer of the log and the applier of this node: never to be sent over a network. */
export function isLocalTarget(id: NodeId): boolean {
  return id === LOCAL_APPEND_THREAD || id === LOCAL_APPLY_THREAD;
}

export class RawNode {
  readonly #raft: RaftState;
  readonly #async: boolean;
  #previousSoftState: SoftState;
  #previousHardState: HardState;
  /** Sync form: what `advance` has to tell the node. Null: no Ready is out. */
  #stepsOnAdvance: Message[] | null = null;
  /** Of the membership change proposed last. */
  #refusal: ConfChangeRefusal | null = null;

  constructor(config: RaftConfig) {
    this.#raft = startRaft({
      ...config,
      onEvent: (event) => {
        if (event.code === 'conf-change-ignored') this.#refusal = event.refusal;
        config.onEvent?.(event);
      },
    });
    this.#async = this.#raft.config.asyncStorageWrites;
    this.#previousSoftState = this.#softState();
    this.#previousHardState = this.#raft.hardState;
  }

  /**
   * Founds a cluster: appends one committed conf change per peer at term 1. Only on an empty
   * storage. The entries come out of `ready` and must be applied like all others.
   */
  bootstrap(peers: readonly BootstrapPeer[]): void {
    const raft = this.#raft;
    assert(peers.length > 0, 'raft bootstrap: no peers');
    assert(raft.log.lastIndex() === 0, 'raft bootstrap: the log is not empty');
    this.#previousHardState = EMPTY_HARD_STATE;
    becomeFollower(raft, 1, NO_NODE);
    raft.log.append(
      peers.map(({ id, context }, i): Entry => {
        const data = encodeConfChange(confChange('add-voter', id, context));
        return { index: i + 1, term: 1, type: 'conf-change', data };
      }),
    );
    raft.log.commitTo(peers.length);
    // In force at once, so that the node may campaign; applying the entries again changes nothing.
    for (const { id } of peers) applyMembershipChange(raft, asV2(confChange('add-voter', id)));
  }

  /** One unit of time. */
  tick(): void {
    tick(this.#raft);
  }

  /** Starts an election now. */
  campaign(): void {
    step(this.#raft, message({ type: 'hup' }));
  }

  /**
   * Takes a message from the network or a response of a local storage message. The message is kept
   * and must not change. Throws `LocalMessageError`, `UnknownPeerError`, and for a forwarded
   * proposal `ProposalDroppedError`; a transport may drop the message on any of them.
   */
  step(received: Message): void {
    const { type, from } = received;
    if (!isLocalTarget(from)) {
      if (LOCAL_TYPES.has(type)) throw new LocalMessageError(type);
      if (RESPONSE_TYPES.has(type) && this.#raft.tracker.get(from) === undefined) {
        throw new UnknownPeerError(from);
      }
    }
    step(this.#raft, received);
  }

  /** Appends on the leader, forwards elsewhere. Throws `ProposalDroppedError`. */
  propose(data: Uint8Array): void {
    this.proposeAll([data]);
  }

  /**
   * Proposes entries that follow one another in the log. All of them are taken or none. Far cheaper
   * than one by one: they leave in as few messages as the size limit allows.
   */
  proposeAll(data: readonly Uint8Array[]): void {
    this.#propose(data.map((one) => proposedEntry('normal', one)));
  }

  /**
   * Like `propose`. A leader that refuses the change appends an empty entry in its place and returns
   * why; null means that the change is on its way.
   *
   * Never remove or demote the leader of two voters: it may stop leading before the other one knows,
   * and then neither can be elected. Transfer leadership first.
   */
  proposeConfChange(change: AnyConfChange): ConfChangeRefusal | null {
    this.#refusal = null;
    this.#propose([proposedEntry(entryTypeOf(change), encodeConfChange(change))]);
    return this.#refusal;
  }

  /**
   * Puts a committed conf change into force; to be called for each such entry when it is applied
   * (with `nodeId` 0 to refuse it). Returns the members from now on, to be kept with snapshots.
   */
  applyConfChange(change: AnyConfChange): ConfState {
    return applyMembershipChange(this.#raft, asV2(change));
  }

  hasReady(): boolean {
    const raft = this.#raft;
    return (
      raft.messages.length > 0 ||
      raft.messagesAfterAppend.length > 0 ||
      raft.log.unstable.hasNextEntries() ||
      raft.log.hasNextCommitted(!this.#async) ||
      raft.readStates.length > 0 ||
      raft.log.unstable.nextSnapshot() !== null ||
      !sameSoftState(this.#softState(), this.#previousSoftState) ||
      !sameHardState(raft.hardState, this.#previousHardState)
    );
  }

  /** Takes what is due. Without async storage writes `advance` must come before the next call. */
  ready(): Ready {
    assert(this.#stepsOnAdvance === null, 'raft ready: the last Ready was not advanced');
    const raft = this.#raft;
    const { unstable } = raft.log;
    const softState = this.#softState();
    const { hardState } = raft;
    const previous = this.#previousHardState;
    const entries = unstable.nextEntries();
    const state = {
      softState: sameSoftState(softState, this.#previousSoftState) ? null : softState,
      hardState: sameHardState(hardState, previous) ? null : hardState,
      readStates: raft.readStates,
      entries,
      snapshot: unstable.nextSnapshot(),
      committedEntries: raft.log.nextCommitted(!this.#async),
      mustSync:
        entries.length > 0 || hardState.vote !== previous.vote || hardState.term !== previous.term,
    };
    const ready: Ready = { ...state, messages: this.#messagesOf(state) };
    this.#accept(ready);
    return ready;
  }

  /** The last Ready was carried out. Only without async storage writes. */
  advance(): void {
    assert(!this.#async, 'raft advance: not with async storage writes');
    const steps = this.#stepsOnAdvance ?? [];
    this.#stepsOnAdvance = null;
    for (const one of steps) step(this.#raft, one);
  }

  /** Asks for a linearizable read point; answered by `Ready.readStates`, or never. */
  readIndex(requestContext: Uint8Array): void {
    const entries = [proposedEntry('normal', requestContext)];
    step(this.#raft, message({ type: 'read-index', entries }));
  }

  /** Hands leadership to `to` if it catches up within one election timeout. */
  transferLeader(to: NodeId): void {
    step(this.#raft, message({ type: 'transfer-leader', from: to }));
  }

  /** A leader that heard of no majority since the last check steps down now, not at the next one. */
  checkQuorum(): void {
    if (this.#raft.role === 'leader') step(this.#raft, message({ type: 'check-quorum' }));
  }

  /** A follower stops following its leader, so that it may vote for another. */
  forgetLeader(): void {
    step(this.#raft, message({ type: 'forget-leader' }));
  }

  /** The last message to `id` was not delivered. */
  reportUnreachable(id: NodeId): void {
    step(this.#raft, message({ type: 'unreachable', from: id }));
  }

  /** The snapshot sent to `id` was handed over completely, or not. */
  reportSnapshot(id: NodeId, outcome: 'delivered' | 'failed'): void {
    const reject = outcome === 'failed';
    step(this.#raft, message({ type: 'snapshot-status', from: id, reject }));
  }

  /**
   * From now on. Members may differ for a while: one that waits for less than the leader lets pass between two heartbeats
   * asks before it raises the term, and is told that there is a leader.
   */
  setTiming(timing: RaftTiming): void {
    this.#raft.setTiming(timing);
  }

  /** Replaces the election timeout drawn by chance until the next draw (at each role change). */
  overrideElectionTimeout(ticks: number): void {
    assert(ticks >= 1, `raft election timeout: ${ticks} is below 1`);
    this.#raft.randomizedElectionTicks = ticks;
  }

  status(): Status {
    const { role, tracker } = this.#raft;
    const progress = new Map<NodeId, ProgressStatus>();
    if (role === 'leader') {
      for (const [id, one] of tracker.progress) progress.set(id, one.status());
    }
    return { ...this.basicStatus(), confState: confStateOf(tracker.membership), progress };
  }

  /** Highest index known to be durable on a quorum. */
  get commit(): number {
    return this.#raft.log.committed;
  }

  /** Cheap; for polling. */
  basicStatus(): BasicStatus {
    const raft = this.#raft;
    return {
      id: raft.id,
      term: raft.term,
      vote: raft.vote,
      commit: raft.log.committed,
      applied: raft.log.applied,
      lastIndex: raft.log.lastIndex(),
      role: raft.role,
      leader: raft.leader,
      leadTransferee: raft.leadTransferee,
    };
  }

  /** Term of an entry of this node's log, durable or not; for those who check logs against another. */
  logTerm(index: number): number | LogGap {
    return this.#raft.log.term(index);
  }

  #propose(entries: readonly Entry[]): void {
    step(this.#raft, message({ type: 'propose', from: this.#raft.id, entries }));
  }

  #softState(): SoftState {
    return { leader: this.#raft.leader, role: this.#raft.role };
  }

  #messagesOf(ready: Omit<Ready, 'messages'>): Message[] {
    const raft = this.#raft;
    if (!this.#async) {
      const others = raft.messagesAfterAppend.filter(({ to }) => to !== raft.id);
      return [...raft.messages, ...others];
    }
    const messages = [...raft.messages];
    const append = storageAppend(raft, ready);
    if (append !== null) messages.push(append);
    if (ready.committedEntries.length > 0) {
      messages.push(storageApply(raft, ready.committedEntries));
    }
    return messages;
  }

  #accept(ready: Ready): void {
    const raft = this.#raft;
    this.#previousSoftState = ready.softState ?? this.#previousSoftState;
    this.#previousHardState = ready.hardState ?? this.#previousHardState;
    const { committedEntries } = ready;
    if (!this.#async) this.#stepsOnAdvance = this.#responsesTo(ready);
    raft.readStates = [];
    raft.messages = [];
    raft.messagesAfterAppend = [];
    raft.log.unstable.acceptInProgress();
    const last = committedEntries[committedEntries.length - 1];
    if (last !== undefined) {
      raft.log.acceptApplying(last.index, totalSizeBytes(committedEntries), !this.#async);
    }
  }

  /** Sync form: what the storage would answer when all of `ready` is done. */
  #responsesTo(ready: Ready): Message[] {
    const raft = this.#raft;
    const responses = raft.messagesAfterAppend.filter(({ to }) => to === raft.id);
    const stored = storageAppendResponse(raft, ready);
    if (stored !== null) responses.push(stored);
    if (ready.committedEntries.length > 0) {
      responses.push(storageApplyResponse(raft, ready.committedEntries));
    }
    return responses;
  }
}

/** The leader gives it its place. */
function proposedEntry(type: EntryType, data: Uint8Array): Entry {
  return { index: 0, term: 0, type, data };
}

function sameSoftState(a: SoftState, b: SoftState): boolean {
  return a.leader === b.leader && a.role === b.role;
}

function sameHardState(a: HardState, b: HardState): boolean {
  return a.term === b.term && a.vote === b.vote && a.commit === b.commit;
}
