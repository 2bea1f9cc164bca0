/** What people are told of a simulation. */
import type { CoverageSummary } from './coverage.ts';
import type { Mutant } from './mutants/mutant.ts';
import type { SimOptions, WorldName } from './options.ts';
import type { Statistics } from './statistics.ts';
import type { SeedReport } from './workers.ts';

/** Of those that a seed had while a majority was up and whole, the longest. */
export interface Outage {
  readonly seed: number;
  readonly lastedMs: number;
}

export interface Totals {
  readonly world: WorldName;
  readonly seeds: number;
  readonly elapsedMs: number;
  readonly virtualMs: number;
  readonly longestOutage: Outage | null;
  readonly statistics: Statistics;
}

const SECTIONS: readonly (readonly [string, string])[] = [
  ['faults', 'fault.'],
  ['network', 'network.'],
  ['operations', 'operation.'],
  ['members', 'member.'],
  ['committed changes', 'change.'],
  ['containers', 'container.'],
  ['events', 'event.'],
  ['messages', 'message.'],
  ['disk', 'disk.'],
];

const OTHERS: Readonly<Record<WorldName, readonly string[]>> = {
  raft: [
    'raft.became-leader',
    'restored',
    'start.refused',
    'left',
    'died of a failed sync',
    'ends without a majority',
  ],
  cluster: ['commits', 'start failed', 'healing.seconds', 'log.readers', 'log.records'],
};

export function describeTotals(totals: Totals): string {
  const { world, seeds, elapsedMs, virtualMs, longestOutage, statistics } = totals;
  const seconds = elapsedMs / 1_000;
  const events = statistics.under('event.').reduce((sum, [, count]) => sum + count, 0);
  const rate = (count: number): string => (count / seconds).toFixed(1);
  const lines = [
    `${seeds} seeds in ${seconds.toFixed(1)} s, ${(virtualMs / 3_600_000).toFixed(1)} h of simulated time`,
    `${rate(seeds)} seeds/s, ${rate(events)} events/s`,
  ];
  if (longestOutage !== null) {
    const { seed, lastedMs } = longestOutage;
    lines.push(
      `longest time without a write while a majority was whole: ${lastedMs.toFixed(0)} ms (seed ${seed})`,
    );
  }
  for (const [title, prefix] of SECTIONS) {
    const counts = statistics.under(prefix).map(([name, count]) => `${name} ${count}`);
    if (counts.length > 0) lines.push(`${title}: ${counts.join(', ')}`);
  }
  const others = OTHERS[world].map((name) => `${name} ${statistics.get(name)}`);
  lines.push(`also: ${others.join(', ')}`);
  return lines.join('\n');
}

export function describeFailure(
  report: SeedReport,
  { world, plant }: Pick<SimOptions, 'world' | 'plant'>,
): string {
  const { seed, broken, lastLines, traceHash } = report;
  if (broken === null) return `seed ${seed} holds, trace ${traceHash}`;
  const where = world === 'raft' ? '' : `--world ${world} `;
  const command = `npm run sim -- ${where}--seed ${seed}${plant === null ? '' : ` --plant ${plant}`}`;
  return [
    `seed ${seed} breaks ${broken.words}`,
    'the last events (ms, machine, what; <- received, -> sent):',
    ...lastLines,
    `trace ${traceHash}; replay with: ${command}`,
  ].join('\n');
}

export function describeCoverage(summary: CoverageSummary): string {
  const { branches, branchesReached, lines, linesReached, missed, unreachable } = summary;
  const percent = (part: number, whole: number): string => ((100 * part) / whole).toFixed(1);
  return [
    `coverage of manager/raft: ${percent(branchesReached, branches)} % of ${branches} branches that the product can reach, ${percent(linesReached, lines)} % of all ${lines} lines`,
    ...[...unreachable].map(([why, count]) => `  left out: ${count} (${why})`),
    ...missed.map(({ file, line, what }) => `  not reached: ${file}:${line} (${what})`),
  ].join('\n');
}

/** How a planted bug was found; seeds = those that ran until then. */
export interface Finding {
  readonly mutant: Mutant;
  readonly seeds: number;
  readonly report: SeedReport | null;
}

export function describeFinding({ mutant, seeds, report }: Finding): string {
  const name = mutant.name.padEnd(26);
  if (report?.broken == null) return `${name} NOT FOUND in ${seeds} seeds: ${mutant.bug}`;
  const { number, name: invariant } = report.broken;
  const surprise = mutant.invariants.includes(number) ? '' : ' (another was expected)';
  return `${name} ${String(seeds).padStart(4)} seeds, invariant ${number}${surprise}: ${invariant}`;
}
