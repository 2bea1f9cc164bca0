/** Any stored object <-> bytes, by kind. What the store and its snapshots use. */
import type { Writer } from 'protobufjs/minimal.js';
import { skep } from '../../proto/gen/skep.js';
import { SkepError } from '../base/errors.ts';
import type { ObjectKind, ObjectsByKind } from '../model/object-kinds.ts';
import { clusterFromProto, clusterToProto } from './cluster.ts';
import { networkFromProto, networkToProto } from './network.ts';
import { nodeFromProto, nodeToProto } from './node.ts';
import { encodeWith } from './scratch.ts';
import { configFromProto, configToProto, secretFromProto, secretToProto } from './secret.ts';
import { serviceFromProto, serviceToProto } from './service.ts';
import { taskFromProto, taskToProto } from './task.ts';

type Codec<T> = {
  readonly encode: (object: T, writer: Writer) => Writer;
  readonly decode: (bytes: Uint8Array) => T;
};

const CODECS: { readonly [K in ObjectKind]: Codec<ObjectsByKind[K]> } = {
  cluster: {
    encode: (object, writer) => skep.Cluster.encode(clusterToProto(object), writer),
    decode: (bytes) => clusterFromProto(skep.Cluster.decode(bytes)),
  },
  node: {
    encode: (object, writer) => skep.Node.encode(nodeToProto(object), writer),
    decode: (bytes) => nodeFromProto(skep.Node.decode(bytes)),
  },
  service: {
    encode: (object, writer) => skep.Service.encode(serviceToProto(object), writer),
    decode: (bytes) => serviceFromProto(skep.Service.decode(bytes)),
  },
  task: {
    encode: (object, writer) => skep.Task.encode(taskToProto(object), writer),
    decode: (bytes) => taskFromProto(skep.Task.decode(bytes)),
  },
  network: {
    encode: (object, writer) => skep.Network.encode(networkToProto(object), writer),
    decode: (bytes) => networkFromProto(skep.Network.decode(bytes)),
  },
  secret: {
    encode: (object, writer) => skep.Secret.encode(secretToProto(object), writer),
    decode: (bytes) => secretFromProto(skep.Secret.decode(bytes)),
  },
  config: {
    encode: (object, writer) => skep.Config.encode(configToProto(object), writer),
    decode: (bytes) => configFromProto(skep.Config.decode(bytes)),
  },
};

/**
 * The encoding of a stored object. Throws `invalid-argument` for numbers and text that have none
 * (unsafe integers, lone surrogates).
 */
export function encodeObject<K extends ObjectKind>(kind: K, object: ObjectsByKind[K]): Uint8Array {
  return encodeWith((writer) => CODECS[kind].encode(object, writer));
}

/**
 * The object that `bytes` encode, deeply frozen but for byte arrays, which are views of `bytes`.
 * Throws `data-loss` for damaged input.
 */
export function decodeObject<K extends ObjectKind>(kind: K, bytes: Uint8Array): ObjectsByKind[K] {
  try {
    return CODECS[kind].decode(bytes);
  } catch (err) {
    throw new SkepError('data-loss', `decode ${kind}`, { cause: err });
  }
}
