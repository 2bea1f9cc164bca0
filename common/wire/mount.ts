/** Mounts of a container. */
import { skep } from '../../proto/gen/skep.js';
import type { Mount } from '../model/service.ts';
import {
  enumTable,
  int64,
  intFromProto,
  nullable,
  text,
  textList,
  textListFromProto,
  textMap,
  textMapFromProto,
  uint32,
} from './scalars.ts';

const mountTypeTable = enumTable<Mount['type'], skep.MountType>('mount type', {
  bind: skep.MountType.MOUNT_TYPE_BIND,
  volume: skep.MountType.MOUNT_TYPE_VOLUME,
  tmpfs: skep.MountType.MOUNT_TYPE_TMPFS,
  cluster: skep.MountType.MOUNT_TYPE_CLUSTER,
});

export function mountToProto(mount: Mount): skep.Mount.$Properties {
  return {
    type: mountTypeTable.toProto(mount.type),
    source: text(mount.source),
    target: text(mount.target),
    readOnly: mount.readOnly,
    bind: nullable(mount.bind, (bind) => ({
      propagation: text(bind.propagation),
      nonRecursive: bind.nonRecursive,
      createMountpoint: bind.createMountpoint,
      readOnlyNonRecursive: bind.readOnlyNonRecursive,
      readOnlyForceRecursive: bind.readOnlyForceRecursive,
    })),
    volume: nullable(mount.volume, (volume) => ({
      noCopy: volume.noCopy,
      labels: textMap(volume.labels),
      driver: text(volume.driver),
      driverOptions: textMap(volume.driverOptions),
      subpath: text(volume.subpath),
    })),
    tmpfs: nullable(mount.tmpfs, (tmpfs) => ({
      sizeBytes: int64(tmpfs.sizeBytes, 'tmpfs.sizeBytes'),
      mode: uint32(tmpfs.mode, 'tmpfs.mode'),
      options: textList(tmpfs.options),
    })),
  };
}

export function mountFromProto(m: skep.Mount.$Properties): Mount {
  return Object.freeze({
    type: mountTypeTable.fromProto(m.type),
    source: m.source ?? '',
    target: m.target ?? '',
    readOnly: m.readOnly ?? false,
    bind: nullable(m.bind, (bind) =>
      Object.freeze({
        propagation: bind.propagation ?? '',
        nonRecursive: bind.nonRecursive ?? false,
        createMountpoint: bind.createMountpoint ?? false,
        readOnlyNonRecursive: bind.readOnlyNonRecursive ?? false,
        readOnlyForceRecursive: bind.readOnlyForceRecursive ?? false,
      }),
    ),
    volume: nullable(m.volume, (volume) =>
      Object.freeze({
        noCopy: volume.noCopy ?? false,
        labels: textMapFromProto(volume.labels),
        driver: volume.driver ?? '',
        driverOptions: textMapFromProto(volume.driverOptions),
        subpath: volume.subpath ?? '',
      }),
    ),
    tmpfs: nullable(m.tmpfs, (tmpfs) =>
      Object.freeze({
        sizeBytes: intFromProto(tmpfs.sizeBytes, 'tmpfs.sizeBytes'),
        mode: tmpfs.mode ?? 0,
        options: textListFromProto(tmpfs.options),
      }),
    ),
  });
}
