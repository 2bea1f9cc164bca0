/** What a raft node is given: its parameters and the state machine that it drives. */
import type { Clock } from '../../common/base/clock.ts';
import type { OnFailure } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../common/model/cluster.ts';
import type { RaftConfig } from '../raft/config.ts';
import type { RaftEventListener } from '../raft/events.ts';
import type { RawNode } from '../raft/raw-node.ts';
import type { Role } from '../raft/types.ts';
import type { Disk } from './disk.ts';
import type { SaveKeys } from './key-rotation.ts';
import type { PeerTransport } from './peer-transport.ts';

export interface StateMachine {
  /** Applies a committed entry; synchronous, deterministic, must not throw. */
  apply(index: number, payload: Uint8Array): void;
  /** A consistent view at this moment, as chunks of at most ~1 MiB; may be consumed slowly later. */
  snapshot(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  /** Replaces the whole state. */
  restore(chunks: AsyncIterable<Uint8Array>, appliedIndex: number): Promise<void>;
}

export interface RaftNodeOptions {
  /** Directory of log and snapshots; made when missing. */
  readonly dir: string;
  /** `1 <= raftId < 2^48`, random, never reused in the cluster. */
  readonly raftId: number;
  readonly nodeId: string;
  /** `host:port` under which other members reach this one. */
  readonly address: string;
  /** Keeps the directory of another cluster out. Default: not checked. */
  readonly clusterId?: string;
  /** Data encryption key, 32 bytes. */
  readonly dek: Uint8Array;
  /** Keys that files may still be under after an interrupted change of key. */
  readonly olderDeks?: readonly Uint8Array[];
  /** Keeps changed keys (see `KeyRotation`). Without it the key cannot be changed. */
  readonly saveKeys?: SaveKeys;
  readonly stateMachine: StateMachine;
  readonly transport: PeerTransport;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Told once when the log or the state machine failed: nothing may be acknowledged any more. */
  readonly onFailure: OnFailure;
  /** This node was removed from the cluster and does nothing any more. Told once. */
  readonly onRemoved?: () => void;
  /** Default 100. */
  readonly tickMs?: number;
  /** Ticks without a leader until a follower campaigns, and up to as many again. Default 10. */
  readonly electionTicks?: number;
  /** Entries between two snapshots. Default 10,000. */
  readonly snapshotIntervalEntries?: number;
  /** Bytes of entries that make a snapshot due earlier. Default 64 MiB. */
  readonly snapshotIntervalBytes?: number;
  /** Entries kept behind a snapshot for followers that are a little late. Default 500. */
  readonly keepEntries?: number;
  /** Default 64 MiB; the first segments are smaller, see `smallSegmentBytes`. */
  readonly segmentBytes?: number;
  /** Default 8 MiB. */
  readonly smallSegmentBytes?: number;
  /** Limits of the core that differ from `DEFAULTS.flow`. */
  readonly flow?: Partial<FlowLimits>;
  /** For tests and traces. */
  readonly onEvent?: RaftEventListener;
}

/** See the fields of the same names in `RaftConfig`. */
export type FlowLimits = Pick<
  Required<RaftConfig>,
  | 'maxSizePerMessageBytes'
  | 'maxCommittedSizePerReadyBytes'
  | 'maxUncommittedBytes'
  | 'maxInflightMessages'
  | 'maxInflightBytes'
>;

/** The core's own view, for those who check it against that of others. */
export type CoreView = Pick<RawNode, 'basicStatus' | 'status' | 'logTerm'>;

export interface RaftNodeStatus {
  readonly raftId: number;
  readonly term: number;
  /** 0 = none known. */
  readonly leaderRaftId: number;
  readonly role: Role | 'learner';
  readonly committedIndex: number;
  readonly appliedIndex: number;
  readonly removed: boolean;
  /** The log cannot grow: the node answers reads and follows nobody until there is space. */
  readonly diskFull: boolean;
  /** Files may still be under an older key. */
  readonly keyRotation: boolean;
}

const MIB = 1024 * 1024;

export const DEFAULTS = {
  tickMs: 100,
  electionTicks: DEFAULT_CLUSTER_SPEC.raft.electionTicks,
  heartbeatTicks: DEFAULT_CLUSTER_SPEC.raft.heartbeatTicks,
  snapshotIntervalEntries: 10_000,
  snapshotIntervalBytes: 64 * 1024 * 1024,
  keepEntries: 500,
  /** A batch on the wire holds some of the messages (`BATCH_BYTES` in peer-link.ts). */
  flow: {
    maxSizePerMessageBytes: 256 * 1024,
    maxCommittedSizePerReadyBytes: 4 * MIB,
    maxUncommittedBytes: 32 * MIB,
    maxInflightMessages: 256,
    maxInflightBytes: 4 * MIB,
  },
} as const;
