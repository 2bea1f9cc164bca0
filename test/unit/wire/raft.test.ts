import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { raftExchange, raftSendSnapshot } from '../../../common/rpc/raft-methods.ts';
import type { RaftBatch, RaftWireMessage, SnapshotChunk } from '../../../common/wire/raft.ts';
import { skep } from '../../../proto/gen/skep.js';

const raftId = fc.integer({ min: 1, max: 2 ** 48 - 1 });
const count = fc.maxSafeNat();
const bytes = fc.uint8Array({ maxLength: 40 });
const entry = fc.record({
  index: count,
  term: count,
  type: fc.constantFrom('normal' as const, 'conf-change' as const, 'conf-change-v2' as const),
  data: bytes,
});
const snapshot = fc.record({
  data: bytes,
  metadata: fc.record({
    index: count,
    term: count,
    confState: fc.record({
      voters: fc.array(raftId, { maxLength: 5 }),
      learners: fc.array(raftId, { maxLength: 3 }),
      votersOutgoing: fc.array(raftId, { maxLength: 3 }),
      learnersNext: fc.array(raftId, { maxLength: 3 }),
      autoLeave: fc.boolean(),
    }),
  }),
});
const raftMessage: fc.Arbitrary<RaftWireMessage> = fc.record({
  type: fc.constantFrom(
    'append' as const,
    'append-response' as const,
    'vote' as const,
    'vote-response' as const,
    'pre-vote' as const,
    'pre-vote-response' as const,
    'snapshot' as const,
    'heartbeat' as const,
    'heartbeat-response' as const,
    'transfer-leader' as const,
    'timeout-now' as const,
    'read-index' as const,
    'read-index-response' as const,
  ),
  to: raftId,
  from: raftId,
  term: count,
  logTerm: count,
  index: count,
  entries: fc.array(entry, { maxLength: 4 }),
  commit: count,
  vote: fc.constant(0),
  snapshot: fc.option(snapshot),
  reject: fc.boolean(),
  rejectHint: count,
  context: bytes,
  responses: fc.constant([]),
});
const peer = fc.record({ raftId, address: fc.string({ unit: 'grapheme' }) });

/** Plain arrays in place of typed ones of different kinds. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, v) => (ArrayBuffer.isView(v) ? [...(v as Uint8Array)] : v)),
  );
}

describe('raft traffic on the wire', () => {
  test('every batch survives', () => {
    const batch: fc.Arbitrary<RaftBatch> = fc.record({
      from: peer,
      messages: fc.array(raftMessage, { maxLength: 4 }),
    });
    fc.assert(
      fc.property(batch, (sent) => {
        const { encode, decode } = raftExchange.request;
        expect(plain(decode(Buffer.from(encode(sent))))).toEqual(plain(sent));
      }),
    );
  });

  test('every piece of a snapshot survives', () => {
    const chunk: fc.Arbitrary<SnapshotChunk> = fc.oneof(
      fc.record({ kind: fc.constant('data' as const), offset: count, data: bytes }),
      fc.record({
        kind: fc.constant('offer' as const),
        from: peer,
        message: raftMessage,
        fileId: fc.string({ unit: 'grapheme' }),
        membership: bytes,
        dataBytes: count,
      }),
    );
    fc.assert(
      fc.property(chunk, (sent) => {
        const { encode, decode } = raftSendSnapshot.request;
        expect(plain(decode(Buffer.from(encode(sent))))).toEqual(plain(sent));
      }),
    );
  });

  test('a heartbeat is small', () => {
    const from = { raftId: 2 ** 47, address: '10.0.0.1:2377' };
    const base = { to: 2 ** 46, from: 2 ** 47, term: 7, logTerm: 0, index: 0, entries: [] };
    const rest = { vote: 0, snapshot: null, reject: false, rejectHint: 0, responses: [] };
    const heartbeat = { type: 'heartbeat' as const, ...base, ...rest, commit: 1000 };
    const sent = { from, messages: [{ ...heartbeat, context: new Uint8Array() }] };
    expect(raftExchange.request.encode(sent).length).toBeLessThan(60);
  });

  test.each([
    ['no type', { to: 1, from: 1 }],
    ['an unknown type', { type: 99, to: 1, from: 1 }],
    ['no receiver', { type: 8, from: 1 }],
    ['an id that is too large', { type: 8, to: 2 ** 48, from: 1 }],
  ])('refuses a message with %s', (_name, properties) => {
    const batch = {
      from: 1,
      fromAddress: 'a',
      messages: [properties as skep.RaftMessage.$Properties],
    };
    const encoded = skep.RaftBatch.encode(batch).finish();
    expect(() => raftExchange.request.decode(encoded)).toThrow('decode');
  });

  test('local message types are never sent', () => {
    const local = { type: 'storage-append' } as unknown as RaftWireMessage;
    const from = { raftId: 1, address: 'a' };
    expect(() => raftExchange.request.encode({ from, messages: [local] })).toThrow();
  });
});
