/**
 * OCI spec -> the shim's flat format (native/include/skep_spec.h is the reference). Refuses, by the
 * name of the field, what the shim cannot do; touches no file.
 */
import { SkepError } from '../../common/base/errors.ts';
import { sysctlNamespace, sysctlPath } from '../../common/model/sysctl.ts';
import { ULIMITS } from '../../common/model/ulimits.ts';
import { capabilityMask } from './capabilities.ts';
import { parseMountOptions } from './mount-options.ts';
import type { OciIdMapping, OciMount, OciNamespaceType, OciProcess, OciSpec } from './oci.ts';

const MAGIC = 0x504b5353;
const VERSION = 5;

const NAMESPACE_FLAGS: Readonly<Record<OciNamespaceType, number>> = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
};

const PROCESS_FLAGS = {
  noNewPrivileges: 1,
  stdin: 2,
  createCwd: 4,
  tty: 8,
  oomScore: 16,
  init: 32,
  size: 64,
} as const;

const MOUNT_KINDS = { fileSystem: 0, bind: 1, idMapped: 2, noLinks: 4, foreign: 8 } as const;
const FILE_TYPES = { c: 0o020000, b: 0o060000, p: 0o010000 } as const;

/** Where the cgroup layer wants the init to be put. */
export interface CgroupPlacement {
  /** directory of a cgroup2 group, '' = none */
  readonly cgroup2Dir: string;
  /** `tasks` files of v1 hierarchies: the init has one thread */
  readonly tasksFiles: readonly string[];
  /** a file with a line `oom_kill N`, '' = none */
  readonly oomFile: string;
  /** what a mount of type `cgroup` becomes */
  readonly mounts: (mount: OciMount) => OciMount[];
}

export interface SpecContext {
  readonly cgroup: CgroupPlacement;
  /** the seccomp filter, `struct sock_filter[]`; empty = none */
  readonly seccomp: Uint8Array;
  readonly logMaxBytes: number;
  readonly logMaxFiles: number;
  /** program that makes the container by the `config.json` of the task directory; '' = the shim does */
  readonly ociRuntime: string;
}

/** Grows by doubling; strings are length-prefixed and NUL-terminated. */
class Writer {
  #bytes = Buffer.alloc(4096);
  #length = 0;

  #reserve(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(this.#bytes.length * 2, this.#length));
      this.#bytes.copy(grown);
      this.#bytes = grown;
    }
    return at;
  }

  u32(value: number): void {
    const at = this.#reserve(4); // first: it may replace the buffer
    this.#bytes.writeUInt32LE(value >>> 0, at);
  }

  u64(value: bigint): void {
    const at = this.#reserve(8);
    this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, value), at);
  }

  str(value: string, field: string): void {
    if (value.includes('\0')) {
      throw new SkepError('invalid-argument', `encode ${field}: contains a NUL character`);
    }
    const encoded = Buffer.from(value, 'utf8');
    this.u32(encoded.length);
    this.raw(encoded);
    const end = this.#reserve(1);
    this.#bytes.writeUInt8(0, end);
  }

  raw(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
  }

  list<T>(items: readonly T[], each: (item: T) => void): void {
    this.u32(items.length);
    for (const item of items) each(item);
  }

  strings(items: readonly string[], field: string): void {
    this.list(items, (item) => this.str(item, field));
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}

/** The spec of a container's shim. Throws `invalid-argument` naming the field that cannot be honoured. */
export function encodeSpec(spec: OciSpec, context: SpecContext): Buffer {
  const out = new Writer();
  const { cgroup } = context;
  const [hook] = context.ociRuntime === '' ? (spec.hooks ?? []) : [];
  if (hook) {
    const words = `hook ${hook.stage} ${hook.path}: hooks, as CDI devices may have them, are run by other runtimes only: --runtime crun or runc`;
    throw new SkepError('unimplemented', words);
  }
  out.u32(MAGIC);
  out.u32(VERSION);
  writeNamespaces(out, spec);
  out.str(spec.hostname, 'hostname');
  out.str(spec.domainname ?? '', 'domainname');
  out.str(cgroup.cgroup2Dir, 'cgroup');
  out.strings(cgroup.tasksFiles, 'cgroup');
  out.str(cgroup.oomFile, 'cgroup');
  if (spec.root.lowerDirs.length === 0) {
    throw new SkepError('invalid-argument', 'encode root: no image layer');
  }
  for (const dir of spec.root.lowerDirs) requireAbsolute(dir, 'root.lowerDirs');
  out.strings(spec.root.lowerDirs, 'root.lowerDirs');
  out.u32(spec.root.readonly ? 1 : 0);
  const mounts = spec.mounts.flatMap((mount) =>
    mount.type === 'cgroup' ? cgroup.mounts(mount) : [mount],
  );
  out.list(mounts, (mount) => writeMount(out, mount));
  out.list(spec.linux.devices, (device) => {
    requireAbsolute(device.path, 'linux.devices');
    out.str(device.path, 'linux.devices');
    out.u32(FILE_TYPES[device.type] | (device.fileMode & 0o7777));
    for (const n of [device.major, device.minor, device.uid, device.gid]) out.u32(n);
  });
  out.strings(spec.linux.maskedPaths, 'linux.maskedPaths');
  out.strings(spec.linux.readonlyPaths, 'linux.readonlyPaths');
  out.list(Object.entries(spec.linux.sysctl), ([name, value]) => {
    out.str(ownSysctlPath(name, spec.linux.namespaces), 'linux.sysctl');
    out.str(value, 'linux.sysctl');
  });
  out.str(spec.process.apparmorProfile ?? '', 'process.apparmorProfile');
  out.u64(BigInt(context.logMaxBytes));
  out.u32(context.logMaxFiles);
  out.str(context.ociRuntime, 'runtime');
  writeProcess(out, spec.process, context.seccomp, mainFlags(spec.process));
  return out.finish();
}

export interface ExecPayloadOptions {
  readonly seccomp: Uint8Array;
  readonly stdin: boolean;
  readonly tty: boolean;
  /** rows and columns of its terminal, from SIZED_EXEC_VERSION on; null = nobody said */
  readonly size: readonly [number, number] | null;
}

/** The payload of an exec request. */
export function encodeProcess(
  process: OciProcess,
  { seccomp, stdin, tty, size }: ExecPayloadOptions,
): Buffer {
  const out = new Writer();
  const flags =
    (stdin ? PROCESS_FLAGS.stdin : 0) |
    (tty ? PROCESS_FLAGS.tty : 0) |
    (size ? PROCESS_FLAGS.size : 0);
  writeProcess(out, process, seccomp, flags);
  for (const cells of size ?? []) out.u32(cells);
  return out.finish();
}

function mainFlags({ openStdin, terminal, init }: OciProcess): number {
  return (
    PROCESS_FLAGS.createCwd |
    (openStdin ? PROCESS_FLAGS.stdin : 0) |
    (terminal ? PROCESS_FLAGS.tty : 0) |
    (init ? PROCESS_FLAGS.init : 0)
  );
}

function writeNamespaces(out: Writer, spec: OciSpec): void {
  const { namespaces } = spec.linux;
  if (!namespaces.some((ns) => ns.type === 'mount' && ns.path === undefined)) {
    throw new SkepError(
      'invalid-argument',
      'encode linux.namespaces: a new mount namespace is required',
    );
  }
  let flags = 0;
  for (const ns of namespaces) if (ns.path === undefined) flags |= NAMESPACE_FLAGS[ns.type];
  out.u64(BigInt(flags >>> 0));
  const joined = namespaces.filter((ns) => ns.path !== undefined);
  out.list(joined, (ns) => {
    if (ns.type === 'mount' || ns.type === 'user') {
      throw new SkepError(
        'invalid-argument',
        `encode linux.namespaces: joining a ${ns.type} namespace by path is not supported`,
      );
    }
    requireAbsolute(ns.path ?? '', 'linux.namespaces');
    out.u32(NAMESPACE_FLAGS[ns.type]);
    out.str(ns.path ?? '', 'linux.namespaces');
  });
  writeIdMappings(out, spec);
}

/** Namespaces that are joined belong to another user namespace: this one would have no rights in them. */
function writeIdMappings(out: Writer, { linux, mounts }: OciSpec): void {
  const { namespaces, uidMappings = [], gidMappings = [] } = linux;
  const isMapped = namespaces.some(({ type }) => type === 'user');
  const joined = namespaces.find(({ path }) => path !== undefined);
  if (isMapped !== uidMappings.length > 0 || isMapped !== gidMappings.length > 0) {
    const words = 'encode linux.uidMappings: they go with a user namespace, and it with them';
    throw new SkepError('invalid-argument', words);
  }
  if (isMapped && joined) {
    const words = `encode linux.namespaces: a user namespace and the ${joined.type} namespace of another container`;
    throw new SkepError('invalid-argument', `${words} do not go together`);
  }
  if (!isMapped && mounts.some(({ options }) => options.includes('idmap'))) {
    const words = 'encode mounts: option "idmap" needs a user namespace';
    throw new SkepError('invalid-argument', words);
  }
  const write = ({ containerID, hostID, size }: OciIdMapping): void => {
    for (const id of [containerID, hostID, size]) out.u32(id);
  };
  out.list(uidMappings, write);
  out.list(gidMappings, write);
}

function writeMount(out: Writer, mount: OciMount): void {
  requireAbsolute(mount.destination, 'mounts');
  const parsed = parseMountOptions(mount);
  if (parsed.bind) requireAbsolute(mount.source, 'mounts');
  const bindKind = parsed.idMapped ? MOUNT_KINDS.idMapped : MOUNT_KINDS.bind;
  const from =
    (mount.plainSource ? MOUNT_KINDS.noLinks : 0) |
    (mount.sourceNamespace ? MOUNT_KINDS.foreign : 0);
  if (mount.sourceNamespace && !parsed.bind) {
    throw new SkepError('invalid-argument', 'encode mounts: only binds have a sourceNamespace');
  }
  out.u32(parsed.bind ? bindKind | from : MOUNT_KINDS.fileSystem);
  out.str(mount.source, 'mounts');
  out.str(mount.destination, 'mounts');
  out.str(parsed.bind ? 'none' : mount.type, 'mounts');
  out.str(mount.sourceNamespace ?? parsed.data, 'mounts');
  out.u64(BigInt(parsed.flags));
  out.u64(BigInt(parsed.attributes));
  out.u32(parsed.recursiveAttributes ? 1 : 0);
  out.u64(BigInt(parsed.propagation));
}

function writeProcess(out: Writer, process: OciProcess, seccomp: Uint8Array, flags: number): void {
  const { user, capabilities, env } = process;
  if (process.args.length === 0 || process.args[0] === '') {
    throw new SkepError('invalid-argument', 'encode process.args: no command specified');
  }
  requireAbsolute(process.cwd, 'process.cwd');
  out.u32(
    flags |
      (process.noNewPrivileges ? PROCESS_FLAGS.noNewPrivileges : 0) |
      (process.oomScoreAdj === null ? 0 : PROCESS_FLAGS.oomScore),
  );
  out.u32(user.uid);
  out.u32(user.gid);
  out.list(user.additionalGids, (gid) => out.u32(gid));
  out.u32(process.oomScoreAdj ?? 0);
  out.u32(user.umask ?? 0o022);
  out.u64(capabilityMask(capabilities.bounding));
  out.u64(capabilityMask(capabilities.effective));
  out.u64(capabilityMask(capabilities.inheritable));
  out.u64(capabilityMask(capabilities.permitted));
  out.u64(capabilityMask(capabilities.ambient));
  out.list(process.rlimits, (limit) => {
    const resource = ULIMITS.indexOf(limit.type.replace(/^RLIMIT_/, '').toLowerCase());
    if (resource < 0) {
      throw new SkepError(
        'invalid-argument',
        `encode process.rlimits: unknown limit ${limit.type}`,
      );
    }
    out.u32(resource);
    out.u64(BigInt(limit.soft));
    out.u64(BigInt(limit.hard));
  });
  out.str(process.cwd, 'process.cwd');
  out.strings(process.args, 'process.args');
  out.strings(env, 'process.env');
  out.u32(seccomp.length);
  out.raw(seccomp);
}

function requireAbsolute(path: string, field: string): void {
  if (!path.startsWith('/')) {
    throw new SkepError('invalid-argument', `encode ${field}: "${path}" is not an absolute path`);
  }
}

/** Only what belongs to the container's own namespaces may be set: else it would be the host's. */
function ownSysctlPath(name: string, namespaces: OciSpec['linux']['namespaces']): string {
  const needed = sysctlNamespace(name);
  if (needed === null) {
    throw new SkepError('invalid-argument', `encode linux.sysctl: ${name} is not namespaced`);
  }
  if (!namespaces.some(({ type }) => type === needed)) {
    const words = `${name} would be the host's: the container has no ${needed} namespace of its own`;
    throw new SkepError('invalid-argument', `encode linux.sysctl: ${words}`);
  }
  return sysctlPath(name);
}
