/** Proofs of nodes' networks as JSON. */
import type { NetworkProofJson } from '../../../common/model/engine-json/network.ts';
import type { NodeProof } from '../../../manager/netproof/network-prover.ts';

export function networkProofToJson(result: NodeProof): NetworkProofJson {
  const { node, kind } = result;
  const proof = kind === 'proof' ? result.proof : null;
  return {
    NodeID: node.id,
    Hostname: node.description?.hostname ?? '',
    State: kind === 'proof' ? 'compared' : kind,
    Error: kind === 'failed' ? result.reason : '',
    Compared: proof?.compared ?? 0,
    DriftCount: proof?.driftCount ?? 0,
    LeftCount: proof?.leftCount ?? 0,
    RepairedSinceStart: proof?.repairedSinceStart ?? 0,
    Drifts: (proof?.drifts ?? []).map(({ where, what, wanted, found, repaired }) => ({
      Where: where,
      What: what,
      Wanted: wanted,
      Found: found,
      Repaired: repaired,
    })),
    Failures: (proof?.failures ?? []).map(({ where, reason }) => ({
      Where: where,
      Reason: reason,
    })),
  };
}
