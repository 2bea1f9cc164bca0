/**
 * Pieces of a byte stream: in a message each, because one that is a single zero byte would pass for the mark that
 * ends a stream of requests.
 */
import { skep } from '../../proto/gen/skep.js';
import { bytesFromProto } from './scalars.ts';

export function encodeTunnelBytes(data: Uint8Array): Uint8Array {
  return skep.TunnelBytes.encode({ data }).finish();
}

export function decodeTunnelBytes(bytes: Uint8Array): Uint8Array {
  return bytesFromProto(skep.TunnelBytes.decode(bytes).data);
}
