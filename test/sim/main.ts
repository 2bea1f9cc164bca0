/** `npm run sim`: seeds in several processes, with or without planted bugs. See `USAGE`. */
import { performance } from 'node:perf_hooks';
import { summarize } from './coverage.ts';
import type { FileCoverage } from './coverage-recorder.ts';
import { mutantsOf } from './mutants/all.ts';
import type { Mutant } from './mutants/mutant.ts';
import { parseOptions, type SimOptions, USAGE } from './options.ts';
import {
  describeCoverage,
  describeFailure,
  describeFinding,
  describeTotals,
  type Finding,
  type Outage,
} from './report.ts';
import { Statistics } from './statistics.ts';
import { runSeeds, type SeedReport, SimWorker } from './workers.ts';

function* seedsOf({ seed, seeds, minutes }: SimOptions): Generator<number> {
  const endMs = performance.now() + minutes * 60_000;
  for (let next = seed; minutes > 0 ? performance.now() < endMs : next < seed + seeds; next++) {
    yield next;
  }
}

/** True when every seed holds. */
async function simulate(options: SimOptions): Promise<boolean> {
  const { plant, world } = options;
  const mutant = mutantsOf(world).find(({ name }) => name === plant) ?? null;
  if (plant !== null && mutant === null) throw new Error(`--plant ${plant}: no such bug`);
  const workers = Array.from({ length: options.workers }, () => new SimWorker(world, mutant));
  try {
    if (options.coverage) for (const one of workers) await one.ask({ kind: 'record-coverage' });
    const statistics = new Statistics();
    const startedMs = performance.now();
    let [seeds, virtualMs] = [0, 0];
    let longestOutage: Outage | null = null;
    let failed: SeedReport | null = null;
    await runSeeds(workers, seedsOf(options), options.traceLines, (report) => {
      seeds++;
      virtualMs += report.virtualMs;
      statistics.merge(report.counts);
      longestOutage = longerOutage(longestOutage, report);
      if (report.broken !== null || options.seeds === 1) {
        print(describeFailure(report, options));
        if (report.broken !== null) failed = report;
      }
      return failed !== null;
    });
    const elapsedMs = performance.now() - startedMs;
    print(describeTotals({ world, seeds, elapsedMs, virtualMs, longestOutage, statistics }));
    if (options.coverage) print(describeCoverage(summarize(await coverageOf(workers))));
    return failed === null;
  } finally {
    for (const worker of workers) worker.stop();
  }
}

function longerOutage(known: Outage | null, { seed, longestOutageMs }: SeedReport): Outage | null {
  if (longestOutageMs === null || longestOutageMs <= (known?.lastedMs ?? 0)) return known;
  return { seed, lastedMs: longestOutageMs };
}

async function coverageOf(workers: readonly SimWorker[]): Promise<(readonly FileCoverage[])[]> {
  const all: (readonly FileCoverage[])[] = [];
  for (const worker of workers) {
    const answer = await worker.ask({ kind: 'take-coverage' });
    if (answer.kind === 'coverage') all.push(answer.files);
  }
  return all;
}

/** True when every planted bug is found. */
async function hunt(options: SimOptions): Promise<boolean> {
  const queue = mutantsOf(options.world).filter(({ name }) => name.startsWith(options.plant ?? ''));
  const findings: Finding[] = [];
  const next = async (): Promise<void> => {
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const finding = await huntOne(mutant, options);
      findings.push(finding);
      print(describeFinding(finding));
    }
  };
  await Promise.all(Array.from({ length: options.workers }, next));
  const found = findings.filter(({ report }) => report !== null).length;
  print(`${found} of ${findings.length} planted bugs found`);
  return found === findings.length;
}

async function huntOne(mutant: Mutant, options: SimOptions): Promise<Finding> {
  const worker = new SimWorker(options.world, mutant);
  try {
    for (let seeds = 1; seeds <= options.seeds; seeds++) {
      const report = await worker.run(options.seed + seeds - 1, options.traceLines);
      if (report.broken !== null) return { mutant, seeds, report };
    }
    return { mutant, seeds: options.seeds, report: null };
  } finally {
    worker.stop();
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function main(): Promise<number> {
  let options: SimOptions;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (err) {
    process.stderr.write(`${err instanceof Error ? err.message : String(err)}\n${USAGE}`);
    return 2;
  }
  return (await (options.mutants ? hunt(options) : simulate(options))) ? 0 : 1;
}

// A reader that goes away (`npm run sim | head`) is no error; the workers end with this process.
process.stdout.on('error', (err: NodeJS.ErrnoException) =>
  process.exit(err.code === 'EPIPE' ? 0 : 1),
);
process.exitCode = await main();
