/** What happened on this node and, while it is a manager, in its cluster; the newest events are kept. */
import type { Clock } from '../../common/base/clock.ts';
import { Journal, type JournalReader } from '../../common/base/journal.ts';
import type { EngineEvent } from '../../common/model/engine-event.ts';

/** Docker keeps 256. A stack of 100 tasks makes some 500 on one host; one takes about 1 KB. */
export const EVENTS_KEPT = 2_000;

export interface ScopedEvent extends EngineEvent {
  readonly scope: 'local' | 'swarm';
  /** wall clock */
  readonly timeMs: number;
}

export class EventJournal {
  readonly #clock: Clock;
  readonly #journal = new Journal<ScopedEvent>(EVENTS_KEPT);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Of this node. */
  tell(event: EngineEvent): void {
    this.#journal.append({ ...event, scope: 'local', timeMs: this.#clock.wallMs() });
  }

  tellOfCluster(event: EngineEvent, timeMs: number): void {
    this.#journal.append({ ...event, scope: 'swarm', timeMs });
  }

  /** Oldest first. */
  kept(): readonly ScopedEvent[] {
    return this.#journal.kept();
  }

  /** Of what is told from now on. */
  reader(): JournalReader<ScopedEvent> {
    return this.#journal.reader();
  }
}
