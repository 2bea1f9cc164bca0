import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeGrpcMessage, GrpcMessageDecoder } from '../../../common/rpc/grpc-messages.ts';
import { MESSAGE_BYTES_MAX } from '../../../common/rpc/limits.ts';

function decodeAll(decoder: GrpcMessageDecoder, chunks: readonly Buffer[]): string[] {
  const messages: string[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (let next = decoder.next(); next !== null; next = decoder.next()) {
      messages.push(next.toString('hex'));
    }
  }
  return messages;
}

describe('messages of gRPC', () => {
  test('come out as they went in, however the bytes were cut', () => {
    const bytes = fc.uint8Array({ maxLength: 40 });
    const cut = fc.array(fc.nat(400), { maxLength: 12 });
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 8 }), cut, (messages, cuts) => {
        const whole = Buffer.concat(messages.map((message) => encodeGrpcMessage(message)));
        const at = [...new Set([0, ...cuts.map((n) => Math.min(n, whole.length)), whole.length])];
        at.sort((a, b) => a - b);
        const chunks = at.slice(1).map((end, i) => whole.subarray(at[i], end));
        expect(decodeAll(new GrpcMessageDecoder(), chunks)).toEqual(
          messages.map((message) => Buffer.from(message).toString('hex')),
        );
      }),
    );
  });

  test('are refused when they are compressed, or larger than any', () => {
    const compressed = encodeGrpcMessage(Buffer.from('a'));
    compressed[0] = 1;
    const decoder = new GrpcMessageDecoder();
    decoder.push(compressed);
    expect(() => decoder.next()).toThrow('receive a message: it is compressed');

    const large = Buffer.alloc(5);
    large.writeUInt32BE(MESSAGE_BYTES_MAX + 1, 1);
    const other = new GrpcMessageDecoder();
    other.push(large);
    expect(() => other.next()).toThrow(`${MESSAGE_BYTES_MAX + 1} bytes are more than`);
    expect(() => encodeGrpcMessage(Buffer.alloc(MESSAGE_BYTES_MAX + 1))).toThrow('send a message');
  });
});
