/** The way of a connection: model <-> protobuf. */
import type { skep } from '../../proto/gen/skep.js';
import type { NetworkHop } from '../model/network-trace.ts';
import { listFromProto, text, textList, textListFromProto } from './scalars.ts';

export function networkHopsToProto(hops: readonly NetworkHop[]): skep.NetworkTrace.$Properties {
  return {
    hops: hops.map(({ step, detail, faults }) => ({
      step: text(step),
      detail: text(detail),
      faults: textList(faults),
    })),
  };
}

export function networkHopsFromProto(m: skep.NetworkTrace.$Properties): readonly NetworkHop[] {
  return listFromProto(m.hops, ({ step, detail, faults }) =>
    Object.freeze({
      step: step ?? '',
      detail: detail ?? '',
      faults: textListFromProto(faults),
    }),
  );
}
