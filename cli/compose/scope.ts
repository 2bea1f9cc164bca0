/** What the sections of one stack file share while they are converted: names, networks, volumes. */
import type { NetworkCreateJson } from '../../common/model/engine-json/network.ts';
import type { LabelsJson } from '../../common/model/engine-json/object-head.ts';
import { NAMESPACE_LABEL } from '../../common/model/stack.ts';
import type { CompanionNames } from './companions.ts';
import type { Place } from './problems.ts';
import type { StackRequest } from './stack.ts';

/** A declared volume as its mounts carry it. */
export interface VolumeDeclaration {
  readonly name: string;
  readonly external: boolean;
  readonly driver: string;
  readonly driverOptions: LabelsJson;
  readonly labels: LabelsJson;
}

/** A declared network, secret or config. */
export interface Declaration {
  readonly name: string;
  readonly external: boolean;
  /** where the file says so; null of what no file declares */
  readonly place: Place | null;
}

export interface StackScope {
  readonly request: StackRequest;
  /** reads a file by absolute path; a failure is a problem at the place, and null; one that need not be there is no failure */
  readonly readFile: (path: string, place: Place, isRequired?: boolean) => Uint8Array | null;
  readonly networks: ReadonlyMap<string, Declaration>;
  /** as they are made, by key; those that are external are not read */
  readonly networkSpecs: ReadonlyMap<string, NetworkCreateJson>;
  readonly volumes: ReadonlyMap<string, VolumeDeclaration>;
  readonly secrets: ReadonlyMap<string, Declaration>;
  readonly configs: ReadonlyMap<string, Declaration>;
  readonly companions: CompanionNames;
  /** keys of networks that a service uses */
  readonly usedNetworks: Set<string>;
  readonly usedVolumes: Set<string>;
}

/** `<stack>_<key>` unless the file or the cluster names it otherwise. */
export function scopedName(stack: string, key: string): string {
  return `${stack}_${key}`;
}

export function withNamespace(stack: string, labels: LabelsJson): LabelsJson {
  return { ...labels, [NAMESPACE_LABEL]: stack };
}
