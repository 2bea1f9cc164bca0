/** Which mounts of a container are volumes, and which ones. Pure. */
import type { OciMount } from '../runtime/oci.ts';
import type { VolumeRecord } from '../volumes/volume-store.ts';
import type { MountedVolume } from './record-store.ts';

/** @param known every volume of this node */
export function mountedVolumes(
  mounts: readonly OciMount[],
  known: readonly Pick<VolumeRecord, 'name' | 'mountpoint'>[],
): MountedVolume[] {
  return mounts.flatMap(({ source, destination, options }) => {
    const holder = known.find(({ mountpoint }) => `${source}/`.startsWith(`${mountpoint}/`));
    if (holder === undefined) return [];
    const { name } = holder;
    return [{ name, path: source, target: destination, readOnly: options.includes('ro') }];
  });
}
