/** Long pauses that a registry asked for: until they end nobody asks it again, and all read what it said. */
import type { Clock } from '../../common/base/clock.ts';
import { RegistryError, retryAfterMsOf } from './registry-errors.ts';
import { RETRY_AFTER_MAX_MS } from './retrying.ts';

/** What a registry says is believed so long, ms: a mistake there must not need a new start here. */
const PAUSE_MAX_MS = 3_600_000;

interface Pause {
  readonly err: RegistryError;
  /** on the monotonic clock */
  readonly notBeforeMs: number;
}

/** By user: who logs in because strangers have reached their limit is another one. */
export class AskedPauses {
  readonly #clock: Clock;
  readonly #pauses = new Map<string, Pause>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keeps what `err` asks for; short pauses are waited for where they come (`retrying`). */
  note(user: string, err: unknown): void {
    const askedMs = retryAfterMsOf(err, this.#clock.wallMs());
    if (!(err instanceof RegistryError) || askedMs <= RETRY_AFTER_MAX_MS) return;
    const notBeforeMs = this.#clock.monotonicMs() + Math.min(askedMs, PAUSE_MAX_MS);
    this.#pauses.set(user, { err, notBeforeMs });
  }

  /** Throws the registry's words while the pause lasts. */
  throwIfAsked(user: string): void {
    const pause = this.#pauses.get(user);
    if (pause === undefined) return;
    if (this.#clock.monotonicMs() < pause.notBeforeMs) throw pause.err;
    this.#pauses.delete(user);
  }
}
