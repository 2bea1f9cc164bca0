/**
 * The spec of a task, which all tasks of a service's version have in common: each is encoded once, and
 * tasks whose bytes are the same share one object.
 */
import { skep } from '../../proto/gen/skep.js';
import type { TaskSpec } from '../model/service.ts';
import { scratchEncoder } from './scratch.ts';
import { taskSpecFromProto, taskSpecToProto } from './service.ts';

/** Specs remembered by their bytes; then all are forgotten. Bounds what is held of services that are gone. */
const REMEMBERED_MAX = 1_024;

const encode = scratchEncoder();
/** of specs that cannot change any more */
const encodings = new WeakMap<TaskSpec, Uint8Array>();
const known = new Map<string, TaskSpec>();

/** Throws `invalid-argument` for numbers and text that have no encoding. */
export function encodeTaskSpec(spec: TaskSpec): Uint8Array {
  const remembered = encodings.get(spec);
  if (remembered) return remembered;
  const bytes = encode((writer) => skep.TaskSpec.encode(taskSpecToProto(spec), writer));
  if (Object.isFrozen(spec)) encodings.set(spec, bytes);
  return bytes;
}

/** Throws for damaged bytes. */
export function decodeTaskSpec(bytes: Uint8Array): TaskSpec {
  const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  const remembered = known.get(key);
  if (remembered) return remembered;
  const own = Buffer.from(bytes);
  const spec = taskSpecFromProto(skep.TaskSpec.decode(own));
  if (known.size >= REMEMBERED_MAX) known.clear();
  known.set(key, spec);
  encodings.set(spec, own);
  return spec;
}
