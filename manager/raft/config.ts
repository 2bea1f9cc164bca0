/** Parameters of one Raft node and their rules. Times are counted in ticks, never in seconds. */

import { assert } from '../../common/base/assert.ts';
import type { Random } from '../../common/base/random.ts';
import type { RaftEventListener } from './events.ts';
import { NO_NODE, NODE_ID_LIMIT, type NodeId, type Storage } from './types.ts';

/**
 * - `safe`: a round of heartbeats to a quorum confirms leadership before a read;
 * - `lease-based`: the leader trusts its clock (needs `checkQuorum`); unsafe when clocks drift.
 */
export type ReadOnlyMode = 'safe' | 'lease-based';

/** What may change while a node runs. */
export interface RaftTiming {
  /** A follower campaigns after `electionTicks..2*electionTicks-1` ticks without a leader. */
  readonly electionTicks: number;
  /** `1 <= heartbeatTicks < electionTicks`. */
  readonly heartbeatTicks: number;
}

export interface RaftConfig extends RaftTiming {
  readonly id: NodeId;
  readonly storage: Storage;
  /** Draws the election jitter. */
  readonly random: Random;
  /** Last entry that the application has applied already. Default 0: as the log tells. */
  readonly applied?: number;
  /** See `Ready`. Default false. */
  readonly asyncStorageWrites?: boolean;
  /** Limit of entries in one `append`; at least one entry is sent. Infinity = none. */
  readonly maxSizePerMessageBytes: number;
  /** Limit of committed entries handed out and not yet applied. Default `maxSizePerMessageBytes`. */
  readonly maxCommittedSizePerReadyBytes?: number;
  /** A leader drops proposals past this much uncommitted payload. Default Infinity. */
  readonly maxUncommittedBytes?: number;
  /** `append` messages under way to one follower, `>= 1`. */
  readonly maxInflightMessages: number;
  /** Payload under way to one follower. Default Infinity; else `>= maxSizePerMessageBytes`. */
  readonly maxInflightBytes?: number;
  /** The leader steps down when it heard from no quorum for `electionTicks`. Default true. */
  readonly checkQuorum?: boolean;
  /** Ask before raising the term, so that a returning node disturbs nobody. Default true. */
  readonly preVote?: boolean;
  /** Default `safe`. */
  readonly readOnlyMode?: ReadOnlyMode;
  /** Followers drop proposals instead of sending them to the leader. Default false. */
  readonly disableProposalForwarding?: boolean;
  /**
   * Accept a membership change although an earlier one may be unapplied. Only for callers that
   * order changes themselves: an invalid change ends every member. Default false.
   */
  readonly disableConfChangeValidation?: boolean;
  /** A leader that is removed or demoted stops leading at once. Default true. */
  readonly stepDownOnRemoval?: boolean;
  /** Told of each notable event, synchronously. Must not call the node. */
  readonly onEvent?: RaftEventListener;
}

export type CompleteRaftConfig = Required<Omit<RaftConfig, 'onEvent'>> & {
  readonly onEvent: RaftEventListener | undefined;
};

/** Fills in defaults; a value out of range is a programmer's mistake. */
export function completeConfig(config: RaftConfig): CompleteRaftConfig {
  const complete: CompleteRaftConfig = {
    id: config.id,
    electionTicks: config.electionTicks,
    heartbeatTicks: config.heartbeatTicks,
    storage: config.storage,
    random: config.random,
    applied: config.applied ?? 0,
    asyncStorageWrites: config.asyncStorageWrites ?? false,
    maxSizePerMessageBytes: config.maxSizePerMessageBytes,
    maxCommittedSizePerReadyBytes:
      config.maxCommittedSizePerReadyBytes ?? config.maxSizePerMessageBytes,
    maxUncommittedBytes: config.maxUncommittedBytes ?? Number.POSITIVE_INFINITY,
    maxInflightMessages: config.maxInflightMessages,
    maxInflightBytes: config.maxInflightBytes ?? Number.POSITIVE_INFINITY,
    checkQuorum: config.checkQuorum ?? true,
    preVote: config.preVote ?? true,
    readOnlyMode: config.readOnlyMode ?? 'safe',
    disableProposalForwarding: config.disableProposalForwarding ?? false,
    disableConfChangeValidation: config.disableConfChangeValidation ?? false,
    stepDownOnRemoval: config.stepDownOnRemoval ?? true,
    onEvent: config.onEvent,
  };
  check(complete);
  return complete;
}

/** A value out of range is a programmer's mistake. */
export function checkTiming({ electionTicks, heartbeatTicks }: RaftTiming): void {
  assert(heartbeatTicks >= 1, `raft heartbeatTicks: ${heartbeatTicks} is below 1`);
  assert(
    electionTicks > heartbeatTicks,
    `raft electionTicks: ${electionTicks} is not above heartbeatTicks ${heartbeatTicks}`,
  );
}

function check(c: CompleteRaftConfig): void {
  assert(
    Number.isInteger(c.id) && c.id > NO_NODE && c.id < NODE_ID_LIMIT,
    `raft id: ${c.id} is not an integer in 1..2^48-1`,
  );
  checkTiming(c);
  assert(c.maxSizePerMessageBytes >= 0, 'raft maxSizePerMessageBytes is negative');
  assert(c.maxCommittedSizePerReadyBytes > 0, 'raft maxCommittedSizePerReadyBytes is not positive');
  assert(c.maxUncommittedBytes > 0, 'raft maxUncommittedBytes is not positive');
  assert(c.maxInflightMessages >= 1, 'raft maxInflightMessages is below 1');
  assert(
    c.maxInflightBytes >= Math.min(c.maxSizePerMessageBytes, Number.MAX_SAFE_INTEGER) ||
      c.maxInflightBytes === Number.POSITIVE_INFINITY,
    'raft maxInflightBytes is below maxSizePerMessageBytes',
  );
  assert(
    c.readOnlyMode === 'safe' || c.checkQuorum,
    'raft readOnlyMode lease-based requires checkQuorum',
  );
}
