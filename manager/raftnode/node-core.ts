/** The core with the parameters that the product gives it. */
import type { RaftTiming } from '../raft/config.ts';
import { RawNode } from '../raft/raw-node.ts';
import type { LogImage } from './log-image.ts';
import { DEFAULTS, type RaftNodeOptions } from './node-options.ts';

/** Until the cluster says otherwise. */
export function timingOf({ electionTicks }: Pick<RaftNodeOptions, 'electionTicks'>): RaftTiming {
  const { heartbeatTicks } = DEFAULTS;
  return { electionTicks: electionTicks ?? DEFAULTS.electionTicks, heartbeatTicks };
}

/** @param applied index that the state machine is at */
export function createCore(
  node: RaftNodeOptions,
  image: LogImage,
  applied: number,
  timing: RaftTiming,
): RawNode {
  const { raftId, random, onEvent, flow } = node;
  return new RawNode({
    ...DEFAULTS.flow,
    ...flow,
    id: raftId,
    ...timing,
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
