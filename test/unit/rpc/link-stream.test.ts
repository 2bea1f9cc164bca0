import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { FrameKind } from '../../../common/rpc/frames.ts';
import { STREAM_HIGH_WATER_BYTES } from '../../../common/rpc/limits.ts';
import { LinkStream } from '../../../common/rpc/link-stream.ts';
import { settle } from '../../support/fake-clock.ts';

const text = {
  encode: (message: string) => Buffer.from(message),
  decode: (bytes: Uint8Array) => {
    const message = Buffer.from(bytes).toString();
    if (message === 'undecodable') throw new Error('no such message');
    return message;
  },
};

class FakeLink {
  readonly written: string[] = [];
  waitingBytes = 0;
  paused = false;
  cancelled = false;
  end: () => void = () => {};
  break: (err: unknown) => void = () => {};
  readonly ended = new Promise<void>((resolve, reject) => {
    this.end = resolve;
    this.break = reject;
  });
  #drain: () => void = () => {};

  write(kind: 'open' | 'message' | 'last', body: Uint8Array): boolean {
    this.written.push(`${kind} ${Buffer.from(body).toString()}`);
    return true;
  }

  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#drain = resolve;
    });
  }

  drain(): void {
    this.waitingBytes = 0;
    this.#drain();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  cancel(): void {
    this.cancelled = true;
  }
}

function scene() {
  const link = new FakeLink();
  const stream = new LinkStream<string, string>({
    ...{ action: 'talk', link, incoming: text, outgoing: text },
    failureOf: (err) => err,
  });
  const hear = (kind: FrameKind, words = ''): void =>
    stream.receive({ kind, body: Buffer.from(words) });
  return { link, stream, hear };
}

describe('a stream on a link', () => {
  test('gives messages in their order, then null when the other end has no more', async () => {
    const { link, stream, hear } = scene();
    const first = stream.next();
    hear('message', 'one');
    hear('message', 'two');
    hear('last');
    expect([await first, await stream.next(), await stream.next()]).toEqual(['one', 'two', null]);
    stream.write('answer');
    stream.end();
    expect(link.written).toEqual(['message answer', 'last ']);
    expect(() => stream.write('late')).toThrow('talk: the stream was ended');
  });

  test('gives what had arrived before the link broke, then the reason', async () => {
    const { link, stream, hear } = scene();
    hear('message', 'one');
    link.break(new SkepError('unavailable', 'it broke'));
    await settle();
    expect(await stream.next()).toBe('one');
    await expect(stream.next()).rejects.toThrow('it broke');
    expect(() => stream.write('late')).toThrow('it broke');
    stream.end();
    expect(link.written).toEqual([]);
  });

  test('ends with the link', async () => {
    const { link, stream } = scene();
    const reading = stream.next();
    link.end();
    expect(await reading).toBe(null);
  });

  test('pauses the link while the reader has much before it', async () => {
    const { link, stream, hear } = scene();
    const half = 'x'.repeat(STREAM_HIGH_WATER_BYTES / 2);
    hear('message', half);
    expect(link.paused).toBe(false);
    hear('message', half);
    expect(link.paused).toBe(true);
    await stream.next();
    expect(link.paused).toBe(false);
  });

  test('asks the writer to wait until the link has taken what waits', async () => {
    const { link, stream } = scene();
    expect(stream.write('little')).toBe(true);
    link.waitingBytes = STREAM_HIGH_WATER_BYTES;
    expect(stream.write('much')).toBe(false);
    let drained = false;
    const waiting = stream.drained().then(() => {
      drained = true;
    });
    await settle();
    expect(drained).toBe(false);
    link.drain();
    await waiting;
    const wait = new AbortController();
    link.waitingBytes = STREAM_HIGH_WATER_BYTES;
    const aborted = stream.drained(wait.signal);
    wait.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
  });

  test('fails on a message that is none, and refuses frames that have no place', async () => {
    const { stream, hear } = scene();
    hear('message', 'undecodable');
    await expect(stream.next()).rejects.toThrow('talk: decode a message');
    expect(() => stream.write('more')).toThrow('talk: decode a message');
    expect(() => hear('open')).toThrow('talk: a frame open');
    hear('last');
    expect(() => hear('message', 'late')).toThrow('talk: a frame message');
  });

  test('that is cancelled tells its readers why and cuts the link', async () => {
    const { link, stream } = scene();
    const reading = stream.next();
    stream.cancel(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    expect(link.cancelled).toBe(true);
  });
});
