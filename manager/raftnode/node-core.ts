/** The core with the parameters that the product gives it. */
import { RawNode } from '../raft/raw-node.ts';
import type { LogImage } from './log-image.ts';
import { DEFAULTS, type RaftNodeOptions } from './node-options.ts';

/** @param applied index that the state machine is at */
export function createCore(node: RaftNodeOptions, image: LogImage, applied: number): RawNode {
  const { raftId, random, onEvent, electionTicks = DEFAULTS.electionTicks, flow } = node;
  return new RawNode({
    ...DEFAULTS.flow,
    ...flow,
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
