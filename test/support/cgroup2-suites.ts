/**
 * Runs suites of the runtime on this machine and prints, for each of them, a line when it begins and one when it has ended
 * with how its tests went: what a machine that is out of time had done is known. The argument is a folder with
 * them (bundled.ts), which share one process: to load them took most of the time there. Started in
 * a VM whose kernel has every controller on cgroup v2 (test/support/cgroup2-vm), which is about twenty
 * times slower: nothing there may be given up as early as elsewhere.
 */
import { basename } from 'node:path';
import { type Reporter, startVitest, type TestModule } from 'vitest/node';

const PATIENCE_MS = 120_000;
const WORDS_MAX = 600;

interface TestReport {
  readonly name: string;
  readonly status: string;
  /** why it failed; '' = it did not */
  readonly words: string;
}

/** What runtime-cgroup2.test.ts reads: `begun NAME` and `suite JSON`. */
export interface SuiteReport {
  /** of its file, without `.mjs` */
  readonly name: string;
  readonly tests: readonly TestReport[];
}

const nameOf = ({ moduleId }: TestModule): string => basename(moduleId, '.mjs');

function wordsOf(errors: readonly { message: string; stack?: string | undefined }[]): string {
  return errors
    .map(({ message, stack }) => stack ?? message)
    .join('\n')
    .slice(0, WORDS_MAX);
}

function reportOf(module: TestModule): SuiteReport {
  // What failed outside of its tests: loading it, and what it does before and after them.
  const around = [module, ...module.children.allSuites()]
    .filter((part) => part.errors().length > 0)
    .map((part) => ({
      name: part.type === 'suite' ? part.fullName : nameOf(module),
      status: 'failed',
      words: wordsOf(part.errors()),
    }));
  const tests = Array.from(module.children.allTests(), (test): TestReport => {
    const { state, errors } = test.result();
    return { name: test.fullName, status: state, words: wordsOf(errors ?? []) };
  });
  return { name: nameOf(module), tests: [...around, ...tests] };
}

const reporter: Reporter = {
  onTestModuleStart: (module) => console.log(`begun ${nameOf(module)}`),
  onTestModuleEnd: (module) => console.log(`suite ${JSON.stringify(reportOf(module))}`),
};

const vitest = await startVitest('test', [], {
  root: process.argv[2] ?? '.',
  watch: false,
  fileParallelism: false,
  isolate: false,
  reporters: [reporter],
  testTimeout: PATIENCE_MS,
  hookTimeout: PATIENCE_MS,
  expect: { poll: { timeout: PATIENCE_MS / 2 } },
});
await vitest.close();
