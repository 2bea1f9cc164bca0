/** Proofs of a node's network: model <-> protobuf. */
import type { skep } from '../../proto/gen/skep.js';
import type { NetworkDrift, NetworkProof } from '../model/network-proof.ts';
import { int64, intFromProto, listFromProto, text } from './scalars.ts';

export function networkProofToProto(proof: NetworkProof): skep.NetworkProof.$Properties {
  return {
    compared: proof.compared,
    driftCount: proof.driftCount,
    leftCount: proof.leftCount,
    drifts: proof.drifts.map(driftToProto),
    failures: proof.failures.map(({ where, reason }) => ({
      where: text(where),
      reason: text(reason),
    })),
    repairedSinceStart: int64(proof.repairedSinceStart, 'repaired_since_start'),
  };
}

export function networkProofFromProto(m: skep.NetworkProof.$Properties): NetworkProof {
  return Object.freeze({
    compared: m.compared ?? 0,
    driftCount: m.driftCount ?? 0,
    leftCount: m.leftCount ?? 0,
    drifts: listFromProto(m.drifts, driftFromProto),
    failures: listFromProto(m.failures, ({ where, reason }) =>
      Object.freeze({ where: where ?? '', reason: reason ?? '' }),
    ),
    repairedSinceStart: intFromProto(m.repairedSinceStart, 'repaired_since_start'),
  });
}

function driftToProto(drift: NetworkDrift): skep.NetworkDrift.$Properties {
  const { where, what, wanted, found, repaired } = drift;
  return { where: text(where), what: text(what), wanted, found, repaired };
}

function driftFromProto(m: skep.NetworkDrift.$Properties): NetworkDrift {
  return Object.freeze({
    where: m.where ?? '',
    what: m.what ?? '',
    wanted: m.wanted ?? null,
    found: m.found ?? null,
    repaired: m.repaired ?? false,
  });
}
