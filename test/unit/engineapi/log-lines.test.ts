import { PassThrough, Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { frame, streamType } from '../../../daemon/engineapi/frames.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { humanDuration } from '../../../daemon/engineapi/json/container.ts';
import {
  type LogLine,
  type LogSelection,
  logSelection,
  rfc3339Nano,
  writeLogLines,
} from '../../../daemon/engineapi/log-lines.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const LINE: LogLine = {
  timeNanos: 1_767_225_600_000_000_001n,
  stream: 'stderr',
  data: Buffer.from('hello\n'),
  attributes: { 'a b': 'c=d', e: 'f' },
};
const PLAIN: LogSelection = {
  follow: false,
  tail: 'all',
  sinceNanos: null,
  untilNanos: null,
  stdout: true,
  stderr: true,
  timestamps: false,
  details: false,
};

async function written(selection: Partial<LogSelection>, tty = true): Promise<Buffer> {
  const out = new PassThrough();
  const lines = (async function* () {
    yield LINE;
  })();
  await writeLogLines(
    out,
    lines,
    { ...PLAIN, ...selection },
    tty,
    new FakeClock(),
    new AbortController().signal,
  );
  return Buffer.concat(await out.toArray());
}

function selected(text: string): LogSelection {
  const query = new URLSearchParams(text);
  return logSelection({
    text: (name: string) => query.get(name),
    flag: (name: string) => query.get(name) === '1',
  } as unknown as RequestContext);
}

describe('log lines', () => {
  test.each<[Partial<LogSelection>, string]>([
    [{}, 'hello\n'],
    [{ timestamps: true }, '2026-01-01T00:00:00.000000001Z hello\n'],
    [{ details: true }, 'a%20b=c%3Dd,e=f hello\n'],
    [{ timestamps: true, details: true }, '2026-01-01T00:00:00.000000001Z a%20b=c%3Dd,e=f hello\n'],
  ])('with %j read %j', async (selection, text) => {
    expect(String(await written(selection))).toBe(text);
  });

  test('are framed unless the container has a terminal', async () => {
    expect(await written({}, false)).toEqual(frame('stderr', Buffer.from('hello\n')));
    expect([...frame('stderr', Buffer.from('hi'))]).toEqual([2, 0, 0, 0, 0, 0, 0, 2, 104, 105]);
    expect(frame('stdout', new Uint8Array(300)).readUInt32BE(4)).toBe(300);
  });

  test('leave together that come in one turn, and do not wait for the next', async () => {
    const out = new PassThrough();
    const clock = new FakeClock();
    let goOn: () => void = () => {};
    const pause = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const lines = (async function* () {
      yield LINE;
      yield LINE;
      await pause;
      yield LINE;
    })();
    const writing = writeLogLines(out, lines, PLAIN, true, clock, new AbortController().signal);
    await new Promise((resolve) => setImmediate(resolve));
    expect(out.read()).toBeNull();
    await clock.advance(0);
    expect(String(out.read())).toBe('hello\nhello\n');
    goOn();
    await writing;
    expect(String(out.read())).toBe('hello\n');
  });

  test('that came before their source failed are written', async () => {
    let taken = '';
    const slow = new Writable({
      write: (chunk, _, done) =>
        void setImmediate(() => {
          taken += String(chunk);
          done();
        }),
    });
    const failing = (async function* () {
      yield LINE;
      throw new Error('the log is damaged');
    })();
    const { signal } = new AbortController();
    const writing = writeLogLines(slow, failing, PLAIN, true, new FakeClock(), signal);
    await expect(writing).rejects.toThrow('the log is damaged');
    expect([taken, slow.writableEnded]).toEqual(['hello\n', false]);
  });

  test('end when the reader is gone while it was slow', async () => {
    const out = new PassThrough({ highWaterMark: 1 });
    let asked = 0;
    const endless = (async function* () {
      for (;;) {
        asked++;
        yield LINE;
      }
    })();
    const gone = new AbortController();
    const writing = writeLogLines(out, endless, PLAIN, true, new FakeClock(), gone.signal);
    setImmediate(() => gone.abort());
    await expect(writing).rejects.toThrow();
    expect(asked).toBeGreaterThan(0);
    expect((await endless.next()).done).toBe(true);
  });

  test('a time has nine digits after the point', () => {
    expect(rfc3339Nano(0n)).toBe('1970-01-01T00:00:00.000000000Z');
    expect(rfc3339Nano(1_999_999_999n)).toBe('1970-01-01T00:00:01.999999999Z');
  });

  test.each([
    [false, 50, 'application/vnd.docker.multiplexed-stream'],
    [false, 41, 'application/vnd.docker.raw-stream'],
    [true, 50, 'application/vnd.docker.raw-stream'],
  ])('tty %s at API 1.%i is %s', (tty, minor, type) => {
    expect(streamType(tty, minor)).toBe(type);
  });
});

describe('what is asked of logs', () => {
  test('names at least one stream', () => {
    expect(() => selected('tail=5')).toThrow('you must choose at least one stream');
  });

  test.each([
    ['tail=5', { tail: 5 }],
    ['tail=all', { tail: 'all' }],
    ['tail=-1', { tail: 'all' }],
    ['since=5', { sinceNanos: 5_000_000_000n }],
    ['since=5.25', { sinceNanos: 5_250_000_000n }],
    ['until=1.000000001', { untilNanos: 1_000_000_001n }],
    ['since=0', { sinceNanos: null }],
    ['since=', { sinceNanos: null }],
    ['timestamps=1&details=1&follow=1', { timestamps: true, details: true, follow: true }],
  ])('%s', (query, expected) => {
    expect(selected(`stdout=1&${query}`)).toMatchObject(expected);
  });

  test('a time that is none is refused', () => {
    expect(() => selected('stdout=1&since=yesterday')).toThrow("invalid time: 'yesterday'");
  });
});

test.each([
  [999, 'Less than a second'],
  [1_000, '1 second'],
  [59_000, '59 seconds'],
  [60_000, 'About a minute'],
  [120_000, '2 minutes'],
  [3_600_000, 'About an hour'],
  [47 * 3_600_000, '47 hours'],
  [48 * 3_600_000, '2 days'],
  [14 * 24 * 3_600_000, '2 weeks'],
  [60 * 24 * 3_600_000, '2 months'],
  [730 * 24 * 3_600_000, '2 years'],
])('%i ms are %s', (ms, words) => {
  expect(humanDuration(ms)).toBe(words);
});
