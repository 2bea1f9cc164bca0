/** A stack: the objects of one stack file as the cluster is to have them, and what it takes to get there. */
import type { NetworkSpec } from './network.ts';
import type { StringMap } from './objects.ts';
import type { PlacementForecast } from './placement.ts';
import type { ConfigSpec, SecretSpec } from './secret.ts';
import type { ServiceSpec } from './service.ts';

/** Docker's label of everything that belongs to a stack. */
export const NAMESPACE_LABEL = 'com.docker.stack.namespace';
/** Docker's label of the image as the stack file names it. */
export const IMAGE_LABEL = 'com.docker.stack.image';
/** The name that a stack gives a secret or config of which this object is a later version. */
export const VERSION_OF_LABEL = 'com.skep.stack.version-of';

/** The number of the deployment that this config is the record of. */
export const DEPLOYMENT_LABEL = 'com.skep.stack.deployment';

/** The replicas that a service had before it was stopped; it is stopped while it has this label. */
export const STOPPED_LABEL = 'com.skep.stack.stopped';

/** A secret or config by the name that the stack gives it. */
export interface WantedFile<Spec extends SecretSpec | ConfigSpec> {
  /** without data when `object` is given */
  readonly spec: Spec;
  /** name of the object that holds this content already; null = look for one, or make a version */
  readonly object: string | null;
}

export interface WantedStack {
  readonly name: string;
  readonly networks: readonly NetworkSpec[];
  readonly secrets: readonly WantedFile<SecretSpec>[];
  readonly configs: readonly WantedFile<ConfigSpec>[];
  /** networks, secrets and configs by the stack's names for them; ids of the last two are empty */
  readonly services: readonly ServiceSpec[];
  /** services of the stack that are not among `services` go */
  readonly prune: boolean;
}

/**
 * `update`: in place. `replace`: an update that replaces tasks, or runs a job again. `none`: it is as
 * wanted, or stays as it is for the reason in `note`.
 */
export type StackAction = 'create' | 'update' | 'replace' | 'remove' | 'none';

export interface StackChange {
  readonly kind: 'network' | 'secret' | 'config' | 'service';
  /** the stack's name for it */
  readonly name: string;
  /** name of the object: of files, that of the version */
  readonly object: string;
  /** null for what is to be created */
  readonly id: string | null;
  /** that the object had; 0 for what is to be created */
  readonly version: number;
  /** the same as long as nobody changes its spec; of services, whose version grows by itself, another number */
  readonly specVersion: number;
  readonly action: StackAction;
  /** what differs, in the words of stack files */
  readonly fields: readonly string[];
  /** those of them by which tasks are replaced */
  readonly forcedBy: readonly string[];
  /** tasks that the orchestrator would replace, of those that are wanted now */
  readonly replacedTasks: number;
  /** '' = nothing more to say */
  readonly note: string;
  /** where the tasks that come would land now; null = none come, or it was not asked */
  readonly landing: PlacementForecast | null;
}

export interface StackPlan {
  readonly name: string;
  /** in the order in which they are to be made: what others refer to, or wait for, first */
  readonly changes: readonly StackChange[];
  /** the same for the same stack on the same state of these objects; tells nothing of secrets */
  readonly hash: string;
}

/** Labels that say something to the cluster; their changes are told by what they stand for. */
export function isStackLabel(label: string): boolean {
  return label.startsWith('com.docker.stack.') || label.startsWith('com.skep.stack.');
}

/** Name of the n-th version of a file: the first has the stack's own name. */
export function versionName(name: string, version: number, charsMax: number): string {
  if (version === 1) return name;
  const suffix = `.${version}`;
  return `${name.slice(0, charsMax - suffix.length)}${suffix}`;
}

/** Labels of a version: those of the file, and whose version it is. */
export function fileLabels(name: string, object: string, labels: StringMap): StringMap {
  return object === name ? labels : { ...labels, [VERSION_OF_LABEL]: name };
}

/** The number in a version's name. */
export function versionOf(object: string, labels: StringMap): number {
  if (labels[VERSION_OF_LABEL] === undefined) return 1;
  const number = Number(object.slice(object.lastIndexOf('.') + 1));
  return Number.isSafeInteger(number) ? number : 1;
}
