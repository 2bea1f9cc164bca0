/** What a run says about the cluster: violations, outages, and the words for both. Pure. */

import { longestOutage, mergeSpans, overlapMs, type Span } from '../support/availability.ts';
import type { Operation } from '../support/linearizability/history.ts';
import {
  type CheckResult,
  checkLinearizability,
} from '../support/linearizability/linearizability.ts';
import type { Run } from './history-file.ts';

export interface Outage {
  readonly of: 'writes' | 'reads';
  readonly span: Span;
  /** Without the time in which the whole machine stood still. */
  readonly lastedMs: number;
}

export interface Verdict {
  readonly check: CheckResult;
  /** The longest one of each kind. */
  readonly outages: readonly Outage[];
  readonly complaints: readonly string[];
  readonly good: boolean;
}

export function judge(run: Run, limitMs: number): Verdict {
  const check = checkLinearizability(run.operations);
  const stalls = mergeSpans(run.stalls);
  const outages = (['writes', 'reads'] as const).flatMap((of): Outage[] => {
    const span = longestOutage(run.changes, successesOf(run, of), run.endMs);
    if (span === null) return [];
    return [{ of, span, lastedMs: span.toMs - span.fromMs - overlapMs(span, stalls) }];
  });
  const good =
    check.violations.length === 0 &&
    check.undecided.length === 0 &&
    run.complaints.length === 0 &&
    outages.every(({ lastedMs }) => lastedMs <= limitMs);
  return { check, outages, complaints: run.complaints, good };
}

function successesOf({ operations, endMs }: Run, of: 'writes' | 'reads'): number[] {
  const wanted = of === 'writes' ? 'done' : 'saw';
  return operations
    .flatMap(({ outcome }) => (outcome.kind === wanted ? [outcome.atMs] : []))
    .filter((atMs) => atMs <= endMs)
    .sort((a, b) => a - b);
}

/** One line: operations, faults, violations, longest unavailability. */
export function summaryLine(run: Run, { check, outages }: Verdict): string {
  const count = (test: (operation: Operation) => boolean): number =>
    run.operations.filter(test).length;
  const ok = count(({ outcome }) => outcome.kind === 'saw' || outcome.kind === 'done');
  const failed = count(({ outcome }) => outcome.kind === 'failed' || outcome.kind === 'refused');
  const unknown = count(({ outcome }) => outcome.kind === 'unknown');
  const kinds = new Map<string, number>();
  for (const { kind } of run.faults) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const faults = [...kinds].map(([kind, times]) => `${kind} ${times}`).join(', ') || 'none';
  const longest = outages.map(({ of, lastedMs }) => `${of} ${(lastedMs / 1000).toFixed(2)} s`);
  return [
    `jepsen: ${run.operations.length} operations (${ok} ok, ${failed} failed, ${unknown} unknown) on ${check.keys} keys`,
    `${run.faults.length} faults (${faults})`,
    `${check.violations.length + run.complaints.length} violations`,
    ...(check.undecided.length > 0 ? [`${check.undecided.length} keys undecided`] : []),
    `longest unavailability with a majority connected: ${longest.join(', ') || 'none'}`,
    `seed ${run.seed}`,
  ].join('; ');
}

/** What happened around an outage: faults that overlap it or ended just before. */
export function describeOutage({ faults }: Run, { of, span, lastedMs }: Outage): string {
  const near = faults.filter(
    ({ fromMs, toMs }) => fromMs <= span.toMs && toMs >= span.fromMs - 5_000,
  );
  return [
    `no ${of} succeeded from ${span.fromMs.toFixed(0)} to ${span.toMs.toFixed(0)} ms (${lastedMs.toFixed(0)} ms without stalls of the machine)`,
    ...near.map(
      ({ kind, what, fromMs, toMs }) =>
        `  ${fromMs.toFixed(0)} .. ${toMs.toFixed(0)} ${kind}: ${what}`,
    ),
  ].join('\n');
}
