/**
 * Health checks: when to probe and what a row of results means, as in Docker. Runs probes
 * through a function that it is given; knows nothing of containers.
 */
import type { Clock } from '../../common/base/clock.ts';
import type { HealthConfig } from '../../common/model/service.ts';
import type { ImageHealthcheck } from '../images/image-store.ts';

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy';

/** A check as it will run: every default filled in. */
export interface HealthCheck {
  /** argv of the probe */
  readonly command: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
  /** failures in a row until unhealthy, >= 1 */
  readonly retries: number;
}

export interface ProbeResult {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** 0 = healthy; -1 = timed out or could not run */
  readonly exitCode: number;
  readonly output: string;
}

export interface HealthReport {
  readonly status: HealthStatus;
  readonly failingStreak: number;
  /** the last five, oldest first */
  readonly log: readonly ProbeResult[];
}

const NANOS_PER_MS = 1e6;
const RESULTS_KEPT = 5;
const DEFAULT_INTERVAL_MS = 30_000;
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_START_INTERVAL_MS = 5_000;
const DEFAULT_RETRIES = 3;
const SHELL = ['/bin/sh', '-c'];

/**
 * The check of a task: the service's words over the image's, field by field; null when there is none
 * or it is disabled (`NONE`). CMD-SHELL is of /bin/sh, whatever the image's own shell (`SHELL`).
 */
export function healthCheckOf(
  service: HealthConfig | null,
  image: Partial<HealthConfig> | null,
): HealthCheck | null {
  const test = service && service.test.length > 0 ? service.test : (image?.test ?? []);
  const command = commandOf(test);
  if (!command) return null;
  const ms = (field: keyof HealthConfig, fallback: number): number => {
    const nanos = Number(service?.[field] || image?.[field] || 0);
    return nanos > 0 ? nanos / NANOS_PER_MS : fallback;
  };
  return {
    command,
    intervalMs: ms('intervalNanos', DEFAULT_INTERVAL_MS),
    timeoutMs: ms('timeoutNanos', DEFAULT_TIMEOUT_MS),
    startPeriodMs: ms('startPeriodNanos', 0),
    startIntervalMs: ms('startIntervalNanos', DEFAULT_START_INTERVAL_MS),
    retries: service?.retries || image?.retries || DEFAULT_RETRIES,
  };
}

/** An image's check as a spec would have it. */
export function healthOfImage(image: ImageHealthcheck | null): Partial<HealthConfig> | null {
  if (!image) return null;
  const nanos = (ms: number | null): number => (ms ?? 0) * NANOS_PER_MS;
  return {
    test: image.test,
    intervalNanos: nanos(image.intervalMs),
    timeoutNanos: nanos(image.timeoutMs),
    startPeriodNanos: nanos(image.startPeriodMs),
    startIntervalNanos: nanos(image.startIntervalMs),
    retries: image.retries ?? 0,
  };
}

function commandOf(test: readonly string[]): readonly string[] | null {
  const [form, ...words] = test;
  if (words.length === 0) return null;
  if (form === 'CMD') return words;
  return form === 'CMD-SHELL' ? [...SHELL, words.join(' ')] : null;
}

/** null: the container is paused, which says nothing of its health. */
export type Probe = (
  command: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
) => Promise<ProbeResult | null>;

/** What the monitor tells: every result, and the status after it. */
export type OnHealth = (report: HealthReport) => void;

/**
 * Probes until aborted or, unless it is to go on, unhealthy. The first probe comes after one interval (the start interval
 * while in the start period); failures inside the start period do not count until the first success.
 */
export async function monitorHealth(
  check: HealthCheck,
  probe: Probe,
  clock: Clock,
  onHealth: OnHealth,
  signal: AbortSignal,
  { goesOn = false } = {},
): Promise<void> {
  const begunMs = clock.monotonicMs();
  let report: HealthReport = { status: 'starting', failingStreak: 0, log: [] };
  onHealth(report);
  while (goesOn || report.status !== 'unhealthy') {
    const inStartPeriod =
      report.status === 'starting' && clock.monotonicMs() - begunMs < check.startPeriodMs;
    await clock.sleep(inStartPeriod ? check.startIntervalMs : check.intervalMs, signal);
    const graced =
      report.status === 'starting' && clock.monotonicMs() - begunMs < check.startPeriodMs;
    const result = await probe(check.command, check.timeoutMs, signal);
    if (result === null) continue;
    report = nextReport(report, result, graced, check.retries);
    onHealth(report);
  }
}

/** The report after one more result. `graced`: failures do not count yet. */
export function nextReport(
  report: HealthReport,
  result: ProbeResult,
  graced: boolean,
  retries: number,
): HealthReport {
  const log = [...report.log, result].slice(-RESULTS_KEPT);
  if (result.exitCode === 0) return { status: 'healthy', failingStreak: 0, log };
  if (graced) return { ...report, log };
  const failingStreak = report.failingStreak + 1;
  return { status: failingStreak >= retries ? 'unhealthy' : report.status, failingStreak, log };
}
