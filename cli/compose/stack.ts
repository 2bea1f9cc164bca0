/** A stack as the daemon is to have it: what a stack file becomes. Plain data. */
import type {
  NetworkCreateJson,
  SecretSpecJson,
  ServiceSpecJson,
} from '../../common/model/engine-json.ts';
import type { Environment } from './files.ts';

export const NAMESPACE_LABEL = 'com.docker.stack.namespace';
export const IMAGE_LABEL = 'com.docker.stack.image';

/** A secret or config that a service uses; ids are known only after the objects exist. */
export interface FileUse {
  /** name in the cluster */
  readonly name: string;
  readonly target: string;
  readonly uid: string;
  readonly gid: string;
  readonly mode: number;
}

export interface StackService {
  /** key in the file */
  readonly key: string;
  /** without ids of secrets and configs; networks by name */
  readonly spec: ServiceSpecJson;
  readonly secrets: readonly FileUse[];
  readonly configs: readonly FileUse[];
}

/** In file order, networks and services sorted by name. */
export interface Stack {
  readonly name: string;
  /** to be made when missing */
  readonly networks: readonly NetworkCreateJson[];
  /** names of networks that must exist */
  readonly externalNetworks: readonly string[];
  readonly secrets: readonly SecretSpecJson[];
  readonly configs: readonly SecretSpecJson[];
  readonly services: readonly StackService[];
  /** one line each, for standard error */
  readonly warnings: readonly string[];
}

export interface StackRequest {
  /** name of the stack */
  readonly name: string;
  /** path of the file as the user gave it, for messages */
  readonly path: string;
  readonly text: string;
  /** absolute; relative paths in the file start here */
  readonly dir: string;
  readonly env: Environment;
  /** reads a file by absolute path; throws what the file system throws */
  readonly readFile: (path: string) => Uint8Array;
}
