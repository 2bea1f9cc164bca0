/** Whether and when a container that ended runs again: Docker's rules and its back-off. Pure. */
import type { RestartRule } from './definition.ts';

/** Docker's numbers (moby, restartmanager). */
const DELAY_FIRST_MS = 100;
const DELAY_MAX_MS = 60_000;
/** A run that lasted so long counts as a success: the delays begin anew. */
const LASTING_MS = 10_000;

export interface EndOfRun {
  readonly rule: RestartRule;
  readonly exitCode: number;
  /** how often it was started by the rule since a person started it */
  readonly restartCount: number;
  /** a person stopped or killed it */
  readonly isStopped: boolean;
  readonly ranMs: number;
  /** the delay before this run; 0 = none */
  readonly lastDelayMs: number;
}

/** How long to wait for the next run; null = it rests. */
export function restartDelayMs(end: EndOfRun): number | null {
  if (end.isStopped || !wantsAnother(end)) return null;
  const before = end.ranMs >= LASTING_MS ? 0 : end.lastDelayMs;
  return before === 0 ? DELAY_FIRST_MS : Math.min(before * 2, DELAY_MAX_MS);
}

function wantsAnother({ rule, exitCode, restartCount }: EndOfRun): boolean {
  switch (rule.name) {
    case 'no':
      return false;
    case 'on-failure': {
      const { maximumRetryCount } = rule;
      return exitCode !== 0 && (maximumRetryCount === 0 || restartCount < maximumRetryCount);
    }
    case 'always':
    case 'unless-stopped':
      return true;
  }
}

/** Of one that rests when the daemon starts: only `always` does not mind that a person stopped it. */
export function startsWithDaemon(rule: RestartRule, isStopped: boolean): boolean {
  return rule.name === 'always' || (rule.name === 'unless-stopped' && !isStopped);
}
