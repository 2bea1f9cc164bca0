/**
 * Stack files -> what the daemon is to have. Every mistake is told with its place, all at once;
 * what becomes of each key is told as well, so that nothing is dropped in silence.
 */
import { join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import { checkName } from '../../common/model/names.ts';
import { convertModel, type ExternalPlaces } from './convert.ts';
import type { Environment } from './files.ts';
import { type Fact, judgeKeys } from './judge.ts';
import { environmentWith, LoadContext, shownPaths } from './load-context.ts';
import { loadModel } from './model.ts';
import { type Problem, problemAt, SourceText, StackFileError, shownPlace } from './problems.ts';
import { activeServices } from './profiles.ts';
import type { Stack, StackRequest } from './stack.ts';
import type { MapValue } from './tree.ts';

export interface LoadedModel {
  /** merged, with its variables filled in and without services of other profiles */
  readonly model: MapValue;
  /** every key of every file, by place */
  readonly facts: readonly Fact[];
  /** one line each, for standard error */
  readonly warnings: readonly string[];
}

export interface LoadedStack extends LoadedModel {
  readonly stack: Stack;
  /** of what must exist */
  readonly places: ExternalPlaces;
}

const WARNINGS_MAX = 30;

/**
 * Throws `StackFileError` for files that cannot be used, `invalid-argument` for a stack name that
 * cannot be one or a file of variables that cannot be read.
 */
export function loadStack(request: StackRequest): LoadedStack {
  const { context, stack, places, model, facts } = convertRequest(request);
  const { problems } = context.findings;
  if (!request.ignoreRefused) problems.push(...facts.filter(isRefused).map(refusal));
  if (problems.length > 0) throw new StackFileError(problems);
  return { stack, places, model, facts: byPlace(facts), warnings: warningsOf(context, facts) };
}

export interface LintReport {
  readonly facts: readonly Fact[];
  /** what is wrong besides; refused keys are facts */
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

/** What becomes of the files, also when they cannot be used. Throws only when nothing can be read. */
export function lintStack(request: StackRequest): LintReport {
  const { context, facts } = convertRequest(request);
  return {
    facts: byPlace(facts),
    problems: context.findings.problems,
    warnings: noticesOf(context),
  };
}

function convertRequest(request: StackRequest) {
  checkName(request.name);
  const { context, env, model, facts } = readModel(request);
  const { stack, places } = convertModel(model, {
    request: { ...request, env },
    findings: context.findings,
    facts,
    readFile: (path, place, isRequired) => context.read(path, place, isRequired),
  });
  return { context, stack, places, model, facts };
}

/**
 * The model without what it becomes: values are checked for their shape only. Throws like
 * `loadStack`.
 */
export function loadStackModel(request: StackRequest): LoadedModel {
  const { context, model, facts } = readModel(request);
  if (context.findings.problems.length > 0) throw new StackFileError(context.findings.problems);
  return { model, facts: byPlace(facts), warnings: noticesOf(context) };
}

function readModel(request: StackRequest) {
  const first = request.files[0];
  if (!first) throw new SkepError('invalid-argument', 'no stack file is given');
  const context = new LoadContext({
    readFile: request.readFile,
    home: request.env['HOME'] ?? '',
    fixWhitespace: request.fixWhitespace,
    interpolate: request.interpolate,
    shown: shownPaths(request.dir, first.path),
  });
  const env = projectEnvironment(context, request);
  const whole = loadModel(context, {
    files: request.files.map(({ path, text, location }) => ({
      source: new SourceText(path, text),
      path: location,
    })),
    dir: request.dir,
    env,
  });
  if (!whole) throw new StackFileError(context.findings.problems);
  const { model, facts: inactive } = activeServices(whole, profilesOf(request, env));
  const facts = [...inactive, ...judgeKeys(model), ...contextFacts(context)];
  return { context, env, model, facts };
}

const isRefused = ({ kind }: Fact): boolean => kind === 'refused';

function refusal({ path, place, text }: Fact) {
  return problemAt(place, `${path} is refused: ${text} (--ignore-refused goes on without it)`);
}

/** Files of variables, under the command's own environment. */
function projectEnvironment(context: LoadContext, request: StackRequest): Environment {
  if (request.envFiles) return environmentWith(request.envFiles, request.env);
  const path = join(request.dir, '.env');
  const text = context.readIfThere(path);
  return text === undefined ? request.env : environmentWith([{ path: '.env', text }], request.env);
}

function profilesOf({ profiles }: StackRequest, env: Environment): readonly string[] {
  const named = (env['COMPOSE_PROFILES'] ?? '').split(',').map((name) => name.trim());
  return [...profiles, ...named.filter((name) => name !== '')];
}

/** Keys that did their work before there was a model, and values that a later file replaces. */
function contextFacts({ consumed, replaced }: LoadContext): Fact[] {
  return [
    ...consumed.map(
      ({ path, place }): Fact => ({
        path,
        place,
        kind: 'honoured',
        text: 'what it names is part of the stack',
      }),
    ),
    ...replaced.map(
      ({ kind, path, place, by }): Fact => ({
        path,
        place,
        kind,
        text: `${kind === 'merged' ? 'with' : 'by'} ${shownPlace(by)}`,
      }),
    ),
  ];
}

function byPlace(facts: readonly Fact[]): readonly Fact[] {
  const files = new Map<SourceText, number>();
  for (const { place } of facts) {
    if (!files.has(place.source)) files.set(place.source, files.size);
  }
  const order = ({ place }: Fact): number => files.get(place.source)!;
  return [...facts].sort((a, b) => order(a) - order(b) || a.place.start - b.place.start);
}

/** What was read otherwise than it is written, and variables that stand for nothing. */
function noticesOf({ mended, remarks }: LoadContext): string[] {
  const lines = remarks.map(({ place, text }) => `${shownPlace(place)}: ${text}`);
  return [...new Set([...mended, ...lines])];
}

/** Notices, and what has no effect. */
function warningsOf(context: LoadContext, facts: readonly Fact[]): string[] {
  const lines = byPlace(facts)
    .filter(({ kind }) => kind === 'ignored' || kind === 'refused')
    .map(({ path, place, text }) => `${shownPlace(place)}: ${path} has no effect: ${text}`);
  const all = [...noticesOf(context), ...new Set(lines)];
  const rest = all.length - WARNINGS_MAX;
  if (rest <= 0) return all;
  return [...all.slice(0, WARNINGS_MAX), `and ${rest} more: see skep stack lint`];
}
