/** What the options of a volume have mounted at its place. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { SkepError } from '../../common/base/errors.ts';
import type { VolumeMount } from '../../common/model/volume-options.ts';
import { mountAt, mountsBelow, unmountTree } from '../../native/ffi/mount.ts';

export interface VolumeMounts {
  /** Idempotent. Rejects with `failed-precondition` and what the kernel says. */
  mount(path: string, what: VolumeMount): Promise<void>;
  /** Idempotent: all that is there. */
  unmount(path: string): Promise<void>;
}

const [MS_REMOUNT, MS_BIND, MS_REC] = [32, 4096, 16_384]; // linux/mount.h

export const KERNEL_MOUNTS: VolumeMounts = {
  async mount(path, what) {
    if (mountsBelow(path).includes(path)) return;
    const { device, type, flags } = what;
    try {
      await mountAt({ source: device, target: path, type, flags, data: await dataOf(what) });
      if ((flags & MS_BIND) !== 0 && (flags & ~(MS_BIND | MS_REC)) !== 0) {
        // A bind has the flags of what is bound, whatever else is asked for with it.
        const remount = (flags & ~MS_REC) | MS_REMOUNT;
        await mountAt({ source: '', target: path, type: '', flags: remount, data: '' });
      }
    } catch (cause) {
      await unmountTree(path);
      const words = `failed to mount local volume: ${device} at ${path}`;
      throw new SkepError('failed-precondition', words, { cause });
    }
  },
  unmount: unmountTree,
};

/** The kernel takes addresses only. */
async function dataOf({ data, host }: VolumeMount): Promise<string> {
  if (host === null || isIP(host) !== 0) return data;
  const { address } = await lookup(host);
  return data
    .split(',')
    .map((word) => (word === `addr=${host}` ? `addr=${address}` : word))
    .join(',');
}
