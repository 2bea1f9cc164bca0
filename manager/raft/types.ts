/**
 * The values that enter and leave the Raft core: entries, messages, durable state, readiness.
 * Plain immutable data. Nothing here knows how a value is encoded on a wire or on a disk.
 */

/**
 * Identity of a member for the life of the cluster: an integer, `1 <= id < 2^48`, never reused.
 * `NO_NODE` (0) stands for "nobody".
 */
export type NodeId = number;

export const NO_NODE: NodeId = 0;
/** Target of `storage-append` messages: whoever writes the log of this node. */
export const LOCAL_APPEND_THREAD: NodeId = Number.MAX_SAFE_INTEGER;
/** Target of `storage-apply` messages: whoever applies committed entries on this node. */
export const LOCAL_APPLY_THREAD: NodeId = Number.MAX_SAFE_INTEGER - 1;
/** Ids at or above this bound are refused. */
export const NODE_ID_LIMIT = 2 ** 48;

export const NO_BYTES: Uint8Array = new Uint8Array(0);

export type EntryType = 'normal' | 'conf-change' | 'conf-change-v2';

/** One slot of the log. `index` and `term` are integers, `1 <= n <= 2^53 - 1`, once appended. */
export interface Entry {
  readonly index: number;
  readonly term: number;
  readonly type: EntryType;
  /** Opaque to the core for `normal`; for the others see `encodeConfChange` in `conf-change.ts`. */
  readonly data: Uint8Array;
}

export type MessageType =
  // Local: made by this node for itself, refused from the network.
  | 'hup' // start an election
  | 'beat' // leader: send heartbeats
  | 'check-quorum' // leader: step down unless a quorum was heard
  | 'unreachable' // the last message to `from` was lost
  | 'snapshot-status' // the snapshot sent to `from` ended; `reject` = it failed
  | 'storage-append'
  | 'storage-append-response'
  | 'storage-apply'
  | 'storage-apply-response'
  // Between nodes.
  | 'propose'
  | 'append'
  | 'append-response'
  | 'vote'
  | 'vote-response'
  | 'pre-vote'
  | 'pre-vote-response'
  | 'snapshot'
  | 'heartbeat'
  | 'heartbeat-response'
  | 'transfer-leader' // `from` is the wanted leader
  | 'timeout-now' // campaign at once
  | 'read-index'
  | 'read-index-response'
  | 'forget-leader';

/**
 * One message of the protocol. All fields are always present, so that every message has one shape:
 * 0, false, `NO_BYTES`, an empty array and null stand for "not given". Build one with `message()`.
 */
export interface Message {
  readonly type: MessageType;
  readonly to: NodeId;
  readonly from: NodeId;
  /** Sender's term; 0 for local messages and for `propose` and `read-index`, which carry none. */
  readonly term: number;
  /** `append`: term of the entry at `index`; votes: term of the candidate's last entry. */
  readonly logTerm: number;
  /** `append`: index just before `entries`; responses: index acknowledged or refused. */
  readonly index: number;
  readonly entries: readonly Entry[];
  /** Sender's commit index, as far as the receiver may use it. */
  readonly commit: number;
  /** Only in `storage-append`: the vote to persist. */
  readonly vote: NodeId;
  readonly snapshot: Snapshot | null;
  readonly reject: boolean;
  /** With `reject`: where the receiver's log may match the sender's. */
  readonly rejectHint: number;
  /** Heartbeats: position in the queue of reads; votes: why the election is held. */
  readonly context: Uint8Array;
  /** Local storage messages: what to deliver once the write is durable (append) or done (apply). */
  readonly responses: readonly Message[];
}

/** Completes the given fields to a message. `from` and `term` beside them spare the hot path a copy. */
export function message(
  fields: Partial<Message> & Pick<Message, 'type'>,
  from = fields.from ?? NO_NODE,
  term = fields.term ?? 0,
): Message {
  return {
    type: fields.type,
    to: fields.to ?? NO_NODE,
    from,
    term,
    logTerm: fields.logTerm ?? 0,
    index: fields.index ?? 0,
    entries: fields.entries ?? [],
    commit: fields.commit ?? 0,
    vote: fields.vote ?? NO_NODE,
    snapshot: fields.snapshot ?? null,
    reject: fields.reject ?? false,
    rejectHint: fields.rejectHint ?? 0,
    context: fields.context ?? NO_BYTES,
    responses: fields.responses ?? [],
  };
}

/** What must survive a crash besides log and snapshot. */
export interface HardState {
  readonly term: number;
  /** Who got this node's vote in `term`, or `NO_NODE`. */
  readonly vote: NodeId;
  readonly commit: number;
}

export const EMPTY_HARD_STATE: HardState = { term: 0, vote: NO_NODE, commit: 0 };

/** The hard state that a `storage-append` carries, or null when it did not change. */
export function hardStateOf(storageAppend: Message): HardState | null {
  const { term, vote, commit } = storageAppend;
  return term === 0 && vote === NO_NODE && commit === 0 ? null : { term, vote, commit };
}

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

/** Volatile; for observers. */
export interface SoftState {
  /** The leader as this node knows it, or `NO_NODE`. */
  readonly leader: NodeId;
  readonly role: Role;
}

/** The members at one index. Lists are sorted; a voter is never a learner at the same time. */
export interface ConfState {
  readonly voters: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Voters of the configuration being left; empty unless joint. */
  readonly votersOutgoing: readonly NodeId[];
  /** Outgoing voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[];
  /** The leader leaves the joint configuration on its own. */
  readonly autoLeave: boolean;
}

export const EMPTY_CONF_STATE: ConfState = {
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

export function isMember({ voters, learners, votersOutgoing }: ConfState, id: NodeId): boolean {
  // Staged learners are outgoing voters.
  return voters.includes(id) || learners.includes(id) || votersOutgoing.includes(id);
}

export interface SnapshotMetadata {
  readonly confState: ConfState;
  /** Last entry that the snapshot covers. 0 = no snapshot. */
  readonly index: number;
  readonly term: number;
}

export interface Snapshot {
  /** Opaque to the core, never copied: the state itself or a short reference to where it lies. */
  readonly data: Uint8Array;
  readonly metadata: SnapshotMetadata;
}

export const EMPTY_SNAPSHOT: Snapshot = {
  data: NO_BYTES,
  metadata: { confState: EMPTY_CONF_STATE, index: 0, term: 0 },
};

export function isEmptySnapshot(snapshot: Snapshot | null): boolean {
  return snapshot === null || snapshot.metadata.index === 0;
}

export type ConfChangeType = 'add-voter' | 'remove' | 'update' | 'add-learner';

/** One step on one member. `nodeId` 0 = nothing happens (a change refused when applied). */
export interface ConfChangeSingle {
  readonly type: ConfChangeType;
  readonly nodeId: NodeId;
}

/** A change of one member by the simple protocol; what the product proposes. */
export interface ConfChange extends ConfChangeSingle {
  readonly kind: 'v1';
  /** Opaque; handed back with the committed entry (address of the member, request id, ...). */
  readonly context: Uint8Array;
}

/**
 * - `auto`: simple protocol for at most one change, else joint and left automatically;
 * - `joint-implicit`: joint, left automatically; `joint-explicit`: joint, left by an empty change.
 */
export type ConfChangeTransition = 'auto' | 'joint-implicit' | 'joint-explicit';

/** A change of many members. With `auto` and no changes it leaves the joint configuration. */
export interface ConfChangeV2 {
  readonly kind: 'v2';
  readonly transition: ConfChangeTransition;
  readonly changes: readonly ConfChangeSingle[];
  readonly context: Uint8Array;
}

export type AnyConfChange = ConfChange | ConfChangeV2;

/** A linearizable read asked for by `readIndex` may be served once `index` is applied. */
export interface ReadState {
  readonly index: number;
  /** The bytes that were given to `readIndex`. */
  readonly requestContext: Uint8Array;
}

/**
 * What has to happen next. Read-only.
 *
 * Without async storage writes, in this order: persist `snapshot`, `entries` and `hardState` (with
 * a sync when `mustSync`), send `messages`, apply `committedEntries`, call `advance`.
 *
 * With async storage writes only `messages`, `softState` and `readStates` need acting on: send the
 * messages at once; those to `LOCAL_APPEND_THREAD` and `LOCAL_APPLY_THREAD` say what to write and
 * apply, in order per target, none lost, and carry the responses to deliver afterwards. `advance`
 * is not called.
 */
export interface Ready {
  /** Null when unchanged since the last Ready. */
  readonly softState: SoftState | null;
  /** Null when unchanged since the last Ready. */
  readonly hardState: HardState | null;
  readonly readStates: readonly ReadState[];
  readonly entries: readonly Entry[];
  readonly snapshot: Snapshot | null;
  readonly committedEntries: readonly Entry[];
  /** A `snapshot` message must be answered by `reportSnapshot` once sent or failed. */
  readonly messages: readonly Message[];
  /** True for new entries or a changed term or vote; a changed commit alone needs no sync. */
  readonly mustSync: boolean;
}

/**
 * The durable log as the core sees it: synchronous, thus an image in memory. All indexes are
 * absolute. The result types say what may fail; anything else is thrown and ends the process.
 */
export interface Storage {
  initialState(): { readonly hardState: HardState; readonly confState: ConfState };
  /**
   * Entries `lo <= index < hi` in order, cut before the total of `entrySizeBytes` would exceed
   * `maxSizeBytes`, but at least one. `compacted` when `lo` is gone.
   */
  entries(lo: number, hi: number, maxSizeBytes: number): readonly Entry[] | LogGap;
  /** Term at `index`, `firstIndex() - 1 <= index <= lastIndex()`. */
  term(index: number): number | LogGap;
  /** First index still there; `lastIndex() + 1` when there is no entry. */
  firstIndex(): number;
  lastIndex(): number;
  /**
   * The newest snapshot, empty when there is none yet. One that was taken before a member joined is
   * of no use to that member: the event `snapshot-lacks-member` asks for a newer one.
   */
  snapshot(): Snapshot | 'temporarily-unavailable';
}

/** `compacted`: older than the log goes back; `unavailable`: newer than the log. */
export type LogGap = 'compacted' | 'unavailable';

export interface EntryId {
  readonly term: number;
  readonly index: number;
}

/** Fixed cost charged per entry in every size limit, for its index, term, type and lengths. */
const ENTRY_OVERHEAD_BYTES = 24;

/** The size of an entry for `maxSizePerMessageBytes` and `maxCommittedSizePerReadyBytes`. */
export function entrySizeBytes(entry: Entry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}
