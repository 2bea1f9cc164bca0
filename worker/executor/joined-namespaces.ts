/** Namespaces of other containers of this node in the place of a container's own. */
import { readlinkSync } from 'node:fs';
import type { ContainerBundle } from '../runtime/native-runtime.ts';
import type { OciMount, OciNamespace } from '../runtime/oci.ts';

export const JOINABLE = ['network', 'pid', 'ipc'] as const;
export type Joinable = (typeof JOINABLE)[number];

/** as the kernel names them in /proc/PID/ns */
const FILES: Readonly<Record<Joinable, string>> = { network: 'net', pid: 'pid', ipc: 'ipc' };

/** in messages */
export const JOINABLE_WORDS: Readonly<Record<Joinable, string>> = {
  network: 'network',
  pid: 'PID',
  ipc: 'IPC',
};

const SHM = '/dev/shm';

/** @param pids on the host, of a process in each namespace that is joined */
export function joinNamespaces(
  bundle: ContainerBundle,
  pids: ReadonlyMap<Joinable, number>,
): ContainerBundle {
  if (pids.size === 0) return bundle;
  const { spec } = bundle;
  const namespaces = spec.linux.namespaces.map((one): OciNamespace => {
    const pid = pids.get(one.type as Joinable);
    return pid === undefined ? one : { ...one, path: namespacePath(pid, one.type as Joinable) };
  });
  const ipc = pids.get('ipc');
  const mounts =
    ipc === undefined ? spec.mounts : spec.mounts.map((mount) => sharedShm(mount, ipc));
  return { ...bundle, spec: { ...spec, mounts, linux: { ...spec.linux, namespaces } } };
}

export function namespacePath(pid: number, kind: Joinable): string {
  return `/proc/${pid}/ns/${FILES[kind]}`;
}

/** Like `net:[4026531840]`; null = there is no such process (any more). */
export type NamespaceOf = (pid: number, kind: Joinable) => string | null;

export const namespaceOfProcess: NamespaceOf = (pid, kind) => {
  try {
    return readlinkSync(namespacePath(pid, kind));
  } catch {
    return null;
  }
};

/** What a container was to have of another one, whose process had that number then. */
export interface JoinedProcess {
  readonly pid: number;
  /** of the other container as it is now; 0 = it has ended */
  readonly pidNow: number;
}

/**
 * Whether a container that was made has what it was to have. A process may end between the look at its number and the
 * making, and any process of the host may have the number then.
 */
export function hasJoined(
  pid: number,
  joined: ReadonlyMap<Joinable, JoinedProcess>,
  namespaceOf: NamespaceOf = namespaceOfProcess,
): boolean {
  return [...joined].every(([kind, other]) => {
    const own = namespaceOf(pid, kind);
    return other.pidNow === other.pid && own !== null && own === namespaceOf(other.pid, kind);
  });
}

/** What is mounted there is the other's, by whatever name: shared memory goes with the namespace. */
function sharedShm(mount: OciMount, pid: number): OciMount {
  const isOwn = mount.type === 'tmpfs' || mount.sourceNamespace !== undefined;
  if (mount.destination !== SHM || !isOwn) return mount;
  return {
    destination: SHM,
    type: 'bind',
    source: SHM,
    options: [],
    sourceNamespace: `/proc/${pid}/ns/mnt`,
  };
}
