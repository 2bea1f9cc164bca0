/**
 * `include`: what other files declare, each read with paths and variables of its own. Nothing is
 * merged: a name that both declare otherwise is a mistake.
 */
import { dirname } from 'node:path';

import { absolutePath } from './conform.ts';
import type { Environment } from './files.ts';
import { environmentWith, type LoadContext, type ProjectFiles } from './load-context.ts';
import { StackFileError } from './problems.ts';
import {
  type MapEntry,
  type MapValue,
  mapValue,
  member,
  plain,
  textOf,
  type Value,
  withEntries,
} from './tree.ts';

const SECTIONS = ['services', 'networks', 'volumes', 'secrets', 'configs', 'models'];

interface Here {
  readonly dir: string;
  readonly env: Environment;
}

/** @param chain absolute paths of the files that led here, this one last */
export function includedModels(
  context: LoadContext,
  root: MapValue,
  here: Here,
  chain: readonly string[],
  load: (project: ProjectFiles) => MapValue | null,
): MapValue {
  const entry = root.entries.get('include');
  if (entry?.value.kind !== 'list') return root;
  context.consumed.push({ path: 'include', place: entry.keyPlace });
  const rest = new Map(root.entries);
  rest.delete('include');
  let whole = mapValue(root.place, rest, root.mark);
  for (const item of entry.value.items) {
    const project = projectOf(context, item, here, chain);
    const model = project && load(project);
    if (model) whole = imported(context, whole, model);
  }
  return whole;
}

/** null when its mistake was told. */
function projectOf(
  context: LoadContext,
  item: Value,
  { dir, env }: Here,
  chain: readonly string[],
): ProjectFiles | null {
  const base = context.base(dir);
  const paths = textsOf(item.kind === 'map' ? member(item, 'path') : item);
  const files = paths.flatMap(({ text, value }) => {
    const path = absolutePath(base, text);
    if (chain.includes(path)) {
      context.findings.problem(value.place, `files include each other in a ring: ${text}`);
      return [];
    }
    const source = context.open(path, value.place);
    return source ? [{ source, path }] : [];
  });
  const first = files[0];
  if (!first) {
    if (paths.length === 0) context.findings.problem(item.place, 'include: path is required');
    return null;
  }
  const directory = textOf(member(item, 'project_directory'));
  const projectDir = directory === undefined ? dirname(first.path) : absolutePath(base, directory);
  return { files, dir: projectDir, env: includedEnv(context, item, { dir, env }, projectDir) };
}

/** The variables of the including file win over those of the included one's own files. */
function includedEnv(
  context: LoadContext,
  item: Value,
  { dir, env }: Here,
  projectDir: string,
): Environment {
  const named = textsOf(member(item, 'env_file'));
  try {
    if (named.length > 0) {
      const files = named.flatMap(({ text, value }) => {
        const bytes = context.read(absolutePath(context.base(dir), text), value.place);
        return bytes ? [{ path: text, text: Buffer.from(bytes).toString('utf8') }] : [];
      });
      return environmentWith(files, env);
    }
    const path = `${projectDir}/.env`;
    const bytes = context.read(path, item.place, false);
    if (!bytes) return env;
    return environmentWith([{ path, text: Buffer.from(bytes).toString('utf8') }], env);
  } catch (err) {
    if (!(err instanceof StackFileError)) throw err;
    context.findings.problems.push(...err.problems);
    return env;
  }
}

function textsOf(value: Value | undefined): { readonly text: string; readonly value: Value }[] {
  const items = value?.kind === 'list' ? value.items : value ? [value] : [];
  return items.flatMap((item) => {
    const text = textOf(item);
    return text === undefined ? [] : [{ text, value: item }];
  });
}

function imported(context: LoadContext, root: MapValue, model: MapValue): MapValue {
  const changes = new Map<string, MapEntry>();
  for (const name of SECTIONS) {
    const theirs = model.entries.get(name);
    if (theirs?.value.kind !== 'map') continue;
    const ours = root.entries.get(name);
    if (ours?.value.kind !== 'map') {
      changes.set(name, theirs);
      continue;
    }
    const entries = new Map(ours.value.entries);
    for (const [key, entry] of theirs.value.entries) {
      const own = entries.get(key);
      if (!own) entries.set(key, entry);
      else if (!sameValue(own.value, entry.value)) conflict(context, `${name}.${key}`, own, entry);
    }
    const section = mapValue(ours.value.place, entries, ours.value.mark);
    changes.set(name, { keyPlace: ours.keyPlace, value: section });
  }
  return withEntries(root, changes);
}

function sameValue(a: Value, b: Value): boolean {
  return JSON.stringify(plain(a)) === JSON.stringify(plain(b));
}

function conflict(context: LoadContext, path: string, own: MapEntry, theirs: MapEntry): void {
  const { source, start } = theirs.keyPlace;
  const where = `${source.path}:${source.position(start).line}`;
  context.findings.problem(
    own.keyPlace,
    `${path} stands in the included ${where} as well: changes of what is included belong into a further file under include's path`,
  );
}
