/** Devices and throttles in their short forms, for stack files and flags alike. */
import { SkepError } from '../../common/base/errors.ts';
import type { IsolationJson } from '../../common/model/engine-json/container-spec.ts';
import type { DeviceRateJson } from '../../common/model/engine-json/task.ts';
import { parseSizeBytes } from './values.ts';

export type DeviceJson = NonNullable<IsolationJson['Devices']>[number];

const PERMISSIONS = /^[rwm]{1,3}$/;

/** `/dev/a`, `/dev/a:/dev/b`, `/dev/a:rw`, `/dev/a:/dev/b:rw`. Throws `invalid-argument`. */
export function parseDevice(text: string): DeviceJson {
  const [host = '', second, third, ...more] = text.split(':');
  const bad = (): never => {
    throw new SkepError('invalid-argument', `invalid device specification: ${text}`);
  };
  if (host === '' || more.length > 0) bad();
  if (third !== undefined && !PERMISSIONS.test(third)) bad();
  const secondIsMode = third === undefined && second !== undefined && PERMISSIONS.test(second);
  return {
    PathOnHost: host,
    PathInContainer: second === undefined || secondIsMode ? host : second,
    CgroupPermissions: third ?? (secondIsMode ? second : 'rwm'),
  };
}

/** `/dev/sda:1mb` (bytes) or `/dev/sda:100` (operations). Throws `invalid-argument`. */
export function parseDeviceRate(kind: 'bytes' | 'operations', text: string): DeviceRateJson {
  const [, path = '', rate = ''] = /^(\/[^:]+):(.+)$/.exec(text) ?? [];
  if (path === '') throw new SkepError('invalid-argument', `bad format: ${text}`);
  return { Path: path, Rate: kind === 'bytes' ? parseSizeBytes(rate) : operations(rate) };
}

function operations(text: string): number {
  if (!/^\d+$/.test(text)) throw new SkepError('invalid-argument', `invalid rate: ${text}`);
  return Number(text);
}
