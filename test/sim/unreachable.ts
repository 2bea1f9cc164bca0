/**
 * Ways through the Raft core that the product never goes, with the reason: `--coverage` leaves them
 * out of its percentage when they were not reached. A way is known by a piece of its source line.
 */

interface Unreachable {
  readonly why: string;
  /** By file of manager/raft. */
  readonly lines: Readonly<Record<string, readonly string[]>>;
}

export const UNREACHABLE: readonly Unreachable[] = [
  {
    why: 'joint configurations: the product changes one member at a time',
    lines: {
      'conf-change.ts': [
        "change.kind === 'v2'",
        'change.changes.length',
        "'joint-explicit'",
        "'joint-implicit'",
        "change.kind === 'v1'",
        'leavesJoint(change)',
        'count > 0xffff',
        'change.changes.forEach',
        "type === 'conf-change'",
        'LEAVE_JOINT',
        'transition === undefined',
        'readSingle(data, 3',
      ],
      'membership-change.ts': [
        'isJoint(base.membership)',
        'outgoing',
        'learnersNext',
        'autoLeave',
        'draft.',
        '): MembershipResult {',
        'leaveJoint',
        'progress.get(id)!.isLearner',
      ],
      'membership.ts': ['leaveJoint(base)', "protocol === 'simple'"],
      'proposals.ts': ['joint', 'autoLeave', 'raft.log.applied < raft', 'instanceof Proposal'],
      'quorum.ts': ['outgoing'],
      'tracker.ts': ['outgoing.has(id)'],
    },
  },
  {
    why: 'demoting a voter to a learner: the product removes it',
    lines: { 'membership-change.ts': ['progress.isLearner', 'progress === undefined', '} else {'] },
  },
  {
    why: 'synchronous storage writes: the driver writes asynchronously',
    lines: {
      'raw-node.ts': [
        'advance()',
        'stepsOnAdvance',
        '#async',
        'messagesAfterAppend',
        'responsesTo',
        'stored !== null',
        'ready.committedEntries',
      ],
      'log.ts': ['allowUnstable ?'],
    },
  },
  {
    why: 'forwarding of proposals and transfers, forgetting a leader, lease reads, founding by peers: not used',
    lines: {
      'raw-node.ts': [
        'bootstrap(',
        'peers.map',
        'propose(data',
        'forgetLeader',
        'overrideElection',
      ],
      'step-follower.ts': [
        'forwardTransfer',
        'forgetLeader',
        'raft.leader === NO_NODE',
        'disableProposalForwarding',
        "'lease-based'",
        'leader === NO_NODE',
      ],
      'step-leader.ts': ["'forget-leader'"],
      'reads.ts': ["readOnlyMode !== 'safe'"],
    },
  },
  {
    why: 'parameters that the product always gives, or never',
    lines: {
      'config.ts': ['??', 'c.id', 'maxInflightBytes', 'checkQuorum'],
      'membership.ts': ['stepDownOnRemoval'],
      'proposals.ts': ['disableConfChangeValidation'],
      'raft.ts': ['preVote', 'checkQuorum'],
    },
  },
  {
    why: 'what would be a fault of ours, of a peer or of the disk: asserted, refused or ignored',
    lines: {
      'conf-change.ts': [
        'a normal entry',
        'isInteger(nodeId)',
        'too short',
        'unknown type',
        'function damaged',
      ],
      'elections.ts': ["page !== 'compacted'"],
      'errors.ts': ['constructor(type: string)'],
      'log.ts': [
        'first === undefined',
        'index >= this.#appl',
        'lo < this.firstIndex',
        'lo === hi',
        "stable === 'compacted'",
      ],
      'membership-change.ts': [
        'MembershipChangeError',
        'constructor(why',
        'nodeId === 0',
        'incoming.size === 0',
        'progress.has(id)',
        'incoming.has(id)',
        'function broken',
      ],
      'membership.ts': ['voters.length === 0'],
      'memory-storage.ts': ['compacted', 'unavailable', 'entries.length', 'own >= index'],
      'proposals.ts': ['proposed.length === 0', "'removed'", 'instanceof Membership'],
      'quorum.ts': ['EVERYTHING'],
      'raft.ts': ['last === undefined'],
      'raw-node.ts': ['LOCAL_TYPES'],
      'read-only.ts': ['CONTEXT_BYTES'],
      'reads.ts': ['request.entries.length', 'entry === undefined', 'hasCommittedInTerm'],
      'step-follower.ts': ['EMPTY_SNAPSHOT', "raft.role !== 'follower'"],
      'step-leader.ts': ['to === raft.id'],
      'types.ts': ['snapshot === null'],
    },
  },
];

/** The reason, or null for a way that has to be reached. */
export function whyUnreachable(file: string, sourceLine: string): string | null {
  const name = file.slice(file.lastIndexOf('/') + 1);
  const found = UNREACHABLE.find(({ lines }) => {
    return lines[name]?.some((piece) => sourceLine.includes(piece)) ?? false;
  });
  return found?.why ?? null;
}
