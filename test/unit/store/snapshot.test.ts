import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OBJECT_KINDS, type ObjectKind } from '../../../common/model/object-kinds.ts';
import { encodeSnapshotRecord, type SnapshotRecord } from '../../../common/wire/store-log.ts';
import { SNAPSHOT_CHUNK_BYTES } from '../../../manager/store/snapshot.ts';
import type { MemoryStore } from '../../../manager/store/store.ts';
import { objectArbitraries } from '../../support/arbitraries.ts';
import { aConfig, aConfigSpec, aService, aTask, idOf } from '../../support/builders.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { makeStore } from '../../support/store.ts';

const DATA_LOSS = expect.objectContaining({ code: 'data-loss' });

async function* stream(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

function bytesOf(store: MemoryStore): Buffer {
  return Buffer.concat([...store.snapshot()]);
}

function pieces(bytes: Uint8Array, length: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += length) out.push(bytes.subarray(at, at + length));
  return out;
}

function contentsOf(store: MemoryStore) {
  return store.view((view) => OBJECT_KINDS.map((kind) => view.list(kind)));
}

function framed(...records: SnapshotRecord[]): Buffer {
  return Buffer.concat(
    records.flatMap((record) => {
      const bytes = encodeSnapshotRecord(record);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}

describe('snapshot', () => {
  test('restores every kind of object, however its bytes are cut', async () => {
    const kinds = fc.constantFrom<ObjectKind>(...OBJECT_KINDS);
    const objects = fc.array(
      kinds.chain((kind) => objectArbitraries[kind].map((object) => ({ kind, object }))),
      { maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(objects, fc.integer({ min: 1, max: 500 }), async (items, pieceBytes) => {
        const { store } = makeStore();
        for (const { kind, object } of items) {
          await store.update((tx) => tx.create(kind, object as never)).catch(() => {}); // same name
        }
        const copy = makeStore().store;
        await copy.restore(stream(pieces(bytesOf(store), pieceBytes)), store.revision);
        expect(contentsOf(copy)).toEqual(contentsOf(store));
        expect(copy.revision).toBe(store.revision);
        expect(bytesOf(copy).equals(bytesOf(store))).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  test('shows the state at the time of the call', async () => {
    const { store, create } = makeStore();
    const [task] = await create('task', aTask({ slot: 1 }), aTask({ id: idOf('gone') }));
    const snapshot = store.snapshot();
    const before = contentsOf(store);
    await store.update((tx) => {
      tx.update('task', { ...task!, slot: 2 });
      tx.remove('task', idOf('gone'));
      tx.create('service', aService());
    });
    const copy = makeStore().store;
    await copy.restore(stream(snapshot), 9);
    expect(contentsOf(copy)).toEqual(before);
  });

  test('comes in chunks of at most 128 KiB, even around larger contents', async () => {
    const { store, create } = makeStore();
    for (let i = 0; i < 4; i++) {
      const data = new Uint8Array(900 * 1024).fill(i);
      await create('config', aConfig({ spec: aConfigSpec({ data }) }));
    }
    const chunks = [...store.snapshot()];
    expect(chunks.map((chunk) => chunk.length <= SNAPSHOT_CHUNK_BYTES)).not.toContain(false);
    expect(chunks).toHaveLength(113); // 3,600 KiB and a little
    const copy = makeStore().store;
    await copy.restore(stream(chunks), store.revision);
    expect(bytesOf(copy).equals(bytesOf(store))).toBe(true);
  });

  test('of an empty store is not empty', async () => {
    const { store, create } = makeStore();
    const empty = bytesOf(makeStore().store);
    await create('task', aTask());
    await store.restore(stream([empty]), 30);
    expect(store.view((view) => view.count('task'))).toBe(0);
    expect(store.revision).toBe(30);
  });

  test('a restored store has working indexes and goes on from its revision', async () => {
    const { store, create } = makeStore();
    const [task] = await create('task', aTask());
    const copy = makeStore();
    await copy.store.restore(stream(store.snapshot()), 40);
    expect(copy.store.view((view) => view.tasksByService(task!.serviceId))).toEqual([task]);
    const [next] = await copy.create('task', aTask());
    expect(next!.meta.version).toBe(40);
    expect(copy.store.revision).toBe(41);
  });

  const header: SnapshotRecord = { type: 'header', format: 1 };
  const object: SnapshotRecord = { type: 'object', kind: 'task', bytes: new Uint8Array([9, 9]) };
  const footer: SnapshotRecord = { type: 'footer', objectCount: 0 };
  test.each([
    ['nothing', Buffer.alloc(0)],
    ['no header', framed(footer)],
    ['an unknown format', framed({ type: 'header', format: 2 }, footer)],
    ['two headers', framed(header, header, footer)],
    ['no footer', framed(header)],
    ['a wrong count', framed(header, { type: 'footer', objectCount: 1 })],
    ['more after the footer', framed(header, footer, footer)],
    ['half a record at the end', Buffer.concat([framed(header, footer), Buffer.from([1, 0])])],
    ['a damaged object', framed(header, object, { type: 'footer', objectCount: 1 })],
    ['an absurd length', Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0])],
  ])('with %s is refused and changes nothing', async (_, bytes) => {
    const { store, create } = makeStore();
    await create('task', aTask());
    const before = contentsOf(store);
    await expect(store.restore(stream([bytes]), 50)).rejects.toEqual(DATA_LOSS);
    expect(contentsOf(store)).toEqual(before);
    expect(store.revision).toBe(2);
  });

  test('any snapshot that is cut short is refused', async () => {
    const { store, create } = makeStore();
    await create('task', aTask(), aTask());
    const whole = bytesOf(store);
    for (let length = 0; length < whole.length; length += 97) {
      const restoring = makeStore().store.restore(stream([whole.subarray(0, length)]), 9);
      await expect(restoring).rejects.toEqual(DATA_LOSS);
    }
  });

  test('is restored in slices: other work gets its turn', async () => {
    const { store, create } = makeStore();
    await create('task', aTask(), aTask(), aTask());
    class SlowClock extends FakeClock {
      looks = 0;
      override monotonicMs(): number {
        return this.looks++ * 3;
      }
    }
    const copy = makeStore({ clock: new SlowClock() }).store;
    let restored = false;
    const restoring = copy.restore(stream(store.snapshot()), 5).then(() => {
      restored = true;
    });
    let turns = 0;
    for (; !restored; turns++) await settle();
    await restoring;
    expect(turns).toBeGreaterThan(2);
    expect(contentsOf(copy)).toEqual(contentsOf(store));
  });
});
