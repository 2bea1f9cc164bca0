/** Times and sizes in the words of Docker's go-units. */

const SECOND_MS = 1000;
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_H = 24;
const WEEK_H = 7 * DAY_H;
const MONTH_H = 30 * DAY_H;
const YEAR_H = 365 * DAY_H;

/** `5 seconds`, `About a minute`, `3 hours`, ... */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / SECOND_MS);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < MINUTE_S) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / MINUTE_S);
  if (minutes === 1) return 'About a minute';
  if (minutes < MINUTE_S) return `${minutes} minutes`;
  const hours = Math.round(seconds / HOUR_S);
  if (hours === 1) return 'About an hour';
  if (hours < 2 * DAY_H) return `${hours} hours`;
  if (hours < 2 * WEEK_H) return `${Math.floor(hours / DAY_H)} days`;
  if (hours < 2 * MONTH_H) return `${Math.floor(hours / WEEK_H)} weeks`;
  if (hours < 2 * YEAR_H) return `${Math.floor(hours / MONTH_H)} months`;
  return `${Math.floor(hours / YEAR_H)} years`;
}

/** `3 minutes ago`, from RFC 3339 or unix seconds. */
export function ago(time: string | number, nowMs: number): string {
  const at = typeof time === 'number' ? time * SECOND_MS : Date.parse(time);
  return Number.isNaN(at) ? '' : `${humanDuration(nowMs - at)} ago`;
}

/** Go's `Time.String` in UTC: `2026-11-29 10:30:00.5 +0000 UTC`, from RFC 3339 in UTC or unix seconds. */
export function goTime(time: string | number): string {
  const text = typeof time === 'number' ? rfc3339(time) : time;
  const [, date, hours, fraction = ''] = /^(\S+)T([\d:]+)(\.\d+)?Z$/.exec(text) ?? [];
  return date === undefined ? text : `${date} ${hours}${fraction.replace(/\.?0+$/, '')} +0000 UTC`;
}

/** In UTC, of whole seconds since 1970. */
export function rfc3339(seconds: number): string {
  return new Date(seconds * SECOND_MS).toISOString().replace('.000Z', 'Z');
}

const DECIMAL_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;
const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** `1.23MB`: powers of 1000, as image sizes are shown. */
export function humanSize(bytes: number): string {
  return scaled(bytes, 1000, DECIMAL_UNITS, 3);
}

/** `1.234MB`: as sums of sizes are shown. */
export function preciseSize(bytes: number): string {
  return scaled(bytes, 1000, DECIMAL_UNITS, 4);
}

/** `512MiB`: powers of 1024, as memory is shown. */
export function humanBinarySize(bytes: number): string {
  return scaled(bytes, 1024, BINARY_UNITS, 4);
}

function scaled(bytes: number, base: number, units: readonly string[], digits: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${Number(value.toPrecision(digits))}${units[unit]}`;
}

const NANOS: readonly (readonly [string, number])[] = [
  ['h', 3600e9],
  ['m', 60e9],
];

/** Go's `Duration.String`: `1m30s`, `500ms`, `2h0m0s`. */
export function goDuration(nanos: number): string {
  if (nanos === 0) return '0s';
  if (nanos < 0) return `-${goDuration(-nanos)}`;
  if (nanos < 1e3) return `${nanos}ns`;
  if (nanos < 1e6) return `${nanos / 1e3}µs`;
  if (nanos < 1e9) return `${nanos / 1e6}ms`;
  let rest = nanos;
  let text = '';
  for (const [unit, size] of NANOS) {
    const whole = Math.floor(rest / size);
    if (whole > 0 || text !== '') text += `${whole}${unit}`;
    rest -= whole * size;
  }
  return `${text}${rest / 1e9}s`;
}
