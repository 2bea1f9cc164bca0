/** Meta and annotations, the parts that every stored object has. */
import { skep } from '../../proto/gen/skep.js';
import type { ObjectKind } from '../model/object-kinds.ts';
import type { Annotations, Meta } from '../model/objects.ts';
import { enumTable, int64, intFromProto, text, textMap, textMapFromProto } from './scalars.ts';

export const objectKindTable = enumTable<ObjectKind, skep.ObjectKind>('object kind', {
  cluster: skep.ObjectKind.OBJECT_KIND_CLUSTER,
  node: skep.ObjectKind.OBJECT_KIND_NODE,
  service: skep.ObjectKind.OBJECT_KIND_SERVICE,
  task: skep.ObjectKind.OBJECT_KIND_TASK,
  network: skep.ObjectKind.OBJECT_KIND_NETWORK,
  secret: skep.ObjectKind.OBJECT_KIND_SECRET,
  config: skep.ObjectKind.OBJECT_KIND_CONFIG,
});

export function metaToProto(meta: Meta): skep.Meta.$Properties {
  return {
    version: int64(meta.version, 'meta.version'),
    createdAtMs: int64(meta.createdAtMs, 'meta.createdAtMs'),
    updatedAtMs: int64(meta.updatedAtMs, 'meta.updatedAtMs'),
  };
}

export function metaFromProto(m: skep.Meta.$Properties): Meta {
  return Object.freeze({
    version: intFromProto(m.version, 'meta.version'),
    createdAtMs: intFromProto(m.createdAtMs, 'meta.createdAtMs'),
    updatedAtMs: intFromProto(m.updatedAtMs, 'meta.updatedAtMs'),
  });
}

export function annotationsToProto(annotations: Annotations): skep.Annotations.$Properties {
  return { name: text(annotations.name), labels: textMap(annotations.labels) };
}

export function annotationsFromProto(m: skep.Annotations.$Properties): Annotations {
  return Object.freeze({ name: m.name ?? '', labels: textMapFromProto(m.labels) });
}
