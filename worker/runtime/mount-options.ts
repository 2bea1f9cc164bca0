/** fstab-like mount options -> flags of mount(2), attributes of mount_setattr(2), data. No I/O. */
import { SkepError } from '../../common/base/errors.ts';
import type { OciMount } from './oci.ts';

const MS = {
  rdonly: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  synchronous: 16,
  dirsync: 128,
  noatime: 1024,
  nodiratime: 2048,
  bind: 4096,
  rec: 16384,
  slave: 1 << 19,
  shared: 1 << 20,
  relatime: 1 << 21,
  strictatime: 1 << 24,
} as const;

/** Options that a file system takes at mount and a bind mount by its attributes. */
const SHARED: Readonly<Record<string, { readonly flag: number; readonly attribute: number }>> = {
  ro: { flag: MS.rdonly, attribute: 1 },
  nosuid: { flag: MS.nosuid, attribute: 2 },
  nodev: { flag: MS.nodev, attribute: 4 },
  noexec: { flag: MS.noexec, attribute: 8 },
};

const FILESYSTEM_ONLY: Readonly<Record<string, number>> = {
  sync: MS.synchronous,
  dirsync: MS.dirsync,
  noatime: MS.noatime,
  nodiratime: MS.nodiratime,
  relatime: MS.relatime,
  strictatime: MS.strictatime,
};

/** Already so without being said. */
const NEUTRAL = new Set(['rw', 'suid', 'dev', 'exec', 'async', 'private', 'rprivate', 'defaults']);
/** What the host mounts below the source is seen in the container; shared: the other way round too. */
const PROPAGATION: Readonly<Record<string, number>> = {
  slave: MS.slave,
  rslave: MS.slave | MS.rec,
  shared: MS.shared,
  rshared: MS.shared | MS.rec,
};
const REFUSED_PROPAGATION = new Set(['unbindable', 'runbindable']);

export interface ParsedMount {
  readonly bind: boolean;
  /** MS_* of mount(2) */
  readonly flags: number;
  /** MOUNT_ATTR_* to set afterwards (bind mounts) */
  readonly attributes: number;
  /** the attributes hold for mounts below the bound directory too */
  readonly recursiveAttributes: boolean;
  /** owners of files are ids of the container's user namespace */
  readonly idMapped: boolean;
  /** MS_SLAVE or MS_SHARED, with MS_REC; 0 = private */
  readonly propagation: number;
  /** comma-separated, for the file system */
  readonly data: string;
}

/** Throws `invalid-argument` on options that would be ignored. */
export function parseMountOptions(mount: OciMount): ParsedMount {
  const bind =
    mount.type === 'bind' || mount.options.includes('bind') || mount.options.includes('rbind');
  const refuse = (option: string, why: string): never => {
    throw new SkepError(
      'invalid-argument',
      `mount ${mount.destination}: option "${option}": ${why}`,
    );
  };
  let flags = bind ? MS.bind : 0;
  let attributes = 0;
  let recursiveAttributes = false;
  let propagation = 0;
  let idMapped = false;
  const data: string[] = [];
  for (const option of mount.options) {
    const shared = SHARED[option];
    if (REFUSED_PROPAGATION.has(option)) refuse(option, 'a bind cannot be unbindable');
    else if (PROPAGATION[option] !== undefined && bind) propagation = PROPAGATION[option];
    else if (PROPAGATION[option] !== undefined) refuse(option, 'only binds propagate');
    else if (option === 'idmap' && bind) idMapped = true;
    else if (option === 'rbind') flags |= MS.rec;
    else if (option === 'bind' || NEUTRAL.has(option)) continue;
    else if (shared !== undefined && bind) attributes |= shared.attribute;
    else if (shared !== undefined) flags |= shared.flag;
    else if (option === 'rro' && bind) {
      attributes |= 1;
      recursiveAttributes = true;
    } else if (bind) refuse(option, 'not an option of a bind mount');
    else if (FILESYSTEM_ONLY[option] !== undefined) flags |= FILESYSTEM_ONLY[option];
    else data.push(option);
  }
  return {
    bind,
    flags,
    attributes,
    recursiveAttributes,
    idMapped,
    propagation,
    data: data.join(','),
  };
}
