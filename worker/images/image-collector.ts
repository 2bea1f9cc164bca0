/**
 * Makes room when the disk fills: looks at it from time to time and whenever something came, and above the high
 * watermark removes what is not used, the longest unused first, until the low one. Decides; the store removes.
 */
import type { Clock } from '../../common/base/clock.ts';
import { TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import { Nudge } from '../../common/base/nudge.ts';

/** How full the disk may be, 0 to 1, and what is left alone even so. */
export interface Watermarks {
  /** from here on images are removed */
  readonly high: number;
  /** until here; below `high` */
  readonly low: number;
  /** An image that came or was used so shortly ago stays: who pulled it may be about to run it. */
  readonly minAgeMs: number;
}

/** kubelet's. */
export const DEFAULT_WATERMARKS: Watermarks = { high: 0.85, low: 0.8, minAgeMs: 2 * 60_000 };

/** kubelet looks every five minutes as well. */
export const COLLECT_PERIOD_MS = 5 * 60_000;

export interface Collectable {
  readonly id: string;
  /** or when it came, wall clock */
  readonly lastUsedMs: number;
}

export interface CollectorOptions {
  readonly watermarks: Watermarks;
  /** share of the disk that is in use */
  readonly fullness: () => Promise<number>;
  /** Removes blobs and layers that no image has; those of work under way stay. Bytes. */
  readonly sweep: () => Promise<number>;
  /** images that no container uses and that a registry can give again */
  readonly collectable: () => readonly Collectable[];
  /** Ids of the images that services want, now or after a rollback; null = the managers do not say. */
  readonly wanted: (signal: AbortSignal) => Promise<ReadonlySet<string> | null>;
  /** With its names. Bytes; 0 when somebody began to use it. */
  readonly remove: (id: string) => Promise<number>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ImageCollector {
  readonly #options: CollectorOptions;
  readonly #tasks: TaskSet;
  readonly #nudge = new Nudge();

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#tasks = new TaskSet((err) => options.log.error({ err }, 'images are not collected'));
  }

  start(): void {
    const { clock, log } = this.#options;
    this.#tasks.run(async (signal) => {
      for (;;) {
        await this.#nudge.wait(clock, COLLECT_PERIOD_MS, signal);
        try {
          await this.collect(signal);
        } catch (err) {
          signal.throwIfAborted();
          log.warn({ err }, 'collecting images failed, will be retried');
        }
      }
    });
  }

  stop(): Promise<void> {
    return this.#tasks.stop();
  }

  /** Something came to the disk: it is looked at now rather than when the period is over. */
  arrived(): void {
    this.#nudge.give();
  }

  /** Bytes of files that were removed; the disk may have been below its watermark. */
  async collect(signal: AbortSignal): Promise<number> {
    const { watermarks, fullness, sweep, collectable, wanted, remove, clock, log } = this.#options;
    if ((await fullness()) < watermarks.high) return 0;
    let bytes = await sweep();
    let removed = 0;
    const kept = await wanted(signal);
    if (kept === null) {
      log.warn(
        { bytes },
        'disk is filling, and no image is removed: no manager says which are wanted',
      );
      return bytes;
    }
    const oldMs = clock.wallMs() - watermarks.minAgeMs;
    const unwanted = collectable().filter(
      ({ id, lastUsedMs }) => lastUsedMs <= oldMs && !kept.has(id),
    );
    for (const { id } of [...unwanted].sort((a, b) => a.lastUsedMs - b.lastUsedMs)) {
      if ((await fullness()) < watermarks.low) break;
      signal.throwIfAborted();
      const freed = await remove(id);
      bytes += freed;
      if (freed > 0) removed++;
    }
    log.info({ bytes, removed }, 'disk was filling, unused images were removed');
    return bytes;
  }
}
