/** Any stored object <-> bytes, by kind. What the store and its snapshots use. */
import type { Reader, Writer } from 'protobufjs/minimal.js';
import { skep } from '../../proto/gen/skep.js';
import { SkepError } from '../base/errors.ts';
import type { ObjectKind, ObjectsByKind } from '../model/object-kinds.ts';
import { clusterFromProto, clusterToProto } from './cluster.ts';
import { networkFromProto, networkToProto } from './network.ts';
import { nodeFromProto, nodeToProto } from './node.ts';
import { WireReader } from './reader.ts';
import { encodeWith } from './scratch.ts';
import { configFromProto, configToProto, secretFromProto, secretToProto } from './secret.ts';
import { serviceFromProto, serviceToProto } from './service.ts';
import { taskFromProto } from './task.ts';
import { encodeTask } from './task-encoding.ts';

type Codec<T> = {
  readonly encode: (object: T, writer: Writer) => Writer;
  readonly decode: (reader: Reader) => T;
};

const CODECS: { readonly [K in ObjectKind]: Codec<ObjectsByKind[K]> } = {
  cluster: {
    encode: (object, writer) => skep.Cluster.encode(clusterToProto(object), writer),
    decode: (reader) => clusterFromProto(skep.Cluster.decode(reader)),
  },
  node: {
    encode: (object, writer) => skep.Node.encode(nodeToProto(object), writer),
    decode: (reader) => nodeFromProto(skep.Node.decode(reader)),
  },
  service: {
    encode: (object, writer) => skep.Service.encode(serviceToProto(object), writer),
    decode: (reader) => serviceFromProto(skep.Service.decode(reader)),
  },
  task: {
    encode: encodeTask,
    decode: (reader) => taskFromProto(skep.Task.decode(reader)),
  },
  network: {
    encode: (object, writer) => skep.Network.encode(networkToProto(object), writer),
    decode: (reader) => networkFromProto(skep.Network.decode(reader)),
  },
  secret: {
    encode: (object, writer) => skep.Secret.encode(secretToProto(object), writer),
    decode: (reader) => secretFromProto(skep.Secret.decode(reader)),
  },
  config: {
    encode: (object, writer) => skep.Config.encode(configToProto(object), writer),
    decode: (reader) => configFromProto(skep.Config.decode(reader)),
  },
};

/**
 * Of objects that came with fields which this version does not know, so that they leave as they came: while the managers of
 * a cluster are replaced by newer ones, an older one's snapshot must not lose what the newer wrote.
 */
const foreign = new WeakMap<object, Uint8Array>();

/**
 * The encoding of a stored object. Throws `invalid-argument` for numbers and text that have none
 * (unsafe integers, lone surrogates).
 */
export function encodeObject<K extends ObjectKind>(kind: K, object: ObjectsByKind[K]): Uint8Array {
  return foreign.get(object) ?? encodeWith((writer) => CODECS[kind].encode(object, writer));
}

/**
 * The object that `bytes` encode, deeply frozen but for byte arrays, which are views of `bytes`.
 * Throws `data-loss` for damaged input.
 */
export function decodeObject<K extends ObjectKind>(kind: K, bytes: Uint8Array): ObjectsByKind[K] {
  try {
    const reader = new WireReader(bytes);
    const object = CODECS[kind].decode(reader);
    if (reader.metUnknown) foreign.set(object, Buffer.from(bytes));
    return object;
  } catch (err) {
    throw new SkepError('data-loss', `decode ${kind}`, { cause: err });
  }
}
