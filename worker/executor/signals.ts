/** Signal names as images and services write them. */
import { constants } from 'node:os';
import { SkepError } from '../../common/base/errors.ts';

const SIGNALS: Readonly<Record<string, number>> = constants.signals;
/** Real-time signals as the C library numbers them: the first two are its own. */
const SIGRTMIN = 34;
const SIGRTMAX = 64;

export const SIGKILL = 9;
export const SIGTERM = 15;

/** `SIGTERM`, `term`, `15` -> 15; `RTMIN+1` -> 35; `RTMAX-1` -> 63. Throws `invalid-argument`. */
export function signalNumber(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const value = SIGNALS[`SIG${name}`] ?? realtimeNumber(name) ?? plainNumber(text);
  if (value === null) throw new SkepError('invalid-argument', `invalid signal: ${text}`);
  return value;
}

function realtimeNumber(name: string): number | null {
  const [, end, offset = '0'] = /^RT(MIN(?=\+|$)|MAX(?=-|$))(?:[+-](\d+))?$/.exec(name) ?? [];
  if (end === undefined) return null;
  const value = end === 'MIN' ? SIGRTMIN + Number(offset) : SIGRTMAX - Number(offset);
  return value >= SIGRTMIN && value <= SIGRTMAX ? value : null;
}

function plainNumber(text: string): number | null {
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  return value >= 1 && value <= SIGRTMAX ? value : null;
}
