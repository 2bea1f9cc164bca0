/** What a node has to make containers with: our own shim, and the OCI runtimes that its operator offers. Pure. */
import { SkepError } from '../../common/base/errors.ts';
import type { OciRuntime } from '../runtime/oci-config.ts';

/** The name of our own. */
export const NATIVE_RUNTIME = 'native';

export interface NodeRuntimes {
  /** of containers that name none; our own, or one of `others` */
  readonly defaultName: string;
  /** name -> path of the program */
  readonly others: ReadonlyMap<string, string>;
}

export const NATIVE_ONLY: NodeRuntimes = { defaultName: NATIVE_RUNTIME, others: new Map() };

/** The runtime's name in full. @param asked '' = the node's own choice */
export function runtimeName(asked: string, { defaultName }: NodeRuntimes): string {
  return asked === '' ? defaultName : asked;
}

/** null = our own. Throws `invalid-argument` with Docker's words for one that is not offered here. */
export function runtimeOf(asked: string, runtimes: NodeRuntimes): OciRuntime | null {
  const name = runtimeName(asked, runtimes);
  if (name === NATIVE_RUNTIME) return null;
  const path = runtimes.others.get(name);
  if (path !== undefined) return { name, path };
  throw new SkepError('invalid-argument', `unknown or invalid runtime name: ${name}`);
}
