import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import {
  EMPTY_CONF_STATE,
  type Message,
  message,
  type Snapshot,
} from '../../../manager/raft/types.ts';
import { AppendLoop } from '../../../manager/raftnode/append-loop.ts';
import { DurableState } from '../../../manager/raftnode/durable-state.ts';
import { LogImage } from '../../../manager/raftnode/log-image.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { SimDisk } from '../../support/sim-disk.ts';

function open(disk: SimDisk, expectation: 'new' | 'existing'): Promise<DurableState> {
  const options = {
    disk: disk.mount(),
    dir: '/raft',
    raftId: 1,
    dek: new Uint8Array(32),
    random: new SeededRandom(1),
    log: silentLogger,
    segmentBytes: 64 * 1024,
    smallSegmentBytes: 64 * 1024,
  };
  return DurableState.open(options, expectation);
}

/** An append loop over a disk whose syncs wait until they are let through. */
async function setUp() {
  const events: string[] = [];
  let release: (() => void) | null = null;
  const gate = { closed: false };
  const disk = new SimDisk({
    latency: async (operation) => {
      if (operation !== 'fdatasync' || !gate.closed) return;
      events.push('sync begins');
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      events.push('sync ends');
    },
  });
  const durable = await open(disk, 'new');
  await durable.wal.append([]);
  await settle();
  const image = new LogImage(durable.recovered);
  const loop = new AppendLoop({
    durable,
    image,
    hardState: durable.recovered.hardState,
    clock: new FakeClock(),
    policy: { keepEntries: 10, keepOld: 0 },
    hooks: {
      installed: async (snapshot: Snapshot) => {
        events.push(`installed ${snapshot.metadata.index}`);
      },
      written: ({ responses }) => {
        events.push(`answered ${responses.map(({ type }) => type).join()}`);
      },
      publish: async ({ index }) => {
        events.push(`published ${index}`);
      },
      full: (isFull) => events.push(`full ${isFull}`),
      failed: (err) => events.push(`failed ${err}`),
    },
  });
  gate.closed = true;
  const letSyncEnd = async (): Promise<void> => {
    release?.();
    await settle();
  };
  return { disk, durable, loop, image, events, letSyncEnd, gate };
}

function write(fields: Partial<Message>, answer: Message['type'] = 'append-response'): Message {
  return message({ type: 'storage-append', responses: [message({ type: answer })], ...fields });
}

function entries(from: number, count: number) {
  return Array.from({ length: count }, (_, i) => ({
    ...{ index: from + i, term: 1, type: 'normal' as const },
    data: Buffer.from('x'),
  }));
}

describe('append loop', () => {
  test('answers an append only after its sync', async () => {
    const { loop, image, events, letSyncEnd } = await setUp();
    loop.push(write({ term: 1, entries: entries(1, 2) }));
    await settle();
    expect(events).toEqual(['sync begins']);
    expect(image.lastIndex()).toBe(0);
    await letSyncEnd();
    expect(events).toEqual(['sync begins', 'sync ends', 'answered append-response']);
    expect(image.lastIndex()).toBe(2);
  });

  test('gives a vote only after its sync', async () => {
    const { loop, events, letSyncEnd } = await setUp();
    loop.push(write({ term: 3, vote: 2 }, 'vote-response'));
    await settle();
    expect(events).toEqual(['sync begins']);
    await letSyncEnd();
    expect(events).toContain('answered vote-response');
  });

  test('does not sync for a commit index alone, until it is asked to', async () => {
    const { loop, events, letSyncEnd } = await setUp();
    loop.push(write({ term: 1, entries: entries(1, 2) }));
    await settle();
    await letSyncEnd();
    events.length = 0;
    loop.push(write({ term: 1, commit: 2 }));
    await settle();
    expect(events).toEqual(['answered append-response']);
    expect(loop.durableCommit).toBe(0);
    loop.flushCommit();
    await settle();
    await letSyncEnd();
    expect(events.slice(1)).toEqual(['sync begins', 'sync ends']);
    expect(loop.durableCommit).toBe(2);
    loop.flushCommit();
    await settle();
    expect(events.length).toBe(3);
  });

  test('puts everything that gathered during a sync into the next one, in order', async () => {
    const { disk, loop, events, letSyncEnd } = await setUp();
    loop.push(write({ term: 1, entries: entries(1, 1) }));
    await settle();
    disk.counts.clear();
    loop.push(write({ term: 1, entries: entries(2, 1) }, 'append-response'));
    loop.push(write({ term: 1, commit: 1 }, 'heartbeat-response'));
    loop.push(write({ term: 2, vote: 1, entries: entries(3, 1) }, 'vote-response'));
    await letSyncEnd();
    await letSyncEnd();
    expect(disk.counts.get('fdatasync')).toBe(1);
    expect(events.filter((event) => event.startsWith('answered'))).toEqual([
      'answered append-response',
      'answered append-response',
      'answered heartbeat-response',
      'answered vote-response',
    ]);
  });

  test('writes nothing after a batch that it gave up on a full disk: the log would have a gap', async () => {
    const { disk, durable, loop, events, gate } = await setUp();
    gate.closed = false;
    const full = [...Array(60)].map((_, i) => ({
      ...entries(1 + i, 1)[0]!,
      data: Buffer.alloc(2048),
    }));
    disk.capacityBytes = 0;
    loop.push(write({ term: 1, entries: full }));
    await settle();
    expect(events).toEqual(['full true']);
    loop.push(write({ term: 1, entries: entries(61, 1) }));
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    await loop.stop();
    await durable.close();
    const again = await open(disk, 'existing');
    expect(again.recovered.entries).toEqual([]);
    await again.close();
  });

  test('publishes a received snapshot before the log names it, and has it restored after', async () => {
    const { loop, events, letSyncEnd, gate } = await setUp();
    const metadata = { index: 50, term: 1, confState: { ...EMPTY_CONF_STATE, voters: [1] } };
    loop.push(write({ term: 1, snapshot: { metadata, data: new Uint8Array() } }));
    await settle();
    gate.closed = false;
    await letSyncEnd();
    expect(events).toEqual([
      'published 50',
      'sync begins',
      'sync ends',
      'installed 50',
      'answered append-response',
    ]);
  });
});
