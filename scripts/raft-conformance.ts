/**
 * `npm run conformance:raft -- DIR [--exact] [--rewrite]`: runs the Raft scenario scripts in DIR
 * (etcd/raft's interaction, confchange and quorum files, or ours in test/scenarios/raft).
 *
 * Prints a diff per directive that came out otherwise (`-` expected, `+` came out) and a last line
 * `N passed, M failed` that counts directives. Exit status: 0 = none failed, 1 = some did, 2 = DIR
 * cannot be used. Log lines are left out of the comparison unless `--exact` is given. `--rewrite`
 * writes what came out into the scripts instead, to be read by a person before it is committed.
 */
import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import {
  checkScript,
  findScripts,
  regenerateScript,
  ScriptInputError,
  type ScriptReport,
} from '../test/support/raft-conformance.ts';

const USAGE = 'usage: npm run conformance:raft -- DIR [--exact] [--rewrite]';

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { exact: { type: 'boolean' }, rewrite: { type: 'boolean' } },
  });
  const [folder] = positionals;
  if (folder === undefined || positionals.length > 1) throw new ScriptInputError(USAGE);
  const scripts = findScripts(folder);
  if (values.rewrite === true) return rewrite(scripts);
  return report(scripts.map((path) => checkScript(path, { exact: values.exact === true })));
}

function rewrite(scripts: readonly string[]): number {
  const changed = scripts.filter(regenerateScript);
  for (const path of changed) console.log(`rewritten: ${nameOf(path)}`);
  console.log(`${changed.length} of ${scripts.length} files rewritten`);
  return 0;
}

function report(reports: readonly ScriptReport[]): number {
  const failures = reports.flatMap((one) => one.failures);
  for (const { path, line, command, diff } of failures) {
    console.log(`${nameOf(path)}:${line}: ${command}\n${diff.replace(/^/gm, '    ')}\n`);
  }
  const directives = reports.reduce((sum, one) => sum + one.directives, 0);
  const failedFiles = reports.filter((one) => one.failures.length > 0).length;
  console.log(`${reports.length} files, ${failedFiles} of them with failures`);
  console.log(`${directives - failures.length} passed, ${failures.length} failed`);
  return failures.length === 0 ? 0 : 1;
}

function nameOf(path: string): string {
  return relative(process.cwd(), path);
}

try {
  process.exitCode = main();
} catch (err) {
  const misuse = (err as { code?: unknown }).code?.toString().startsWith('ERR_PARSE_ARGS') === true;
  if (!misuse && !(err instanceof ScriptInputError)) throw err;
  const cause = (err as Error).cause;
  console.error((err as Error).message + (cause instanceof Error ? `: ${cause.message}` : ''));
  process.exitCode = 2;
}
