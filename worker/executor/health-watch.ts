/**
 * The health of one running container, as something to wait for: begun when it starts or is adopted,
 * ended with it. Which check and how to probe are its owner's.
 */
import type { Clock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import {
  type HealthCheck,
  type HealthReport,
  type HealthStatus,
  monitorHealth,
  type Probe,
} from './health.ts';

interface Monitor {
  readonly abort: AbortController;
  readonly healthy: Promise<void>;
  readonly unhealthy: Promise<void>;
}

const NEVER = new Promise<never>(() => {});

export class HealthWatch {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onStatus: (status: HealthStatus) => void;
  #report: HealthReport | null = null;
  #monitor: Monitor | null = null;

  /** @param onStatus told of each status that is another than the one before */
  constructor(clock: Clock, log: Logger, onStatus: (status: HealthStatus) => void) {
    this.#clock = clock;
    this.#log = log;
    this.#onStatus = onStatus;
  }

  /** The newest one, also after the end; null when nothing was ever watched. */
  get report(): HealthReport | null {
    return this.#report;
  }

  get running(): boolean {
    return this.#monitor !== null;
  }

  /** From `starting` on; replaces what runs. `goesOn`: also when it is unhealthy. */
  begin(check: HealthCheck, probe: Probe, options: { readonly goesOn?: boolean } = {}): void {
    this.end();
    const abort = new AbortController();
    let onHealthy: () => void = () => {};
    const healthy = new Promise<void>((resolve) => {
      onHealthy = resolve;
    });
    const onHealth = (report: HealthReport): void => {
      const before = this.#report?.status;
      this.#report = report;
      if (report.status !== before) this.#onStatus(report.status);
      if (report.status === 'healthy') onHealthy();
    };
    const unhealthy = monitorHealth(check, probe, this.#clock, onHealth, abort.signal, options);
    unhealthy.catch((err: unknown) => {
      if (abort.signal.aborted) return;
      this.#log.warn({ reason: describeError(err) }, 'health monitor failed');
    });
    this.#monitor = { abort, healthy, unhealthy };
  }

  /** Never resolves when nothing is watched. */
  whenHealthy(): Promise<void> {
    return this.#monitor?.healthy ?? NEVER;
  }

  /** Never resolves when nothing is watched, or when the watch ends before. */
  whenUnhealthy(): Promise<void> {
    return this.#monitor?.unhealthy.catch(() => NEVER) ?? NEVER;
  }

  /** Idempotent. */
  end(): void {
    this.#monitor?.abort.abort(new CancelledError());
    this.#monitor = null;
  }
}
