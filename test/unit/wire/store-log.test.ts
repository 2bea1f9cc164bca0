import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OBJECT_KINDS } from '../../../common/model/object-kinds.ts';
import {
  decodeSnapshotRecord,
  decodeStoreTransaction,
  encodeSnapshotObjectHead,
  encodeSnapshotRecord,
  encodeStoreTransaction,
  type SnapshotRecord,
  type StoreActionKind,
  type StoreGuardRule,
} from '../../../common/wire/store-log.ts';

const action = fc.record({
  action: fc.constantFrom<StoreActionKind>('create', 'update', 'remove'),
  kind: fc.constantFrom(...OBJECT_KINDS),
  id: fc.string(),
  expectedVersion: fc.maxSafeNat(),
  bytes: fc.uint8Array(),
});

const guard = fc.record({
  rule: fc.constantFrom<StoreGuardRule>('exists', 'unused', 'to-manage'),
  kind: fc.constantFrom(...OBJECT_KINDS),
  id: fc.string(),
});

describe('log entries of the store', () => {
  test('a transaction survives encoding', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.array(action),
        fc.array(guard),
        (transactionId, actions, guards) => {
          const transaction = { transactionId, actions, guards };
          expect(decodeStoreTransaction(encodeStoreTransaction(transaction))).toEqual(transaction);
        },
      ),
    );
  });

  test.each([1, 127, 128, 16_383, 16_384, 3_000_000])(
    'the head of an object of %i bytes is its record up to them',
    (length) => {
      const bytes = new Uint8Array(length).fill(7);
      for (const kind of OBJECT_KINDS) {
        const record = Buffer.from(encodeSnapshotRecord({ type: 'object', kind, bytes }));
        const head = encodeSnapshotObjectHead(kind, length);
        expect(Buffer.concat([head, bytes]).equals(record)).toBe(true);
      }
    },
  );

  test.each<SnapshotRecord>([
    { type: 'header', format: 1 },
    { type: 'object', kind: 'node', bytes: new Uint8Array([1, 2, 3]) },
    { type: 'footer', objectCount: 2 ** 33 },
    { type: 'footer', objectCount: 0 },
  ])('a $type record of a snapshot survives encoding', (record) => {
    expect(decodeSnapshotRecord(encodeSnapshotRecord(record))).toEqual(record);
  });

  test('damaged bytes are refused', () => {
    const dataLoss = expect.objectContaining({ code: 'data-loss' });
    expect(() => decodeStoreTransaction(new Uint8Array([0x12, 0x05]))).toThrow(dataLoss);
    expect(() => decodeSnapshotRecord(new Uint8Array(0))).toThrow(dataLoss);
  });
});
