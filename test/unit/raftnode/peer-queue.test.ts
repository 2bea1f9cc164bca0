import { describe, expect, test } from 'vitest';
import { type Message, message } from '../../../manager/raft/types.ts';
import { PeerQueue } from '../../../manager/raftnode/peer-queue.ts';

function append(index: number, bytes = 10): Message {
  const data = new Uint8Array(bytes);
  return message({ type: 'append', index, entries: [{ index, term: 1, type: 'normal', data }] });
}

/** An append without entries. */
function news(commit: number): Message {
  return message({ type: 'append', commit });
}

function heartbeat(commit: number): Message {
  return message({ type: 'heartbeat', commit });
}

/** `append 3`, `news 7`, `heartbeat 2` */
function words(batch: readonly Message[]): string[] {
  return batch.map(({ type, index, commit, entries }) => {
    if (type !== 'append') return `${type} ${commit}`;
    return entries.length > 0 ? `append ${index}` : `news ${commit}`;
  });
}

describe('queue to a peer', () => {
  test('urgent messages go before entries that came first, entries keep their order', () => {
    const queue = new PeerQueue();
    for (let i = 1; i <= 4; i++) queue.push(append(i, 100_000));
    queue.push(heartbeat(9));
    expect(words(queue.takeBatch())).toEqual(['heartbeat 9', 'append 1', 'append 2']);
    queue.push(heartbeat(10));
    expect(words(queue.takeBatch())).toEqual(['heartbeat 10', 'append 3', 'append 4']);
    expect(queue.isDue).toBe(false);
  });

  test('entries larger than a batch go alone', () => {
    const queue = new PeerQueue();
    queue.push(append(1, 3_000_000));
    queue.push(append(2));
    expect(words(queue.takeBatch())).toEqual(['append 1']);
    expect(words(queue.takeBatch())).toEqual(['append 2']);
  });

  test('news are not due alone, until they are released', () => {
    const queue = new PeerQueue();
    queue.push(news(5));
    expect(queue.isDue).toBe(false);
    queue.release();
    expect(queue.isDue).toBe(true);
    expect(words(queue.takeBatch())).toEqual(['news 5']);
    queue.release();
    expect(queue.isDue).toBe(false);
  });

  test('of several news the last one is sent', () => {
    const queue = new PeerQueue();
    queue.push(news(5));
    queue.push(news(6));
    queue.release();
    expect(words(queue.takeBatch())).toEqual(['news 6']);
  });

  test('entries that follow news take their place', () => {
    const queue = new PeerQueue();
    queue.push(news(5));
    queue.push(append(6));
    expect(words(queue.takeBatch())).toEqual(['append 6']);
  });

  test('news that follow entries are not lost, and do not overtake them', () => {
    const queue = new PeerQueue();
    for (let i = 1; i <= 3; i++) queue.push(append(i, 200_000));
    queue.push(news(3));
    expect(words(queue.takeBatch())).toEqual(['append 1']);
    expect(words(queue.takeBatch())).toEqual(['append 2']);
    expect(words(queue.takeBatch())).toEqual(['append 3', 'news 3']);
  });

  test('holds a bounded number of messages and bytes, and has room again for what was taken', () => {
    const many = new PeerQueue();
    for (let i = 0; i < 1024; i++) expect(many.push(heartbeat(i))).toBe(true);
    expect(many.push(heartbeat(0))).toBe(false);
    expect(many.takeBatch()).toHaveLength(1024);
    expect(many.push(heartbeat(0))).toBe(true);

    const large = new PeerQueue();
    let taken = 0;
    while (large.push(append(taken, 1024 * 1024))) taken++;
    expect(taken).toBe(15);
    large.takeBatch();
    expect(large.push(append(taken, 1024 * 1024))).toBe(true);
  });

  test('a greeting makes an empty batch due', () => {
    const queue = new PeerQueue();
    queue.greet();
    expect(queue.isDue).toBe(true);
    expect(queue.takeBatch()).toEqual([]);
    expect(queue.isDue).toBe(false);
  });
});
