/** Durations, sizes and CPU counts as people write them. Shared by flags and stack files. */
import { SkepError } from '../../common/base/errors.ts';

const UNIT_NANOS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

const BINARY_POWERS = 'bkmgtp';
const SIZE = /^(\d+(?:\.\d+)?)\s*(?:([bkmgtp])(?:i?b)?)?$/i;
const NANOS_PER_CPU = 1e9;

function invalid(what: string, text: string, rule: string): never {
  throw new SkepError('invalid-argument', `invalid ${what} "${text}": ${rule}`);
}

/** Go's syntax: `1m30s`, `500ms`, `1.5h`; nanoseconds. `0` needs no unit. Throws `invalid-argument`. */
export function parseDurationNanos(text: string): number {
  if (text === '0') return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gy)];
  const length = parts.reduce((sum, part) => sum + part[0].length, 0);
  if (parts.length === 0 || length !== text.length) {
    invalid('duration', text, 'expected a number with a unit, such as 10s, 500ms or 1m30s');
  }
  const nanos = parts.reduce((sum, part) => sum + Number(part[1]) * UNIT_NANOS[part[2]!]!, 0);
  return Math.round(nanos);
}

/** Powers of 1024 with `b k m g t p`, also `kb`, `KiB`; bytes. Throws `invalid-argument`. */
export function parseSizeBytes(text: string): number {
  const match = SIZE.exec(text.trim());
  if (!match) invalid('size', text, 'expected a number with b, k, m or g, such as 512m');
  const power = match[2] === undefined ? 0 : BINARY_POWERS.indexOf(match[2].toLowerCase());
  return Math.floor(Number(match[1]) * 1024 ** power);
}

/** `0.5`, `2`: billionths of a CPU. At most nine digits after the point. Throws `invalid-argument`. */
export function parseNanoCpus(text: string): number {
  if (!/^\d*\.?\d+$|^\d+\.$/.test(text)) invalid('number of CPUs', text, 'expected e.g. 0.5');
  const fraction = text.split('.')[1] ?? '';
  if (fraction.length > 9) invalid('number of CPUs', text, 'more precise than 0.000000001');
  return Math.round(Number(text) * NANOS_PER_CPU);
}
