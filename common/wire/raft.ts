/**
 * Consensus traffic: plain messages <-> protobuf. The plain types have the shape of those in
 * manager/raft (which this folder must not know), so that values pass without conversion.
 */
import { skep } from '../../proto/gen/skep.js';
import { SkepError } from '../base/errors.ts';
import {
  bytesFromProto,
  enumTable,
  int64,
  intFromProto,
  requiredMessage,
  text,
  type WireInt,
} from './scalars.ts';

/** Types that may travel; all others are local to a node. */
export type RaftWireType =
  | 'append'
  | 'append-response'
  | 'vote'
  | 'vote-response'
  | 'pre-vote'
  | 'pre-vote-response'
  | 'snapshot'
  | 'heartbeat'
  | 'heartbeat-response'
  | 'transfer-leader'
  | 'timeout-now'
  | 'read-index'
  | 'read-index-response';

export type RaftWireEntryType = 'normal' | 'conf-change' | 'conf-change-v2';

export interface RaftWireEntry {
  readonly index: number;
  readonly term: number;
  readonly type: RaftWireEntryType;
  readonly data: Uint8Array;
}

export interface RaftWireConfState {
  readonly voters: readonly number[];
  readonly learners: readonly number[];
  readonly votersOutgoing: readonly number[];
  readonly learnersNext: readonly number[];
  readonly autoLeave: boolean;
}

export interface RaftWireSnapshot {
  readonly data: Uint8Array;
  readonly metadata: {
    readonly confState: RaftWireConfState;
    readonly index: number;
    readonly term: number;
  };
}

export interface RaftWireMessage {
  readonly type: RaftWireType;
  readonly to: number;
  readonly from: number;
  readonly term: number;
  readonly logTerm: number;
  readonly index: number;
  readonly entries: readonly RaftWireEntry[];
  readonly commit: number;
  readonly vote: number;
  readonly snapshot: RaftWireSnapshot | null;
  readonly reject: boolean;
  readonly rejectHint: number;
  readonly context: Uint8Array;
  /** Local to a node: never sent, always empty when received. */
  readonly responses: readonly never[];
}

/** A sender and where it is reached now. */
export interface RaftWirePeer {
  readonly raftId: number;
  readonly address: string;
}

export interface RaftBatch {
  readonly from: RaftWirePeer;
  readonly messages: readonly RaftWireMessage[];
}

export interface RaftBatchAck {
  /** The sender of the batches is no member any more. */
  readonly removed: boolean;
}

export interface SnapshotOfferChunk {
  readonly kind: 'offer';
  readonly from: RaftWirePeer;
  readonly message: RaftWireMessage;
  readonly fileId: string;
  readonly membership: Uint8Array;
  readonly dataBytes: number;
}

export interface SnapshotDataChunk {
  readonly kind: 'data';
  readonly offset: number;
  readonly data: Uint8Array;
}

export type SnapshotChunk = SnapshotOfferChunk | SnapshotDataChunk;

export interface SnapshotAck {
  /** Data that the receiver has. */
  readonly offset: number;
  readonly finished: boolean;
}

const MESSAGE_TYPES = enumTable<RaftWireType, skep.RaftMessageType>('raft message type', {
  append: skep.RaftMessageType.RAFT_MESSAGE_TYPE_APPEND,
  'append-response': skep.RaftMessageType.RAFT_MESSAGE_TYPE_APPEND_RESPONSE,
  vote: skep.RaftMessageType.RAFT_MESSAGE_TYPE_VOTE,
  'vote-response': skep.RaftMessageType.RAFT_MESSAGE_TYPE_VOTE_RESPONSE,
  'pre-vote': skep.RaftMessageType.RAFT_MESSAGE_TYPE_PRE_VOTE,
  'pre-vote-response': skep.RaftMessageType.RAFT_MESSAGE_TYPE_PRE_VOTE_RESPONSE,
  snapshot: skep.RaftMessageType.RAFT_MESSAGE_TYPE_SNAPSHOT,
  heartbeat: skep.RaftMessageType.RAFT_MESSAGE_TYPE_HEARTBEAT,
  'heartbeat-response': skep.RaftMessageType.RAFT_MESSAGE_TYPE_HEARTBEAT_RESPONSE,
  'transfer-leader': skep.RaftMessageType.RAFT_MESSAGE_TYPE_TRANSFER_LEADER,
  'timeout-now': skep.RaftMessageType.RAFT_MESSAGE_TYPE_TIMEOUT_NOW,
  'read-index': skep.RaftMessageType.RAFT_MESSAGE_TYPE_READ_INDEX,
  'read-index-response': skep.RaftMessageType.RAFT_MESSAGE_TYPE_READ_INDEX_RESPONSE,
});

const ENTRY_TYPES = enumTable<RaftWireEntryType, skep.RaftEntryType>('raft entry type', {
  normal: skep.RaftEntryType.RAFT_ENTRY_TYPE_NORMAL,
  'conf-change': skep.RaftEntryType.RAFT_ENTRY_TYPE_CONF_CHANGE,
  'conf-change-v2': skep.RaftEntryType.RAFT_ENTRY_TYPE_CONF_CHANGE_V2,
});

export function raftBatchToProto({ from, messages }: RaftBatch): skep.RaftBatch.$Properties {
  return {
    from: int64(from.raftId, 'from'),
    fromAddress: text(from.address),
    messages: messages.map(messageToProto),
  };
}

export function raftBatchFromProto(m: skep.RaftBatch.$Properties): RaftBatch {
  return {
    from: { raftId: positive(m.from, 'from'), address: m.fromAddress ?? '' },
    messages: (m.messages ?? []).map(messageFromProto),
  };
}

export function snapshotChunkToProto(chunk: SnapshotChunk): skep.SnapshotChunk.$Properties {
  if (chunk.kind === 'data') {
    return { data: { offset: int64(chunk.offset, 'offset'), data: chunk.data } };
  }
  const { from, message, fileId, membership, dataBytes } = chunk;
  return {
    offer: {
      from: int64(from.raftId, 'from'),
      fromAddress: text(from.address),
      message: messageToProto(message),
      fileId: text(fileId),
      membership,
      dataBytes: int64(dataBytes, 'data_bytes'),
    },
  };
}

export function snapshotChunkFromProto(m: skep.SnapshotChunk.$Properties): SnapshotChunk {
  if (m.offer) {
    const { offer } = m;
    return {
      kind: 'offer',
      from: { raftId: positive(offer.from, 'from'), address: offer.fromAddress ?? '' },
      message: messageFromProto(requiredMessage(offer.message, 'message')),
      fileId: offer.fileId ?? '',
      membership: bytesFromProto(offer.membership),
      dataBytes: intFromProto(offer.dataBytes, 'data_bytes'),
    };
  }
  const data = requiredMessage(m.data, 'body');
  return {
    kind: 'data',
    offset: intFromProto(data.offset, 'offset'),
    data: bytesFromProto(data.data),
  };
}

export function snapshotAckToProto(ack: SnapshotAck): skep.SnapshotAck.$Properties {
  return { offset: int64(ack.offset, 'offset'), finished: ack.finished };
}

export function snapshotAckFromProto(m: skep.SnapshotAck.$Properties): SnapshotAck {
  return { offset: intFromProto(m.offset, 'offset'), finished: m.finished ?? false };
}

function messageToProto(message: RaftWireMessage): skep.RaftMessage.$Properties {
  const { snapshot } = message;
  // 0, false and empty are absent on the wire: heartbeats stay small.
  return {
    type: MESSAGE_TYPES.toProto(message.type),
    to: int64(message.to, 'to'),
    from: int64(message.from, 'from'),
    term: present(message.term, 'term'),
    logTerm: present(message.logTerm, 'log_term'),
    index: present(message.index, 'index'),
    entries: message.entries.map(entryToProto),
    commit: present(message.commit, 'commit'),
    snapshot: snapshot === null ? null : snapshotToProto(snapshot),
    reject: message.reject || null,
    rejectHint: present(message.rejectHint, 'reject_hint'),
    context: message.context.length > 0 ? message.context : null,
  };
}

const NO_ENTRIES: readonly RaftWireEntry[] = Object.freeze([]);
const NO_RESPONSES: readonly never[] = Object.freeze([]);

function messageFromProto(m: skep.RaftMessage.$Properties): RaftWireMessage {
  const { entries } = m;
  return {
    type: MESSAGE_TYPES.fromProto(m.type),
    to: positive(m.to, 'to'),
    from: positive(m.from, 'from'),
    term: intFromProto(m.term, 'term'),
    logTerm: intFromProto(m.logTerm, 'log_term'),
    index: intFromProto(m.index, 'index'),
    entries: entries && entries.length > 0 ? entries.map(entryFromProto) : NO_ENTRIES,
    commit: intFromProto(m.commit, 'commit'),
    vote: 0,
    snapshot: m.snapshot ? snapshotFromProto(m.snapshot) : null,
    reject: m.reject ?? false,
    rejectHint: intFromProto(m.rejectHint, 'reject_hint'),
    context: bytesFromProto(m.context),
    responses: NO_RESPONSES,
  };
}

function entryToProto(entry: RaftWireEntry): skep.RaftEntry.$Properties {
  return {
    index: int64(entry.index, 'index'),
    term: int64(entry.term, 'term'),
    type: ENTRY_TYPES.toProto(entry.type),
    data: entry.data,
  };
}

function entryFromProto(m: skep.RaftEntry.$Properties): RaftWireEntry {
  return {
    index: intFromProto(m.index, 'index'),
    term: intFromProto(m.term, 'term'),
    type: ENTRY_TYPES.fromProto(m.type),
    data: bytesFromProto(m.data),
  };
}

function snapshotToProto({ data, metadata }: RaftWireSnapshot): skep.RaftSnapshot.$Properties {
  const { voters, learners, votersOutgoing, learnersNext, autoLeave } = metadata.confState;
  return {
    confState: {
      voters: [...voters],
      learners: [...learners],
      votersOutgoing: [...votersOutgoing],
      learnersNext: [...learnersNext],
      autoLeave,
    },
    index: int64(metadata.index, 'index'),
    term: int64(metadata.term, 'term'),
    data,
  };
}

function snapshotFromProto(m: skep.RaftSnapshot.$Properties): RaftWireSnapshot {
  const c = requiredMessage(m.confState, 'conf_state');
  const ids = (list: readonly WireInt[] | null | undefined, field: string): readonly number[] =>
    (list ?? []).map((id) => positive(id, field));
  return {
    data: bytesFromProto(m.data),
    metadata: {
      confState: {
        voters: ids(c.voters, 'voters'),
        learners: ids(c.learners, 'learners'),
        votersOutgoing: ids(c.votersOutgoing, 'voters_outgoing'),
        learnersNext: ids(c.learnersNext, 'learners_next'),
        autoLeave: c.autoLeave ?? false,
      },
      index: intFromProto(m.index, 'index'),
      term: intFromProto(m.term, 'term'),
    },
  };
}

/** 0 stays absent. */
function present(value: number, field: string): number | null {
  return value === 0 ? null : int64(value, field);
}

const RAFT_ID_LIMIT = 2 ** 48;

/** A raft id: `1 <= id < 2^48`. */
function positive(value: WireInt, field: string): number {
  const id = intFromProto(value, field);
  if (id < 1 || id >= RAFT_ID_LIMIT) {
    throw new SkepError('data-loss', `decode ${field}: ${id} is not an integer in 1..2^48-1`);
  }
  return id;
}
