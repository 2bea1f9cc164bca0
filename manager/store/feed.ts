/**
 * The change feed: one ring of commits that every watcher reads at its own pace. Nothing is buffered
 * per watcher; who falls behind the ring's oldest commit is cut off.
 */
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { QueueState } from '../../common/base/queue.ts';
import type { Commit, Watch } from './types.ts';

/** Commits kept. */
export const FEED_COMMITS_MAX = 10_000;
/** Changes kept in all of them: bounds the memory that replaced objects hold, about 0.4 KiB for each. */
export const FEED_CHANGES_MAX = 50_000;

/** Detail of a feed's `resource-exhausted`: the smallest revision from which a watch could go on. */
export const OLDEST_REVISION = 'oldestRevision';

function resync(why: string, oldestRevision: number): SkepError {
  const details = { [OLDEST_REVISION]: String(oldestRevision) };
  return new SkepError('resource-exhausted', `watch the store: ${why}, resync`, { details });
}

const GONE: Commit = { revision: 0, changes: [] };

export class ChangeFeed {
  /** INVARIANT: revisions grow strictly; the commit at place i has the sequence number #firstSeq + i. */
  #commits: Commit[] = [];
  /** place of the oldest commit kept: those before it are GONE, and swept now and then */
  #head = 0;
  #firstSeq = 0;
  #changes = 0;
  /** revision up to which commits are no longer kept */
  #floorRevision = 0;
  /** grows when the history ended (restore): watches of an older epoch are cut off */
  #epoch = 0;
  readonly #sleepers = new Set<() => void>();

  get epoch(): number {
    return this.#epoch;
  }

  get firstSeq(): number {
    return this.#firstSeq;
  }

  /** Changes after this revision, and none before, are kept. */
  get floorRevision(): number {
    return this.#floorRevision;
  }

  get endSeq(): number {
    return this.#firstSeq + this.#commits.length - this.#head;
  }

  queues(): QueueState[] {
    const commits = this.endSeq - this.#firstSeq;
    return [
      { name: 'commits kept for readers', length: commits, limit: FEED_COMMITS_MAX },
      { name: 'changes kept for readers', length: this.#changes, limit: FEED_CHANGES_MAX },
    ];
  }

  append(commit: Commit): void {
    this.#commits.push(commit);
    this.#changes += commit.changes.length;
    while (this.endSeq - this.#firstSeq > FEED_COMMITS_MAX || this.#changes > FEED_CHANGES_MAX) {
      const oldest = this.#commits[this.#head]!;
      this.#commits[this.#head] = GONE; // or its objects would live until they are swept
      this.#head++;
      this.#firstSeq++;
      this.#changes -= oldest.changes.length;
      this.#floorRevision = oldest.revision;
    }
    if (this.#head > FEED_COMMITS_MAX) {
      this.#commits = this.#commits.slice(this.#head);
      this.#head = 0;
    }
    this.#wakeAll();
  }

  /** The state jumped to `revision`: there is no history before it, and every watcher starts over. */
  reset(revision: number): void {
    this.#firstSeq = this.endSeq;
    this.#commits = [];
    this.#head = 0;
    this.#changes = 0;
    this.#floorRevision = revision;
    this.#epoch++;
    this.#wakeAll();
  }

  /** Commits from sequence number `seq` on. */
  since(seq: number): Commit[] {
    assert(seq >= this.#firstSeq, 'a commit is read that is no longer kept');
    return this.#commits.slice(this.#head + seq - this.#firstSeq);
  }

  /**
   * A watch of the commits after `fromRevision`; undefined = from now on. Throws `resource-exhausted`
   * when some of them are no longer kept.
   */
  watch(fromRevision: number | undefined): Watch {
    if (fromRevision === undefined) return new FeedWatch(this, this.endSeq);
    if (fromRevision < this.#floorRevision) {
      const why = `changes after revision ${fromRevision} are no longer kept`;
      throw resync(why, this.#floorRevision);
    }
    return new FeedWatch(this, this.#seqAfter(fromRevision));
  }

  /** Calls `wake` once, after the next commit or reset. */
  onceChanged(wake: () => void): void {
    this.#sleepers.add(wake);
  }

  forget(wake: () => void): void {
    this.#sleepers.delete(wake);
  }

  #wakeAll(): void {
    const sleepers = [...this.#sleepers];
    this.#sleepers.clear();
    for (const wake of sleepers) wake();
  }

  /** Sequence number of the first commit with a greater revision. */
  #seqAfter(revision: number): number {
    let low = this.#head;
    let high = this.#commits.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#commits[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#firstSeq + low - this.#head;
  }
}

/** One reader. States: open -> ended, by `close` or by being cut off. */
class FeedWatch implements Watch {
  readonly #feed: ChangeFeed;
  readonly #epoch: number;
  #nextSeq: number;
  #ended = false;
  #wake: (() => void) | null = null;

  constructor(feed: ChangeFeed, nextSeq: number) {
    this.#feed = feed;
    this.#epoch = feed.epoch;
    this.#nextSeq = nextSeq;
  }

  async next(signal?: AbortSignal): Promise<readonly Commit[] | null> {
    for (;;) {
      signal?.throwIfAborted();
      const commits = this.poll();
      if (commits.length > 0) return commits;
      if (this.#ended) return null;
      await this.#changed(signal);
    }
  }

  poll(): readonly Commit[] {
    if (this.#ended) return [];
    if (this.#epoch !== this.#feed.epoch || this.#nextSeq < this.#feed.firstSeq) {
      this.#ended = true;
      const why = 'the reader was too slow or the state was replaced';
      throw resync(why, this.#feed.floorRevision);
    }
    const commits = this.#feed.since(this.#nextSeq);
    this.#nextSeq += commits.length;
    return commits;
  }

  close(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Commit, void> {
    try {
      for (let commits = await this.next(); commits; commits = await this.next()) yield* commits;
    } finally {
      this.close();
    }
  }

  #changed(signal: AbortSignal | undefined): Promise<void> {
    assert(this.#wake === null, 'a watch has one reader at a time');
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#wake = null;
        this.#feed.forget(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#wake = wake;
      this.#feed.onceChanged(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }
}
