/** The `logs` calls: query parameters, and log records as the lines that Docker's clients print. */
import type { Writable } from 'node:stream';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { frameHead } from './frames.ts';
import type { RequestContext } from './http-context.ts';
import { drained } from './patient-writer.ts';

export interface LogSelection {
  readonly follow: boolean;
  readonly tail: number | 'all';
  readonly sinceNanos: bigint | null;
  readonly untilNanos: bigint | null;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly timestamps: boolean;
  readonly details: boolean;
}

export interface LogLine {
  readonly timeNanos: bigint;
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
  /** shown with `details`: label -> value; none when absent */
  readonly attributes?: Readonly<Record<string, string>>;
}

const NANOS_PER_SECOND = 1_000_000_000n;

export function logSelection(context: RequestContext): LogSelection {
  const stdout = context.flag('stdout');
  const stderr = context.flag('stderr');
  if (!stdout && !stderr) {
    throw new SkepError('invalid-argument', 'Bad parameters: you must choose at least one stream');
  }
  const tail = context.text('tail') ?? 'all';
  return {
    follow: context.flag('follow'),
    tail: /^\d+$/.test(tail) ? Number(tail) : 'all',
    sinceNanos: instant(context.text('since')),
    untilNanos: instant(context.text('until')),
    stdout,
    stderr,
    timestamps: context.flag('timestamps'),
    details: context.flag('details'),
  };
}

/** Unix seconds with optional nanoseconds after a point; empty and 0 mean "not given". */
function instant(text: string | null): bigint | null {
  if (text === null || text === '' || text === '0') return null;
  const match = /^(\d+)(?:\.(\d{1,9}))?$/.exec(text);
  if (!match) throw new SkepError('invalid-argument', `invalid time: '${text}'`);
  const nanos = BigInt((match[2] ?? '').padEnd(9, '0'));
  return BigInt(match[1] ?? '0') * NANOS_PER_SECOND + nanos;
}

/** What is written at once: the output of a turn of the event loop, and no more than some frames above this. */
const BATCH_BYTES = 64 * 1024;

/** Writes lines as frames (or bare, for a terminal), waiting for a slow reader until it is gone. */
export async function writeLogLines(
  out: Writable,
  lines: AsyncIterable<LogLine>,
  selection: LogSelection,
  tty: boolean,
  clock: Pick<Clock, 'setTimer'>,
  signal: AbortSignal,
): Promise<void> {
  let batch: Uint8Array[] = [];
  let bytes = 0;
  const flush = (done?: () => void): void => {
    later?.cancel();
    later = null;
    if (bytes === 0 || out.destroyed) return;
    out.write(Buffer.concat(batch, bytes), done);
    batch = [];
    bytes = 0;
  };
  const add = (piece: Uint8Array): void => {
    batch.push(piece);
    bytes += piece.length;
  };
  let later: Timer | null = null;
  const isBare = !selection.timestamps && !selection.details;
  try {
    for await (const line of lines) {
      const before = isBare ? NOTHING : prefix(line, selection);
      if (!tty) add(frameHead(line.stream, before.length + line.data.length));
      if (before.length > 0) add(before);
      add(line.data);
      if (bytes >= BATCH_BYTES) flush();
      else later ??= clock.setTimer(0, () => flush());
      if (out.writableNeedDrain) await drained(out, signal);
    }
    flush();
  } catch (err) {
    // The connection ends with the failure: what came before it leaves first.
    if (bytes > 0 && !out.destroyed && !signal.aborted) await left(flush, signal);
    throw err;
  } finally {
    later?.cancel();
  }
  out.end();
}

/** Resolves when what `flush` writes has left this process, or nobody is there to take it. */
function left(flush: (done: () => void) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
    flush(resolve);
  });
}

const NOTHING = new Uint8Array(0);

function prefix(line: LogLine, selection: LogSelection): Buffer {
  let text = '';
  if (selection.timestamps) text += `${rfc3339Nano(line.timeNanos)} `;
  if (selection.details) {
    const pairs = Object.entries(line.attributes ?? {}).map(
      ([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`,
    );
    text += `${pairs.join(',')} `;
  }
  return Buffer.from(text);
}

/** `2026-11-22T15:04:05.000000001Z` */
export function rfc3339Nano(nanos: bigint): string {
  const ms = Number(nanos / 1_000_000n);
  const fraction = String(nanos % NANOS_PER_SECOND).padStart(9, '0');
  return `${new Date(ms).toISOString().slice(0, 19)}.${fraction}Z`;
}
