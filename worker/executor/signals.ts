/** Signal names as images and services write them. */
import { constants } from 'node:os';
import { SkepError } from '../../common/base/errors.ts';

const SIGNALS: Readonly<Record<string, number>> = constants.signals;
const SIGNAL_MAX = 64;

export const SIGKILL = 9;
export const SIGTERM = 15;

/** `SIGTERM`, `TERM`, `15` -> 15. Throws `invalid-argument`. */
export function signalNumber(text: string): number {
  if (/^\d+$/.test(text)) {
    const value = Number(text);
    if (value >= 1 && value <= SIGNAL_MAX) return value;
  }
  const upper = text.toUpperCase();
  const realtime = /^(?:SIG)?RTMIN(?:\+(\d+))?$/.exec(upper);
  if (realtime) return 34 + Number(realtime[1] ?? 0);
  const value = SIGNALS[upper] ?? SIGNALS[`SIG${upper}`];
  if (value === undefined) throw new SkepError('invalid-argument', `invalid signal: ${text}`);
  return value;
}
