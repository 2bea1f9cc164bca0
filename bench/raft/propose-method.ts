/** The one RPC that the members of the throughput rounds serve beside Raft's own: a proposal. */
import { type Codec, unary } from '../../common/rpc/method.ts';

const bytes: Codec<Uint8Array> = { encode: (message) => message, decode: (message) => message };

export const proposeMethod = unary<Uint8Array, Uint8Array>({
  path: '/skep.bench.Log/Propose',
  roles: ['manager'],
  request: bytes,
  response: bytes,
});
