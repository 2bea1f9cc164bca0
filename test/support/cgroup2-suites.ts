/**
 * Runs suites of the runtime on this machine and prints how each test went, one JSON object. The argument is a folder with
 * them (bundled.ts), which share one process: to load them took most of the time there. Started in
 * a VM whose kernel has every controller on cgroup v2 (test/support/cgroup2-vm), which is about twenty
 * times slower: nothing there may be given up as early as elsewhere.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const PATIENCE_MS = 120_000;
const REPORT = '/run/suites.json';
const WORDS_MAX = 600;

/** What runtime-cgroup2.test.ts reads. */
export interface SuiteReport {
  readonly file: string;
  readonly tests: readonly {
    readonly name: string;
    readonly status: string;
    /** why it failed; '' = it did not */
    readonly words: string;
  }[];
}

interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

const run = spawnSync(
  'node_modules/.bin/vitest',
  [
    ...['run', '--root', process.argv[2] ?? '.', '--no-file-parallelism', '--no-isolate'],
    ...['--reporter=json', `--outputFile=${REPORT}`],
    ...[`--testTimeout=${PATIENCE_MS}`, `--hookTimeout=${PATIENCE_MS}`],
    `--expect.poll.timeout=${PATIENCE_MS / 2}`,
  ],
  { encoding: 'utf8' },
);
let report: VitestReport;
try {
  report = JSON.parse(readFileSync(REPORT, 'utf8'));
} catch {
  throw new Error(`vitest ended with ${run.status}\n${run.stdout}\n${run.stderr}`);
}
const suites: SuiteReport[] = report.testResults.map(({ name, message, assertionResults }) => ({
  file: name,
  tests:
    assertionResults.length > 0
      ? assertionResults.map(({ fullName, status, failureMessages }) => ({
          name: fullName,
          status,
          words: (failureMessages ?? []).join('\n').slice(0, WORDS_MAX),
        }))
      : [{ name, status: 'failed', words: (message ?? '').slice(0, WORDS_MAX) }],
}));
console.log(`suites ${JSON.stringify(suites)}`);
