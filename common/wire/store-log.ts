/** The store's log entries and snapshot records <-> bytes. Knows what they look like, not what they do. */
import { skep } from '../../proto/gen/skep.js';
import { assertNever } from '../base/assert.ts';
import { SkepError } from '../base/errors.ts';
import type { ObjectKind } from '../model/object-kinds.ts';
import { objectKindTable } from './objects.ts';
import { WireReader } from './reader.ts';
import { bytesFromProto, enumTable, intFromProto, listFromProto } from './scalars.ts';
import { encodeWith } from './scratch.ts';

export type StoreActionKind = 'create' | 'update' | 'remove';

/** One write of a transaction. */
export interface StoreAction {
  readonly action: StoreActionKind;
  readonly kind: ObjectKind;
  readonly id: string;
  /** version that the object must have at apply; 0 for `create` */
  readonly expectedVersion: number;
  /** encoded object; empty for `remove` */
  readonly bytes: Uint8Array;
}

/** `exists`: the object is there. `unused`: no service refers to it. */
export type StoreGuardRule = 'exists' | 'unused' | 'to-manage';

/** What must hold at apply of an object that a transaction relies on and does not write. */
export interface StoreGuard {
  readonly rule: StoreGuardRule;
  readonly kind: ObjectKind;
  readonly id: string;
}

/** The payload of a log entry: all actions or none. */
export interface StoreTransaction {
  /** by which its proposer knows it again */
  readonly transactionId: string;
  readonly actions: readonly StoreAction[];
  readonly guards: readonly StoreGuard[];
}

const guardTable = enumTable<StoreGuardRule, skep.StoreGuardRule>('store guard', {
  exists: skep.StoreGuardRule.STORE_GUARD_RULE_EXISTS,
  unused: skep.StoreGuardRule.STORE_GUARD_RULE_UNUSED,
  'to-manage': skep.StoreGuardRule.STORE_GUARD_RULE_TO_MANAGE,
});

const actionTable = enumTable<StoreActionKind, skep.StoreActionKind>('store action', {
  create: skep.StoreActionKind.STORE_ACTION_KIND_CREATE,
  update: skep.StoreActionKind.STORE_ACTION_KIND_UPDATE,
  remove: skep.StoreActionKind.STORE_ACTION_KIND_REMOVE,
});

export function encodeStoreTransaction(transaction: StoreTransaction): Uint8Array {
  const message = {
    transactionId: transaction.transactionId,
    actions: transaction.actions.map((action) => ({
      action: actionTable.toProto(action.action),
      kind: objectKindTable.toProto(action.kind),
      expectedVersion: action.expectedVersion,
      id: action.id,
      object: action.bytes,
    })),
    guards: transaction.guards.map(({ rule, kind, id }) => ({
      rule: guardTable.toProto(rule),
      kind: objectKindTable.toProto(kind),
      id,
    })),
  };
  return encodeWith((writer) => skep.StoreTransaction.encode(message, writer));
}

function actionFromProto(m: skep.StoreAction.$Properties): StoreAction {
  return {
    action: actionTable.fromProto(m.action),
    kind: objectKindTable.fromProto(m.kind),
    id: m.id ?? '',
    expectedVersion: intFromProto(m.expectedVersion, 'expectedVersion'),
    bytes: bytesFromProto(m.object),
  };
}

function guardFromProto(m: skep.StoreGuard.$Properties): StoreGuard {
  return {
    rule: guardTable.fromProto(m.rule),
    kind: objectKindTable.fromProto(m.kind),
    id: m.id ?? '',
  };
}

/** Tag of StoreTransaction's field 1, of wire type 2. */
const TRANSACTION_ID_TAG = (1 << 3) | 2;

/**
 * The id of the transaction that `payload` encodes, by which its proposer knows it again without decoding
 * all of it; null when it does not begin with one.
 */
export function transactionIdOf(payload: Uint8Array): string | null {
  const [tag, length] = [payload[0], payload[1]];
  if (tag !== TRANSACTION_ID_TAG || length === undefined || length >= 128) return null;
  if (payload.length < 2 + length) return null;
  return Buffer.from(payload.buffer, payload.byteOffset + 2, length).toString('utf8');
}

/** Bytes of the objects are views of `payload`. Throws `data-loss` for damaged input. */
export function decodeStoreTransaction(payload: Uint8Array): StoreTransaction {
  try {
    const m = skep.StoreTransaction.decode(new WireReader(payload));
    return {
      transactionId: m.transactionId,
      actions: listFromProto(m.actions, actionFromProto),
      guards: listFromProto(m.guards, guardFromProto),
    };
  } catch (err) {
    throw new SkepError('data-loss', 'decode store transaction', { cause: err });
  }
}

/** What a snapshot's byte stream is made of: one header, the objects, one footer. */
export type SnapshotRecord =
  | { readonly type: 'header'; readonly format: number }
  | { readonly type: 'object'; readonly kind: ObjectKind; readonly bytes: Uint8Array }
  | { readonly type: 'footer'; readonly objectCount: number };

function recordToProto(record: SnapshotRecord): skep.StoreSnapshotRecord.$Properties {
  switch (record.type) {
    case 'header':
      return { header: { format: record.format } };
    case 'object':
      return { object: { kind: objectKindTable.toProto(record.kind), object: record.bytes } };
    case 'footer':
      return { footer: { objectCount: record.objectCount } };
    default:
      return assertNever(record, 'snapshot record');
  }
}

export function encodeSnapshotRecord(record: SnapshotRecord): Uint8Array {
  const message = recordToProto(record);
  return encodeWith((writer) => skep.StoreSnapshotRecord.encode(message, writer));
}

const OBJECT_TAG = 18; // StoreSnapshotRecord.object: field 2, length-delimited
const KIND_TAG = 8; // StoreSnapshotObject.kind: field 1, varint
const BYTES_TAG = 18; // StoreSnapshotObject.object: field 2, length-delimited

/**
 * The record of an object but for the object's own bytes (one at least), which are its end. A snapshot is written from
 * bytes that are there already: this saves a copy of each.
 */
export function encodeSnapshotObjectHead(kind: ObjectKind, objectBytes: number): Uint8Array {
  const kindNumber = objectKindTable.toProto(kind);
  const innerBytes = 1 + varintBytes(kindNumber) + 1 + varintBytes(objectBytes) + objectBytes;
  return encodeWith((writer) =>
    writer
      .uint32(OBJECT_TAG)
      .uint32(innerBytes)
      .uint32(KIND_TAG)
      .int32(kindNumber)
      .uint32(BYTES_TAG)
      .uint32(objectBytes),
  );
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** Bytes of an object are a view of `bytes`. Throws `data-loss` for damaged input. */
export function decodeSnapshotRecord(bytes: Uint8Array): SnapshotRecord {
  try {
    const m = skep.StoreSnapshotRecord.decode(bytes);
    if (m.object) {
      return {
        type: 'object',
        kind: objectKindTable.fromProto(m.object.kind),
        bytes: bytesFromProto(m.object.object),
      };
    }
    if (m.header) return { type: 'header', format: m.header.format ?? 0 };
    if (m.footer) {
      return { type: 'footer', objectCount: intFromProto(m.footer.objectCount, 'objectCount') };
    }
  } catch (err) {
    throw new SkepError('data-loss', 'decode snapshot record', { cause: err });
  }
  throw new SkepError('data-loss', 'decode snapshot record: it is empty or unknown');
}
