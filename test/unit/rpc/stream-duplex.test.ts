import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { StreamDuplex } from '../../../common/rpc/stream-duplex.ts';
import { decodeTunnelBytes, encodeTunnelBytes } from '../../../common/wire/tunnel.ts';
import { settle } from '../../support/fake-clock.ts';
import { streamPair } from '../../support/rpc-stream-pair.ts';

const WINDOW_BYTES = 64 * 1024;

/** All that comes until the end. Unlike an iterator it leaves the other direction alone. */
async function buffer(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(stream, 'end');
  return Buffer.concat(chunks);
}

describe('a byte stream over a stream of messages', () => {
  test('brings all bytes in their order, whatever the size of what is written', async () => {
    const [one, other] = streamPair(WINDOW_BYTES);
    const [from, to] = [new StreamDuplex(one), new StreamDuplex(other)];
    const sent = Buffer.from(Array.from({ length: 3 * 256 * 1024 + 7 }, (_, i) => i % 251));
    from.write(sent.subarray(0, 1));
    from.write(Buffer.alloc(0));
    from.end(sent.subarray(1));
    expect((await buffer(to)).equals(sent)).toBe(true);
    expect(one.unreadBytesMax).toBe(0);
  });

  test('is written to no further while its reader takes nothing, and goes on afterwards', async () => {
    const [one, other] = streamPair(WINDOW_BYTES);
    const [from, slow] = [new StreamDuplex(one), new StreamDuplex(other)];
    const chunk = Buffer.alloc(16 * 1024, 1);
    const count = 100;
    for (let i = 0; i < count; i++) from.write(chunk);
    from.end();
    await settle();
    // One chunk crosses the border; the others wait with the writer.
    expect(other.unreadBytesMax).toBeLessThanOrEqual(WINDOW_BYTES + chunk.length);
    expect(from.writableLength).toBeGreaterThan((count - 8) * chunk.length);
    expect((await buffer(slow)).length).toBe(count * chunk.length);
    expect(other.unreadBytesMax).toBeLessThanOrEqual(WINDOW_BYTES + chunk.length);
  });

  test('that is ended by one side is read on by that side', async () => {
    const [one, other] = streamPair(WINDOW_BYTES);
    const [client, server] = [new StreamDuplex(one), new StreamDuplex(other)];
    client.end('question');
    expect(String(await buffer(server))).toBe('question');
    server.end('answer');
    expect(String(await buffer(client))).toBe('answer');
    await Promise.all([client, server].map((end) => end.closed || once(end, 'close')));
    expect([one.failed, other.failed]).toEqual([false, false]);
  });

  test('that breaks is destroyed with what broke it', async () => {
    const [one] = streamPair(WINDOW_BYTES);
    const duplex = new StreamDuplex(one);
    const broken = new SkepError('unavailable', 'the node is gone');
    duplex.resume();
    one.fail(broken);
    await once(duplex, 'close').catch(() => {});
    expect(duplex.errored).toBe(broken);
  });

  test('that is destroyed cuts the call off', async () => {
    const [one, other] = streamPair(WINDOW_BYTES);
    const duplex = new StreamDuplex(one);
    duplex.resume();
    duplex.destroy();
    await settle();
    expect(other.failed).toBe(true);
  });
});

test('a piece of one zero byte is no single zero byte on the wire', () => {
  const encoded = encodeTunnelBytes(Uint8Array.of(0));
  expect(encoded.length).toBeGreaterThan(1);
  expect([...decodeTunnelBytes(encoded)]).toEqual([0]);
});
