/**
 * Secrets and configs of a stack by content: data cannot be changed, so a changed file becomes another
 * version, an object of its own under a name that says which. The services that use the file then refer
 * to that version, and to no other before their own update.
 */
import { deepEqual } from '../../common/base/equal.ts';
import { SkepError } from '../../common/base/errors.ts';
import { FILE_NAME_CHARS_MAX } from '../../common/model/names.ts';
import {
  CONFIG_BYTES_LIMIT,
  type Config,
  type ConfigSpec,
  SECRET_BYTES_LIMIT,
  type Secret,
  type SecretSpec,
} from '../../common/model/secret.ts';
import {
  fileLabels,
  NAMESPACE_LABEL,
  type StackChange,
  VERSION_OF_LABEL,
  versionName,
  versionOf,
  type WantedFile,
  type WantedStack,
} from '../../common/model/stack.ts';
import type { ReadView } from '../store/types.ts';
import { checkFile } from './files.ts';
import { invalid } from './refusal.ts';

type FileKind = 'secret' | 'config';
type FileObject = Secret | Config;
type AnyFile = WantedFile<SecretSpec | ConfigSpec>;

/** The object behind a name; `id` null = to be created. */
export interface PlannedFile {
  readonly id: string | null;
  readonly object: string;
}

export interface PlannedFiles {
  readonly changes: readonly StackChange[];
  /** by the stack's name, or by that of an object outside of the stack. Throws `invalid-argument` */
  require(name: string): PlannedFile;
}

export function planFiles(view: ReadView, kind: FileKind, stack: WantedStack): PlannedFiles {
  const files: readonly AnyFile[] = kind === 'secret' ? stack.secrets : stack.configs;
  const planned = new Map<string, StackChange>();
  for (const file of files) {
    const { name } = file.spec;
    if (planned.has(name)) throw invalid(`${kind} ${name} is given twice`);
    planned.set(name, planFile(view, kind, stack.name, file));
  }
  return {
    changes: [...planned.values()],
    require(name) {
      const own = planned.get(name);
      if (own) return own;
      const [other] = view.byName(kind, name);
      if (!other) throw invalid(`${kind} not found: ${name}`);
      return { id: other.id, object: other.spec.name };
    },
  };
}

function planFile(view: ReadView, kind: FileKind, stack: string, file: AnyFile): StackChange {
  const { spec } = file;
  if (file.object !== null) {
    const [object] = view.byName(kind, file.object);
    if (!object) throw new SkepError('not-found', `${kind} ${file.object} is no longer kept`);
    return relabelled(kind, object, spec);
  }
  checkFile(kind, spec, kind === 'secret' ? SECRET_BYTES_LIMIT : CONFIG_BYTES_LIMIT);
  const versions = versionsOf(view, kind, stack, spec.name);
  const same = versions.find((object) => hasContent(object.spec, spec));
  if (same) return relabelled(kind, same, spec);
  const last = versions[0];
  const next = last ? versionOf(last.spec.name, last.spec.labels) + 1 : 1;
  return {
    kind,
    name: spec.name,
    object: versionName(spec.name, next, FILE_NAME_CHARS_MAX),
    id: null,
    version: 0,
    specVersion: 0,
    action: 'create',
    fields: last ? ['content'] : [],
    forcedBy: [],
    replacedTasks: 0,
    note: last ? `a new version: the one before was ${last.spec.name}` : '',
    landing: null,
  };
}

/** Newest first. An object of the very name is a version, whoever made it. */
function versionsOf(
  view: ReadView,
  kind: FileKind,
  stack: string,
  name: string,
): readonly FileObject[] {
  const objects: readonly FileObject[] = view.list(kind);
  return objects
    .filter(({ spec }) => {
      if (spec.name === name) return true;
      const { [NAMESPACE_LABEL]: owner, [VERSION_OF_LABEL]: of } = spec.labels;
      return owner === stack && of === name;
    })
    .sort((a, b) => versionOf(b.spec.name, b.spec.labels) - versionOf(a.spec.name, a.spec.labels));
}

function hasContent(spec: FileObject['spec'], wanted: AnyFile['spec']): boolean {
  return spec.templateDriver === wanted.templateDriver && deepEqual(spec.data, wanted.data);
}

function relabelled(kind: FileKind, object: FileObject, wanted: AnyFile['spec']): StackChange {
  const labels = fileLabels(wanted.name, object.spec.name, wanted.labels);
  const same = deepEqual(labels, object.spec.labels);
  return {
    kind,
    name: wanted.name,
    object: object.spec.name,
    id: object.id,
    version: object.meta.version,
    specVersion: object.meta.version,
    action: same ? 'none' : 'update',
    fields: same ? [] : ['labels'],
    forcedBy: [],
    replacedTasks: 0,
    note: '',
    landing: null,
  };
}
