/**
 * Owners of files in a container's root: as this daemon meets them, and as the container has them. They differ
 * with a user namespace of its own, while it runs.
 */
import { withFsIds } from '../../native/ffi/fs.ts';
import type { OciIdMapping } from '../runtime/oci.ts';

/** What has no place in a map, as the kernel shows it. */
const OVERFLOW_ID = 65_534;

export type OwnerPair = readonly [uid: number, gid: number];

export interface Owners {
  /** as the container has them */
  inside(uid: number, gid: number): OwnerPair;
  /** as they are to be given to the kernel here */
  outside(uid: number, gid: number): OwnerPair;
  /** Runs what makes a file; synchronous. The file belongs to the container's root. */
  make<T>(work: () => T): T;
}

export const SAME_OWNERS: Owners = {
  inside: (uid, gid) => [uid, gid],
  outside: (uid, gid) => [uid, gid],
  make: (work) => work(),
};

export function mappedOwners(uids: readonly OciIdMapping[], gids: readonly OciIdMapping[]): Owners {
  const outside = (uid: number, gid: number): OwnerPair => [
    outsideOf(uids, uid),
    outsideOf(gids, gid),
  ];
  return {
    inside: (uid, gid) => [insideOf(uids, uid), insideOf(gids, gid)],
    outside,
    // The kernel has no place for a file of the host's root in file systems whose owners are mapped.
    make: (work) => withFsIds(...outside(0, 0), work),
  };
}

function insideOf(map: readonly OciIdMapping[], id: number): number {
  const range = map.find(({ hostID, size }) => id >= hostID && id < hostID + size);
  return range ? range.containerID + (id - range.hostID) : OVERFLOW_ID;
}

function outsideOf(map: readonly OciIdMapping[], id: number): number {
  const range = map.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return range ? range.hostID + (id - range.containerID) : outsideOf(map.slice(0, 1), 0);
}
