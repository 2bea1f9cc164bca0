import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { ChangeFeed, FEED_CHANGES_MAX, FEED_COMMITS_MAX } from '../../../manager/store/feed.ts';
import type { Commit, StoreChange } from '../../../manager/store/types.ts';
import { aTask } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore } from '../../support/store.ts';

const RESYNC = expect.objectContaining({ code: 'resource-exhausted' });

function commit(revision: number, changes: readonly StoreChange[] = []): Commit {
  return { revision, changes };
}

function fill(feed: ChangeFeed, from: number, to: number): void {
  for (let revision = from; revision <= to; revision++) feed.append(commit(revision));
}

function revisionsOf(commits: readonly Commit[] | null): number[] | undefined {
  return commits?.map(({ revision }) => revision);
}

describe('change feed', () => {
  test('tells what was created, updated and removed, with what was there before', async () => {
    const { store, create } = makeStore();
    const watch = store.watch();
    const [task] = await create('task', aTask());
    const updated = await store.update((tx) => tx.update('task', { ...task!, slot: 2 }));
    await store.update((tx) => tx.remove('task', task!.id));
    expect(await watch.next()).toEqual([
      { revision: 2, changes: [{ action: 'create', kind: 'task', object: task }] },
      {
        revision: 3,
        changes: [{ action: 'update', kind: 'task', object: updated, previous: task }],
      },
      { revision: 4, changes: [{ action: 'remove', kind: 'task', object: updated }] },
    ]);
  });

  test('a poll takes what there is, without waiting, and next goes on after it', async () => {
    const feed = new ChangeFeed();
    const watch = feed.watch(undefined);
    expect(watch.poll()).toEqual([]);
    fill(feed, 1, 2);
    expect(revisionsOf(watch.poll())).toEqual([1, 2]);
    const waiting = watch.next();
    fill(feed, 3, 3);
    expect(revisionsOf(await waiting)).toEqual([3]);
    feed.reset(9);
    expect(() => watch.poll()).toThrow(RESYNC);
  });

  test('a watch that waits is woken by the next commit', async () => {
    const feed = new ChangeFeed();
    const watch = feed.watch(undefined);
    let got: readonly Commit[] | null | undefined;
    const reading = watch.next().then((commits) => {
      got = commits;
    });
    await settle();
    expect(got).toBeUndefined();
    feed.append(commit(1));
    feed.append(commit(2));
    await reading;
    expect(revisionsOf(got!)).toEqual([1, 2]);
  });

  test('each watch reads at its own pace', async () => {
    const feed = new ChangeFeed();
    const [a, b] = [feed.watch(undefined), feed.watch(undefined)];
    fill(feed, 1, 2);
    expect(revisionsOf(await a.next())).toEqual([1, 2]);
    fill(feed, 3, 4);
    expect(revisionsOf(await a.next())).toEqual([3, 4]);
    expect(revisionsOf(await b.next())).toEqual([1, 2, 3, 4]);
  });

  test.each([
    [0, [3, 5, 9]],
    [2, [3, 5, 9]],
    [3, [5, 9]],
    [4, [5, 9]],
    [8, [9]],
  ])('a watch from revision %d begins after it', async (from, expected) => {
    const feed = new ChangeFeed();
    for (const revision of [3, 5, 9]) feed.append(commit(revision));
    expect(revisionsOf(await feed.watch(from).next())).toEqual(expected);
  });

  test('a watch from the present revision waits for what comes', async () => {
    const feed = new ChangeFeed();
    fill(feed, 1, 3);
    const watch = feed.watch(3);
    fill(feed, 4, 4);
    expect(revisionsOf(await watch.next())).toEqual([4]);
  });

  test('keeps the last commits, and refuses to resume from before them', async () => {
    const feed = new ChangeFeed();
    fill(feed, 1, FEED_COMMITS_MAX + 5);
    expect(() => feed.watch(4)).toThrow(RESYNC);
    const commits = await feed.watch(5).next();
    expect(commits).toHaveLength(FEED_COMMITS_MAX);
    expect(commits![0]!.revision).toBe(6);
  });

  test('keeps its place in the ring over many rounds', async () => {
    const feed = new ChangeFeed();
    const watch = feed.watch(undefined);
    for (let round = 0; round < 5; round++) {
      const from = round * 7000 + 1;
      fill(feed, from, from + 6999);
      const commits = await watch.next();
      expect([commits![0]!.revision, commits!.length]).toEqual([from, 7000]);
      const resumed = await feed.watch(from + 6990).next();
      expect(resumed!.length).toBe(9);
    }
  });

  test('keeps a limited number of changes', () => {
    const feed = new ChangeFeed();
    const changes = new Array<StoreChange>(FEED_CHANGES_MAX / 2).fill({
      action: 'create',
      kind: 'task',
      object: aTask(),
    });
    for (const revision of [1, 2, 3]) feed.append(commit(revision, changes));
    expect(() => feed.watch(0)).toThrow(RESYNC);
    expect(() => feed.watch(1)).not.toThrow();
  });

  test('holds nothing of the commits that it does not keep', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const feed = new ChangeFeed();
    const task = (): StoreChange => ({ action: 'create', kind: 'task', object: aTask() });
    const append = (revision: number): WeakRef<object> => {
      const [first, ...rest] = Array.from({ length: FEED_CHANGES_MAX / 2 }, task);
      feed.append(commit(revision, [first!, ...rest]));
      return new WeakRef(first!);
    };
    const references = [append(1), append(2), append(3)];
    await new Promise((resolve) => setImmediate(resolve)); // a reference holds its object until the turn ends
    collectGarbage();
    expect(references.map((reference) => reference.deref() !== undefined)).toEqual([
      false,
      true,
      true,
    ]);
  });

  test('a reader that fell behind is cut off, once', async () => {
    const feed = new ChangeFeed();
    const watch = feed.watch(undefined);
    fill(feed, 1, FEED_COMMITS_MAX + 1);
    await expect(watch.next()).rejects.toEqual(RESYNC);
    expect(await watch.next()).toBeNull();
  });

  test('a reader at the very edge is not', async () => {
    const feed = new ChangeFeed();
    const watch = feed.watch(undefined);
    fill(feed, 1, FEED_COMMITS_MAX);
    expect(await watch.next()).toHaveLength(FEED_COMMITS_MAX);
  });

  test('a restore cuts off every watch, also those that wait', async () => {
    const feed = new ChangeFeed();
    fill(feed, 1, 2);
    const waiting = feed.watch(undefined);
    const cut = expect(waiting.next()).rejects.toEqual(RESYNC);
    const idle = feed.watch(0);
    feed.reset(10);
    await cut;
    await expect(idle.next()).rejects.toEqual(RESYNC);
    expect(() => feed.watch(9)).toThrow(RESYNC);
    const resumed = feed.watch(10);
    fill(feed, 11, 11);
    expect(revisionsOf(await resumed.next())).toEqual([11]);
  });

  test('a closed watch ends, also while it is waited for', async () => {
    const feed = new ChangeFeed();
    const watch = feed.watch(undefined);
    const reading = watch.next();
    watch.close();
    expect(await reading).toBeNull();
    fill(feed, 1, 1);
    expect(await watch.next()).toBeNull();
    watch.close();
  });

  test('a wait can be aborted, and the watch is good after it', async () => {
    const feed = new ChangeFeed();
    const watch = feed.watch(undefined);
    const abort = new AbortController();
    const reading = expect(watch.next(abort.signal)).rejects.toThrow('enough');
    abort.abort(new Error('enough'));
    await reading;
    await expect(watch.next(abort.signal)).rejects.toThrow('enough');
    fill(feed, 1, 1);
    expect(revisionsOf(await watch.next())).toEqual([1]);
  });

  test('two readers of one watch are a mistake', async () => {
    const watch = new ChangeFeed().watch(undefined);
    const reading = watch.next();
    await expect(watch.next()).rejects.toThrow('one reader at a time');
    watch.close();
    await reading;
  });

  test('can be iterated commit by commit', async () => {
    const feed = new ChangeFeed();
    const watch = feed.watch(undefined);
    fill(feed, 1, 3);
    const seen: number[] = [];
    for await (const { revision } of watch) {
      seen.push(revision);
      if (revision === 2) break;
    }
    expect(seen).toEqual([1, 2]);
    expect(await watch.next()).toBeNull();
  });
});
