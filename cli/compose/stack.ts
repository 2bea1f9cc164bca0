/** A stack as the daemon is to have it: what a stack file becomes. Plain data. */
import type { NetworkCreateJson } from '../../common/model/engine-json/network.ts';
import type { SecretSpecJson } from '../../common/model/engine-json/secret.ts';
import type { ServiceSpecJson } from '../../common/model/engine-json/service.ts';
import type { DependencyCondition } from '../../common/model/start-order.ts';
import type { Environment } from './files.ts';

/** A secret or config that a service uses; ids are known only after the objects exist. */
export interface FileUse {
  /** name in the cluster */
  readonly name: string;
  readonly target: string;
  readonly uid: string;
  readonly gid: string;
  readonly mode: number;
}

/** A service that another one waits for. */
export interface Dependency {
  /** key in the file */
  readonly service: string;
  readonly condition: DependencyCondition;
  /** false: its absence is no mistake */
  readonly required: boolean;
}

export interface StackService {
  /** key in the file */
  readonly key: string;
  readonly dependsOn: readonly Dependency[];
  /** without ids of secrets and configs; networks by name */
  readonly spec: ServiceSpecJson;
  readonly secrets: readonly FileUse[];
  readonly configs: readonly FileUse[];
}

/** A network, secret or config that is not the stack's. */
export interface ExternalObject {
  readonly kind: 'network' | 'secret' | 'config';
  readonly name: string;
}

/** In file order, networks and services sorted by name. */
export interface Stack {
  readonly name: string;
  /** to be made when missing */
  readonly networks: readonly NetworkCreateJson[];
  /** what must exist: those that services use, networks first */
  readonly external: readonly ExternalObject[];
  readonly secrets: readonly SecretSpecJson[];
  readonly configs: readonly SecretSpecJson[];
  readonly services: readonly StackService[];
}

/** A file by its text, and by the name that messages give it. */
export interface InputFile {
  readonly path: string;
  readonly text: string;
}

export interface StackFile extends InputFile {
  /** absolute path; any other text for what is no file */
  readonly location: string;
}

export interface StackRequest {
  /** name of the stack */
  readonly name: string;
  /** at least one; later ones go over earlier ones. Paths as the user gave them */
  readonly files: readonly StackFile[];
  /** absolute; relative paths in the files start here */
  readonly dir: string;
  /** the command's own environment */
  readonly env: Environment;
  /** files of further variables; null = `.env` of the directory, if there is one */
  readonly envFiles: readonly InputFile[] | null;
  /** besides those of COMPOSE_PROFILES; `*` is every one */
  readonly profiles: readonly string[];
  /** reads a file by absolute path; throws what the file system throws */
  readonly readFile: (path: string) => Uint8Array;
  /** takes odd blanks for spaces */
  readonly fixWhitespace: boolean;
  /** false: variables stay as they are written */
  readonly interpolate: boolean;
  /** refused keys are left out with a warning instead of being mistakes */
  readonly ignoreRefused: boolean;
}
