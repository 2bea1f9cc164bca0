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

const DIGITS = [...'0123456789abcdefghijklmnopqrstuvwxyz'].map((digit) => digit.charCodeAt(0));
/** The largest multiple of 36 that a byte can be below: bytes from there on would favour some digits. */
const BYTE_LIMIT = 252;
/** Enough for ID_CHARS digits nearly always: one byte in 64 is of no use. */
const BYTES_AT_ONCE = 32;

/** A fresh id: 25 random digits of base 36, 129 bits; Swarm's ids look the same. */
export function newId<T extends AnyId>(random: Random): T {
  const codes: number[] = [];
  while (codes.length < ID_CHARS) {
    for (const byte of random.bytes(BYTES_AT_ONCE)) {
      if (byte < BYTE_LIMIT && codes.length < ID_CHARS) codes.push(DIGITS[byte % DIGITS.length]!);
    }
  }
  return String.fromCharCode(...codes) as T;
}

/** Brands text that is an id by its origin (wire, store, file). Its form is not checked. */
export function asId<T extends AnyId>(text: string): T {
  return text as T;
}
