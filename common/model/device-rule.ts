/** Rules for devices of a container, as `--device-cgroup-rule` has them. */
import { SkepError } from '../base/errors.ts';

export interface DeviceRule {
  readonly type: 'a' | 'c' | 'b';
  /** null = any */
  readonly major: number | null;
  readonly minor: number | null;
  /** letters of r, w, m, each once at most */
  readonly access: string;
}

/** Letters of r, w, m: one at least, none twice. */
const ACCESS = /^(?!.*(.).*\1)[rwm]+$/;
const PATTERN = /^([acb]) (\d+|\*):(\d+|\*) (\w+)$/;
/** The kernel's dev_t has 12 bits for the one and 20 for the other. */
const MAJOR_MAX = 2 ** 12 - 1;
const MINOR_MAX = 2 ** 20 - 1;

export function isDeviceAccess(text: string): boolean {
  return ACCESS.test(text);
}

/** `c 1:3 rwm`, `a *:* rwm`. Throws `invalid-argument`. */
export function parseDeviceRule(text: string): DeviceRule {
  const fail = (why: string): SkepError =>
    new SkepError('invalid-argument', `invalid device cgroup rule format: '${text}'${why}`);
  const numberOf = (kind: string, digits: string, max: number): number | null => {
    if (digits === '*') return null;
    if (Number(digits) > max) throw fail(`: the ${kind} number must be at most ${max}`);
    return Number(digits);
  };
  const [, type, major, minor, access] = PATTERN.exec(text) ?? [];
  if (major === undefined || minor === undefined || access === undefined) throw fail('');
  if (!isDeviceAccess(access)) throw fail(`: ${access} is not made of r, w and m, each once`);
  return {
    type: type as DeviceRule['type'],
    major: numberOf('major', major, MAJOR_MAX),
    minor: numberOf('minor', minor, MINOR_MAX),
    access,
  };
}
