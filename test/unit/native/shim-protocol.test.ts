import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeExit,
  decodeHello,
  decodeLogHeader,
  decodeReply,
  encodeFrame,
  encodeRequest,
  FRAME,
  FrameDecoder,
} from '../../../native/ffi/shim-protocol.ts';

function hello(version: number, size: number): Buffer {
  const bytes = Buffer.alloc(Math.max(size, 32));
  bytes.writeUInt32LE(version, 0);
  bytes.writeUInt32LE(1, 4);
  bytes.writeInt32LE(10, 8);
  bytes.writeInt32LE(11, 12);
  bytes.writeBigInt64LE(5n, 16);
  bytes.writeBigInt64LE(6n, 24);
  return bytes.subarray(0, size);
}

describe('shim protocol', () => {
  test('frames survive any cutting of the stream', () => {
    const frame = fc.record({
      type: fc.nat({ max: 255 }),
      payload: fc.uint8Array({ maxLength: 50 }),
    });
    fc.assert(
      fc.property(fc.array(frame), fc.array(fc.integer({ min: 1, max: 9 })), (frames, cuts) => {
        const bytes = Buffer.concat(frames.map((f) => encodeFrame(f.type, f.payload)));
        const decoder = new FrameDecoder();
        const seen = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = cuts[i] ?? 7;
          seen.push(...decoder.push(bytes.subarray(at, at + size)));
          at += size;
        }
        expect(seen.map((f) => ({ type: f.type, payload: Uint8Array.from(f.payload) }))).toEqual(
          frames.map((f) => ({ type: f.type, payload: Uint8Array.from(f.payload) })),
        );
      }),
    );
  });

  test.each([0, 0xffffffff])('a frame of %i bytes is damage', (size) => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(size, 0);
    expect(() => new FrameDecoder().push(bytes)).toThrow(`frame of ${size} bytes`);
  });

  test('a request begins with its number', () => {
    const bytes = encodeRequest(FRAME.signal, 7, Buffer.from([15, 0, 0, 0]));
    expect([...bytes]).toEqual([9, 0, 0, 0, 17, 7, 0, 0, 0, 15, 0, 0, 0]);
  });

  test('a reply carries a result or an error', () => {
    const bytes = Buffer.alloc(264);
    bytes.writeUInt32LE(3, 0);
    bytes.writeInt32LE(1234, 4);
    expect(decodeReply(bytes)).toEqual({ request: 3, result: 1234, error: null });
    bytes.writeInt32LE(-1, 4);
    bytes.writeInt32LE(2, 8);
    bytes.write('execve', 12);
    bytes.write('nope', 40);
    expect(decodeReply(bytes).error).toMatchObject({ errno: 'ENOENT', syscall: 'execve' });
    expect(() => decodeReply(bytes.subarray(1))).toThrow('malformed reply');
  });

  test('hello is checked', () => {
    const bytes = hello(2, 32);
    expect(decodeHello(bytes)).toEqual({
      version: 2,
      status: 'running',
      shimPid: 10,
      initPid: 11,
      createdAtNanos: 5n,
      startedAtNanos: 6n,
    });
    expect(() => decodeHello(bytes.subarray(0, 16))).toThrow('malformed hello');
    bytes.writeUInt32LE(9, 4);
    expect(() => decodeHello(bytes)).toThrow('malformed hello');
    expect(() => decodeHello(hello(0, 32))).toThrow('malformed hello');
    expect(() => decodeHello(Buffer.alloc(3))).toThrow('malformed hello');
  });

  test('the hello of an older shim is understood, a newer one is named', () => {
    expect(decodeHello(hello(1, 16))).toMatchObject({
      version: 1,
      status: 'running',
      createdAtNanos: null,
    });
    expect(() => decodeHello(hello(5, 40))).toThrow('it speaks version 5, this daemon 1 to 4');
  });

  test('an exit carries its record; that of an older shim is empty', () => {
    const bytes = Buffer.alloc(288);
    bytes.writeBigInt64LE(7n, 0);
    bytes.writeBigInt64LE(8n, 8);
    bytes.writeInt32LE(137, 16);
    bytes.writeInt32LE(9, 20);
    bytes.writeUInt32LE(1, 24);
    expect(decodeExit(bytes)).toEqual({
      startedAtNanos: 7n,
      finishedAtNanos: 8n,
      exitCode: 137,
      signal: 9,
      oomKilled: true,
      startError: null,
    });
    bytes.writeInt32LE(2, 32);
    bytes.write('execve', 36);
    bytes.write('nope', 64);
    expect(decodeExit(bytes)?.startError).toMatchObject({ errno: 'ENOENT', syscall: 'execve' });
    expect(decodeExit(Buffer.alloc(0))).toBeNull();
    expect(() => decodeExit(bytes.subarray(1))).toThrow('malformed exit');
  });

  test('a log header is told from anything else', () => {
    const bytes = Buffer.alloc(24);
    bytes.writeBigInt64LE(1_700_000_000n, 0);
    bytes.writeUInt32LE(5, 8);
    bytes.writeUInt32LE(2, 12);
    bytes.writeUInt32LE(80, 16);
    bytes.write('SLOG', 20);
    expect(decodeLogHeader(bytes, 0)).toEqual({
      timeNanos: 1_700_000_000_000_000_005n,
      stream: 'stderr',
      length: 80,
    });
    bytes.writeUInt32LE(16385, 16);
    expect(decodeLogHeader(bytes, 0)).toBeNull();
    expect(decodeLogHeader(Buffer.alloc(24), 0)).toBeNull();
  });
});
