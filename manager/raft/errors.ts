/** Expected refusals of the Raft core. */
import { type ErrorCode, SkepError } from '../../common/base/errors.ts';

export type ProposalDropReason =
  | 'no-leader'
  | 'not-leader' // and forwarding is off
  | 'removed' // this leader is no member any more
  | 'transfer-in-progress'
  | 'too-much-uncommitted';

const CODE: Readonly<Record<ProposalDropReason, ErrorCode>> = {
  'no-leader': 'no-leader',
  'not-leader': 'not-leader',
  removed: 'not-leader',
  'transfer-in-progress': 'unavailable',
  'too-much-uncommitted': 'resource-exhausted',
};

/** The proposal was not appended anywhere and never will be. */
export class ProposalDroppedError extends SkepError {
  readonly reason: ProposalDropReason;

  constructor(reason: ProposalDropReason) {
    super(CODE[reason], `raft proposal dropped: ${reason}`);
    this.reason = reason;
  }
}

/** `step` got a message that only this node itself may make. */
export class LocalMessageError extends SkepError {
  constructor(type: string) {
    super('invalid-argument', `step raft message: ${type} is local and refused from the network`);
  }
}

/** `step` got a response from a node that is not a member. */
export class UnknownPeerError extends SkepError {
  constructor(from: number) {
    super('not-found', `step raft message: response from ${from.toString(16)}, not a member`);
  }
}
