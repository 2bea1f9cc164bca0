/** The `logs` calls: query parameters, and log records as the lines that Docker's clients print. */
import type { Writable } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';
import { frame } from './frames.ts';
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
  /** shown with `details`: label -> value */
  readonly attributes: Readonly<Record<string, string>>;
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

/** Writes lines as frames (or bare, for a terminal), waiting for a slow reader until it is gone. */
export async function writeLogLines(
  out: Writable,
  lines: AsyncIterable<LogLine>,
  selection: LogSelection,
  tty: boolean,
  signal: AbortSignal,
): Promise<void> {
  for await (const line of lines) {
    const bytes = Buffer.concat([prefix(line, selection), line.data]);
    if (!out.write(tty ? bytes : frame(line.stream, bytes))) await drained(out, signal);
  }
  out.end();
}

function prefix(line: LogLine, selection: LogSelection): Buffer {
  let text = '';
  if (selection.timestamps) text += `${rfc3339Nano(line.timeNanos)} `;
  if (selection.details) {
    const pairs = Object.entries(line.attributes).map(
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
