/** What the sections of one stack file share while they are converted: names, networks, volumes. */
import { isAbsolute, join, normalize } from 'node:path';
import type { LabelsJson } from '../../common/model/engine-json.ts';
import type { Item, LoadState } from './item.ts';
import { NAMESPACE_LABEL, type StackRequest } from './stack.ts';

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
}

export interface StackScope {
  readonly request: StackRequest;
  readonly state: LoadState;
  readonly networks: ReadonlyMap<string, Declaration>;
  readonly volumes: ReadonlyMap<string, VolumeDeclaration>;
  readonly secrets: ReadonlyMap<string, Declaration>;
  readonly configs: ReadonlyMap<string, Declaration>;
  /** keys of networks that a service uses */
  readonly usedNetworks: Set<string>;
  /** further warnings, one line each */
  readonly warnings: Set<string>;
}

/** `<stack>_<key>` unless the file or the cluster names it otherwise. */
export function scopedName(stack: string, key: string): string {
  return `${stack}_${key}`;
}

export function withNamespace(stack: string, labels: LabelsJson): LabelsJson {
  return { ...labels, [NAMESPACE_LABEL]: stack };
}

/** Absolute, from the directory of the stack file; `~` is HOME. */
export function hostPath(request: StackRequest, path: string): string {
  const home = request.env['HOME'] ?? '';
  if (path === '~') return home;
  if (path.startsWith('~/')) return join(home, path.slice(2));
  return isAbsolute(path) ? normalize(path) : join(request.dir, path);
}

/** Reads a file named in the stack file; a failure is a problem at `item`. */
export function readNamedFile(scope: StackScope, item: Item, path: string): Uint8Array | null {
  try {
    return scope.request.readFile(hostPath(scope.request, path));
  } catch (err) {
    const code = (err as NodeJS.ErrnoException).code;
    item.problem(`${item.path}: cannot read ${path}: ${code ?? String(err)}`);
    return null;
  }
}
