import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OBJECT_KINDS } from '../../../common/model/object-kinds.ts';
import { taskWith } from '../../../common/model/task.ts';
import { decodeObject, encodeObject } from '../../../common/wire/object.ts';
import { skep } from '../../../proto/gen/skep.js';
import { objectArbitraries } from '../../support/arbitraries.ts';
import { aNode, aService, aServiceSpec, aTask } from '../../support/builders.ts';

function expectDeeplyFrozen(value: unknown, path: string): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
  expect(Object.isFrozen(value), `${path} is frozen`).toBe(true);
  for (const [key, inner] of Object.entries(value)) expectDeeplyFrozen(inner, `${path}.${key}`);
}

describe('stored objects on the wire', () => {
  test.each(OBJECT_KINDS)('a %s survives encoding, and comes back deeply frozen', (kind) => {
    fc.assert(
      fc.property(objectArbitraries[kind], (object) => {
        const decoded = decodeObject(kind, encodeObject(kind, object));
        expect(decoded).toStrictEqual(object);
        expectDeeplyFrozen(decoded, kind);
      }),
      { numRuns: 150 },
    );
  });

  test('an object may hold the name __proto__ as a label', () => {
    const labels = JSON.parse('{"__proto__": "x", "constructor": "y"}');
    const service = aService({ spec: aServiceSpec({ labels }) });
    const decoded = decodeObject('service', encodeObject('service', service));
    expect(Object.entries(decoded.spec.labels)).toEqual(Object.entries(labels));
  });

  test('an empty certificate is not an absent one', () => {
    const encoded = encodeObject('node', aNode({ certificate: new Uint8Array(0) }));
    expect(decodeObject('node', encoded).certificate).toEqual(new Uint8Array(0));
  });

  test.each([
    ['a fraction', { version: 1.5, createdAtMs: 0, updatedAtMs: 0 }],
    ['a number beyond 2^53-1', { version: 0, createdAtMs: 2 ** 53, updatedAtMs: 0 }],
    ['NaN', { version: 0, createdAtMs: 0, updatedAtMs: Number.NaN }],
  ])('refuses to encode %s as an integer', (_, meta) => {
    expect(() => encodeObject('task', aTask({ meta }))).toThrow(
      expect.objectContaining({ code: 'invalid-argument' }),
    );
  });

  test.each([-1, 2 ** 32, 0.5])('refuses to encode slot %d', (slot) => {
    expect(() => encodeObject('task', aTask({ slot }))).toThrow(
      expect.objectContaining({ code: 'invalid-argument' }),
    );
  });

  // Such a string would be written as bytes that every reader refuses: an entry of the log that no
  // manager could ever apply.
  test.each(['x\ud800', `${'x'.repeat(100)}\udc00`])(
    'refuses to encode text with half a character',
    (name) => {
      const service = aService({ spec: aServiceSpec({ name }) });
      expect(() => encodeObject('service', service)).toThrow(
        expect.objectContaining({ code: 'invalid-argument' }),
      );
      const labelled = aService({ spec: aServiceSpec({ labels: { [name]: '' } }) });
      expect(() => encodeObject('service', labelled)).toThrow(
        expect.objectContaining({ code: 'invalid-argument' }),
      );
    },
  );

  test('decodes nothing but whole objects', () => {
    const encoded = encodeObject('task', aTask());
    const dataLoss = expect.objectContaining({ code: 'data-loss' });
    expect(() => decodeObject('task', encoded.subarray(0, encoded.length - 1))).toThrow(dataLoss);
    expect(() => decodeObject('task', new Uint8Array(0))).toThrow(dataLoss);
    expect(() => decodeObject('service', encoded)).toThrow(dataLoss);
  });

  test('refuses an enum value that it does not know', () => {
    const message = skep.Task.decode(encodeObject('task', aTask()));
    message.desiredState = 99 as skep.TaskState;
    expect(() => decodeObject('task', skep.Task.encode(message).finish())).toThrow(
      expect.objectContaining({ code: 'data-loss' }),
    );
    message.desiredState = skep.TaskState.TASK_STATE_ASSIGNED;
    expect(() => decodeObject('task', skep.Task.encode(message).finish())).toThrow('decode task');
  });

  test('a field of a later version means nothing here, and leaves with the object that it came with', () => {
    const task = aTask();
    const later = Buffer.concat([encodeObject('task', task), Buffer.from([0xf8, 0x7f, 0x01])]);
    const decoded = decodeObject('task', later);
    expect(decoded).toStrictEqual(task);
    expect(Buffer.from(encodeObject('task', decoded)).equals(later)).toBe(true);
  });

  test('so does one within a part of the object', () => {
    const message = skep.Task.decode(encodeObject('task', aTask()));
    const status = skep.TaskStatus.encode(message.status!).finish();
    const statusField = Buffer.concat([
      Buffer.from([(9 << 3) | 2, status.length + 3]),
      status,
      Buffer.from([0xf8, 0x7f, 0x01]),
    ]);
    message.status = null;
    const later = Buffer.concat([skep.Task.encode(message).finish(), statusField]);
    const decoded = decodeObject('task', later);
    expect(Buffer.from(encodeObject('task', decoded)).equals(later)).toBe(true);
    const written = taskWith(decoded, { desiredState: 'shutdown' });
    expect(decodeObject('task', encodeObject('task', written))).toStrictEqual(written);
  });
});
