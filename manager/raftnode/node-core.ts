/** The core with the parameters that the product gives it. */
import { RawNode } from '../raft/raw-node.ts';
import type { LogImage } from './log-image.ts';
import { DEFAULTS, type RaftNodeOptions } from './node-options.ts';

const MIB = 1024 * 1024;
/** Flow control. A batch on the wire holds some of the messages (`BATCH_BYTES` in peer-link.ts). */
const FLOW = {
  maxSizePerMessageBytes: 256 * 1024,
  maxCommittedSizePerReadyBytes: 4 * MIB,
  maxUncommittedBytes: 32 * MIB,
  maxInflightMessages: 256,
  maxInflightBytes: 4 * MIB,
} as const;

/** @param applied index that the state machine is at */
export function createCore(node: RaftNodeOptions, image: LogImage, applied: number): RawNode {
  const { raftId, random, onEvent, electionTicks = DEFAULTS.electionTicks } = node;
  return new RawNode({
    ...FLOW,
    id: raftId,
    electionTicks,
    heartbeatTicks: 1,
    storage: image,
    random,
    applied,
    asyncStorageWrites: true,
    checkQuorum: true,
    preVote: true,
    stepDownOnRemoval: true,
    disableProposalForwarding: true,
    ...(onEvent === undefined ? {} : { onEvent }),
  });
}
