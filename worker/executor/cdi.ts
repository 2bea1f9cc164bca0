/** Documents of the Container Device Interface (CNCF, 0.3 to 1.0): which devices there are, and what a container gets for one. Pure. */
import { SkepError } from '../../common/base/errors.ts';
import type { OciHook } from '../runtime/oci.ts';

export interface CdiDeviceNode {
  /** in the container */
  readonly path: string;
  readonly hostPath: string;
  /** letters of r, w, m */
  readonly permissions: string;
}

export interface CdiMount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly options: readonly string[];
}

export interface CdiEdits {
  readonly env: readonly string[];
  readonly deviceNodes: readonly CdiDeviceNode[];
  readonly mounts: readonly CdiMount[];
  readonly hooks: readonly OciHook[];
  readonly gids: readonly number[];
}

export interface CdiDevice {
  /** `nvidia.com/gpu` */
  readonly kind: string;
  readonly name: string;
  /** of all devices of its document, which have the same object: made once, whatever number of them is chosen */
  readonly shared: CdiEdits;
  /** of its own */
  readonly edits: CdiEdits;
}

export const NO_EDITS: CdiEdits = { env: [], deviceNodes: [], mounts: [], hooks: [], gids: [] };

const KIND = /^[A-Za-z0-9][A-Za-z0-9_.-]*\/[A-Za-z0-9][A-Za-z0-9_-]*$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.:-]*$/;
/** Keys of edits that are understood; another one would change the container in a way that is not ours. */
const EDIT_KEYS = ['env', 'deviceNodes', 'mounts', 'hooks', 'additionalGids'];

/** Each object once, at its first place. */
export function joinEdits(chosen: readonly CdiEdits[]): CdiEdits {
  const all = [...new Set(chosen)];
  return {
    env: all.flatMap(({ env }) => env),
    deviceNodes: all.flatMap(({ deviceNodes }) => deviceNodes),
    mounts: all.flatMap(({ mounts }) => mounts),
    hooks: all.flatMap(({ hooks }) => hooks),
    gids: all.flatMap(({ gids }) => gids),
  };
}

/**
 * Of one file, JSON or YAML. Throws `invalid-argument` with its path for what is no such document.
 * @param text of the file
 */
export async function parseCdi(text: string, path: string): Promise<CdiDevice[]> {
  // Few nodes have such documents, and the parser takes a megabyte.
  const { parse } = await import('yaml');
  const fail = (why: string, cause?: unknown): never => {
    throw new SkepError('invalid-argument', `CDI document ${path}: ${why}`, { cause });
  };
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    return fail('it is neither JSON nor YAML', cause);
  }
  const { kind, devices, containerEdits } = mapOf(document);
  if (typeof kind !== 'string' || !KIND.test(kind)) return fail('it has no kind VENDOR/CLASS');
  const edits = (value: unknown): CdiEdits => {
    const odd = Object.keys(mapOf(value)).find((key) => !EDIT_KEYS.includes(key));
    return odd === undefined ? editsOf(mapOf(value)) : fail(`"${odd}" is not known`);
  };
  const shared = edits(containerEdits);
  return listOf(devices).map((item) => {
    const { name, containerEdits: own } = mapOf(item);
    if (typeof name !== 'string' || !NAME.test(name)) return fail('a device has no name');
    return { kind, name, shared, edits: edits(own) };
  });
}

type Values = Readonly<Record<string, unknown>>;

function editsOf({ env, deviceNodes, mounts, hooks, additionalGids }: Values): CdiEdits {
  return {
    env: textsOf(env),
    deviceNodes: listOf(deviceNodes).map((item) => {
      const node = mapOf(item);
      const path = textOf(node['path']);
      const hostPath = textOf(node['hostPath']) || path;
      return { path, hostPath, permissions: textOf(node['permissions']) || 'rwm' };
    }),
    mounts: listOf(mounts).map((item) => {
      const { hostPath, containerPath, options } = mapOf(item);
      return {
        hostPath: textOf(hostPath),
        containerPath: textOf(containerPath),
        options: textsOf(options),
      };
    }),
    hooks: listOf(hooks).map((item) => {
      const hook = mapOf(item);
      const { hookName, path, timeout } = hook;
      return {
        stage: textOf(hookName),
        path: textOf(path),
        args: textsOf(hook['args']),
        env: textsOf(hook['env']),
        timeoutSeconds: typeof timeout === 'number' ? timeout : null,
      };
    }),
    gids: listOf(additionalGids).filter((gid) => typeof gid === 'number'),
  };
}

function mapOf(value: unknown): Values {
  return typeof value === 'object' && value !== null ? (value as Values) : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function textsOf(value: unknown): readonly string[] {
  return listOf(value).filter((item) => typeof item === 'string');
}
