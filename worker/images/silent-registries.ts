/**
 * Registries that did not answer in time: the next question to them is not waited for as long, so that on a
 * machine without any registry only the first of a row of services costs the whole limit.
 */
import type { Clock } from '../../common/base/clock.ts';

/** Somebody waits at a terminal, and can do without the digest: a machine without a way out answers soon. */
export const RESOLVE_LIMIT_MS = 5_000;
/** For a registry that was silent just now; most of those that are well need less. */
export const SILENT_LIMIT_MS = 500;
/** How long "just now" is. */
export const SILENCE_MS = 60_000;

export class SilentRegistries {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  /** domain -> when it was silent last. Forgotten with its first answer; as many as users name. */
  readonly #silentAtMs = new Map<string, number>();

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  limitMs(domain: string): number {
    const silentAtMs = this.#silentAtMs.get(domain);
    if (silentAtMs === undefined) return RESOLVE_LIMIT_MS;
    const isRecent = this.#clock.monotonicMs() - silentAtMs < SILENCE_MS;
    return isRecent ? SILENT_LIMIT_MS : RESOLVE_LIMIT_MS;
  }

  /** It was not heard of within its limit. Begins no silence anew: that ends a minute after it began. */
  silent(domain: string): void {
    if (this.limitMs(domain) === RESOLVE_LIMIT_MS) {
      this.#silentAtMs.set(domain, this.#clock.monotonicMs());
    }
  }

  /** With whatever words. */
  answered(domain: string): void {
    this.#silentAtMs.delete(domain);
  }
}
