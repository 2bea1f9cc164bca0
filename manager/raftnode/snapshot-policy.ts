/** How often a node takes snapshots, and what it keeps behind them: its own defaults, or as its cluster says meanwhile. */
import { DEFAULTS, type RaftNodeOptions } from './node-options.ts';

/** What a cluster may say of it, on all its members. */
export interface SnapshotSettings {
  /** `>= 1`: entries between two snapshots; null = each node's own interval, longer for a large state (decision 0022) */
  readonly intervalEntries: number | null;
  /** snapshots kept beside the newest, with the log that leads on from the oldest of them */
  readonly keepOld: number;
  /** entries kept behind the newest for followers that are a little late; null = each node's own number */
  readonly keepEntries: number | null;
}

/** A large state is kept waiting for at most so many intervals: the log in memory has its price too. */
const STRETCH_MAX = 10;

export class SnapshotPolicy {
  readonly #own: { readonly intervalEntries: number; readonly keepEntries: number };
  readonly intervalBytes: number;
  #settings: SnapshotSettings = { intervalEntries: null, keepOld: 0, keepEntries: null };

  constructor(
    options: Pick<
      RaftNodeOptions,
      'snapshotIntervalEntries' | 'snapshotIntervalBytes' | 'keepEntries'
    > = {},
  ) {
    this.#own = {
      intervalEntries: options.snapshotIntervalEntries ?? DEFAULTS.snapshotIntervalEntries,
      keepEntries: options.keepEntries ?? DEFAULTS.keepEntries,
    };
    this.intervalBytes = options.snapshotIntervalBytes ?? DEFAULTS.snapshotIntervalBytes;
  }

  /** Counts from the next snapshot on. */
  change(settings: SnapshotSettings): void {
    this.#settings = settings;
  }

  /** Entries after which one is due. An interval that somebody chose is kept to. */
  get intervalEntries(): number {
    return this.#settings.intervalEntries ?? this.#own.intervalEntries;
  }

  /** The same while the log since the last one is small beside it. */
  get longIntervalEntries(): number {
    return this.#settings.intervalEntries ?? this.#own.intervalEntries * STRETCH_MAX;
  }

  get keepOld(): number {
    return this.#settings.keepOld;
  }

  get keepEntries(): number {
    return this.#settings.keepEntries ?? this.#own.keepEntries;
  }
}
