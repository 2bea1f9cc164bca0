/** `skep stack lint | config`: what a stack file says, and what becomes of it. Needs no daemon. */
import { Option } from 'commander';
import type { Fact, FactKind } from '../compose/judge.ts';
import { type LintReport, lintStack, loadStackModel } from '../compose/load-stack.ts';
import { printModel } from '../compose/print.ts';
import { type Problem, StackFileError } from '../compose/problems.ts';
import { paintFor, type Tone } from '../output/palette.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  ExitError,
  printLine,
  warnLine,
} from './context.ts';
import { type FileFlags, fileFlags, stackRequest } from './stack-files.ts';

/** The stack's own name is of no consequence for what is printed. */
const ANY_NAME = 'stack';

interface LintFlags extends FileFlags {
  readonly output: 'text' | 'json';
}

export const lint: Configure = (command, context) => {
  fileFlags(
    command
      .argument('[file...]', 'stack files, or - for standard input')
      .option('-c, --compose-file <file>', 'a stack file, as the other commands take it', collect),
  )
    .addOption(
      new Option('-o, --output <format>', 'how to print').choices(['text', 'json']).default('text'),
    )
    .action(async (named: readonly string[], flags: LintFlags) => {
      const files = [...(flags.composeFile ?? []), ...named];
      const report = lintReport(await stackRequest(context, ANY_NAME, files, flags));
      if (flags.output === 'json') context.stdout.write(jsonReport(report));
      else textReport(context, report);
      const refused = report.facts.some(({ kind }) => kind === 'refused');
      if (refused || report.problems.length > 0) throw new ExitError(1);
    });
};

/** A file that cannot be read at all has problems and no facts. */
function lintReport(request: Parameters<typeof lintStack>[0]): LintReport {
  try {
    return lintStack(request);
  } catch (err) {
    if (!(err instanceof StackFileError)) throw err;
    return { facts: [], problems: err.problems, warnings: [] };
  }
}

function textReport(context: CommandContext, { facts, problems, warnings }: LintReport): void {
  const rows = facts.map((fact) => [placeOf(fact), fact.kind, fact.path, fact.text] as const);
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column]!.length)));
  const paint = paintFor(context.stdout, context.env);
  for (const [place, kind, path, text] of rows) {
    const [before, verdict, name] = [place, kind, path].map((cell, at) => cell.padEnd(widths[at]!));
    const toned = paint(verdict!, TONES[kind]);
    printLine(context, `${before}  ${toned}  ${name}  ${text}`.trimEnd());
  }
  if (facts.length > 0) printLine(context, countsLine(facts));
  for (const warning of warnings) warnLine(context, warning);
  if (problems.length > 0) warnLine(context, new StackFileError(problems).message);
}

const KINDS: readonly FactKind[] = [
  'honoured',
  'mapped',
  'ignored',
  'refused',
  'replaced',
  'merged',
  'extension',
];

const TONES: Readonly<Record<FactKind, Tone>> = {
  honoured: 'good',
  mapped: 'good',
  ignored: 'caution',
  refused: 'bad',
  replaced: 'faint',
  merged: 'faint',
  extension: 'faint',
};

function countsLine(facts: readonly Fact[]): string {
  return KINDS.map((kind) => [facts.filter((fact) => fact.kind === kind).length, kind] as const)
    .filter(([count]) => count > 0)
    .map(([count, kind]) => `${count} ${kind}`)
    .join(', ');
}

function placeOf({ place }: Fact): string {
  const { line, column } = place.source.position(place.start);
  return `${place.source.path}:${line}:${column}`;
}

function jsonReport({ facts, problems, warnings }: LintReport): string {
  const report = {
    keys: facts.map(({ path, place, kind, text }) => ({
      file: place.source.path,
      ...place.source.position(place.start),
      path,
      verdict: kind,
      text,
    })),
    problems: problems.map(({ source, line, column, message }: Problem) => ({
      file: source.path,
      line,
      column,
      message,
    })),
    warnings,
  };
  return `${JSON.stringify(report, null, 2)}\n`;
}

interface ConfigFlags extends FileFlags {
  readonly origins?: boolean;
  readonly skipInterpolation?: boolean;
}

export const config: Configure = (command, context) => {
  fileFlags(
    command.option('-c, --compose-file <file>', 'stack file, or - for standard input', collect),
  )
    .option('--origins', 'beside each value, the file and line that it came from')
    .option('--skip-interpolation', 'leave variables as they are written')
    .action(async (flags: ConfigFlags) => {
      const interpolate = !flags.skipInterpolation;
      const request = await stackRequest(context, ANY_NAME, flags.composeFile ?? [], flags);
      const { model, warnings } = loadStackModel({ ...request, interpolate });
      for (const warning of warnings) warnLine(context, warning);
      const options = { escapeDollars: interpolate, origins: flags.origins ?? false };
      context.stdout.write(printModel(model, options));
    });
};
