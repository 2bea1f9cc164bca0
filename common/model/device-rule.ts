/** Rules for devices of a container, as `--device-cgroup-rule` has them. */
import { SkepError } from '../base/errors.ts';

export interface DeviceRule {
  readonly type: 'a' | 'c' | 'b';
  /** null = any */
  readonly major: number | null;
  readonly minor: number | null;
  /** letters of r, w, m */
  readonly access: string;
}

const PATTERN = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/;

/** `c 1:3 rwm`, `a *:* rwm`. Throws `invalid-argument`. */
export function parseDeviceRule(text: string): DeviceRule {
  const [, type, major, minor, access] = PATTERN.exec(text) ?? [];
  if (type === undefined || access === undefined) {
    throw new SkepError('invalid-argument', `invalid device cgroup rule format: '${text}'`);
  }
  return {
    type: type as DeviceRule['type'],
    major: major === '*' ? null : Number(major),
    minor: minor === '*' ? null : Number(minor),
    access,
  };
}
