/** Identities of stored objects: minted and parsed here, nowhere else. */
import type { Random } from '../base/random.ts';

export type ClusterId = string & { readonly __id: 'ClusterId' };
export type NodeId = string & { readonly __id: 'NodeId' };
export type ServiceId = string & { readonly __id: 'ServiceId' };
export type TaskId = string & { readonly __id: 'TaskId' };
export type NetworkId = string & { readonly __id: 'NetworkId' };
export type SecretId = string & { readonly __id: 'SecretId' };
export type ConfigId = string & { readonly __id: 'ConfigId' };
export type VolumeId = string & { readonly __id: 'VolumeId' };
export type SessionId = string & { readonly __id: 'SessionId' };
export type AnyId =
  | ClusterId
  | NodeId
  | ServiceId
  | TaskId
  | NetworkId
  | SecretId
  | ConfigId
  | VolumeId
  | SessionId;

const ID_CHARS = 25;

/**
 * A fresh id: 25 characters, base 36, from 17 random bytes with the top bit set and the first
 * character dropped, so that its length never varies; Swarm's ids look the same.
 */
export function newId<T extends AnyId>(random: Random): T {
  const bytes = random.bytes(17);
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  value |= 1n << 135n;
  const text = value.toString(36);
  return text.slice(text.length - ID_CHARS) as T;
}

/** Brands text that is an id by its origin (wire, store, file). Its form is not checked. */
export function asId<T extends AnyId>(text: string): T {
  return text as T;
}
