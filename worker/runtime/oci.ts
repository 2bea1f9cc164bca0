/**
 * The part of the OCI runtime specification (config.json, 1.2) that the native runtime reads, with
 * one extension: `root` names image layers instead of a mounted directory. Types only.
 */
import type { SeccompProfile } from '../../native/ffi/seccomp.ts';

export interface OciSpec {
  readonly process: OciProcess;
  readonly root: OciRoot;
  /** '' leaves the host's name in an own UTS namespace */
  readonly hostname: string;
  readonly domainname?: string;
  readonly mounts: readonly OciMount[];
  readonly linux: OciLinux;
  /** programs of the host that are run around the container; our own shim runs none */
  readonly hooks?: readonly OciHook[];
}

export interface OciHook {
  /** `createRuntime`, `createContainer`, `startContainer`, `poststart`, `poststop`, `prestart` */
  readonly stage: string;
  /** absolute, on the host */
  readonly path: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** null = no limit */
  readonly timeoutSeconds: number | null;
}

/** Our extension: the root is an overlay, its upper directory lies in the task's directory. */
export interface OciRoot {
  /** absolute paths, top layer first, at least one */
  readonly lowerDirs: readonly string[];
  readonly readonly: boolean;
}

export interface OciProcess {
  readonly args: readonly string[];
  /** NAME=value */
  readonly env: readonly string[];
  /** absolute; made when missing */
  readonly cwd: string;
  readonly user: OciUser;
  readonly capabilities: OciCapabilities;
  readonly rlimits: readonly OciRlimit[];
  readonly noNewPrivileges: boolean;
  /** -1000..1000; null = as the daemon's */
  readonly oomScoreAdj: number | null;
  /** stdin, stdout and stderr are a terminal of the container, which is also its /dev/console */
  readonly terminal: boolean;
  /** null = as the daemon's; what is named must be loaded in the kernel */
  readonly apparmorProfile: string | null;
  /** Ours: stdin is a pipe that whoever attaches writes to; without it, /dev/null. */
  readonly openStdin: boolean;
  /** Ours: pid 1 is `skep-init`, and the command its child. */
  readonly init: boolean;
}

export interface OciUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** default 0o022 */
  readonly umask?: number;
}

/** Names such as `CAP_CHOWN`. */
export interface OciCapabilities {
  readonly bounding: readonly string[];
  readonly effective: readonly string[];
  readonly inheritable: readonly string[];
  readonly permitted: readonly string[];
  readonly ambient: readonly string[];
}

/** `type` is a name such as `RLIMIT_NOFILE`; limits are counts or bytes, -1 = unlimited. */
export interface OciRlimit {
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

export interface OciMount {
  /** absolute path in the container */
  readonly destination: string;
  /** `bind`, `cgroup` or a file system's name */
  readonly type: string;
  readonly source: string;
  /**
   * as in fstab: `ro`, `nosuid`, `rbind`, `rro`, ...; `idmap`, of a bind: its owners are ids of the
   * container's user namespace; the rest goes to the file system
   */
  readonly options: readonly string[];
  /** Ours, of a bind: no link in `source` is followed, for others may write there. */
  readonly plainSource?: boolean;
  /** Ours, of a bind: `source` is a path in the mount namespace at this path, another container's. */
  readonly sourceNamespace?: string;
}

export type OciNamespaceType = 'pid' | 'mount' | 'network' | 'ipc' | 'uts' | 'cgroup' | 'user';

/** With `path`: that namespace is joined instead of a new one being made. Not listed = the host's. */
export interface OciNamespace {
  readonly type: OciNamespaceType;
  readonly path?: string;
}

/** Ids of the container from `containerID` on are those of the host from `hostID` on. */
export interface OciIdMapping {
  readonly containerID: number;
  readonly hostID: number;
  /** >= 1 */
  readonly size: number;
}

export interface OciDevice {
  /** c = character, b = block, p = fifo */
  readonly type: 'c' | 'b' | 'p';
  readonly path: string;
  readonly major: number;
  readonly minor: number;
  /** permission bits */
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
}

/** `type` a = all; null numbers = any; `access` of the letters r, w, m. Later rules win. */
export interface OciDeviceRule {
  readonly allow: boolean;
  readonly type: 'a' | 'c' | 'b';
  readonly major: number | null;
  readonly minor: number | null;
  readonly access: string;
}

/** Per second, of one block device. */
export interface OciThrottle {
  readonly major: number;
  readonly minor: number;
  /** bytes or operations */
  readonly rate: number;
}

export interface OciBlockIo {
  /** relative, 10..1000; null = default */
  readonly weight: number | null;
  readonly throttleReadBpsDevice: readonly OciThrottle[];
  readonly throttleWriteBpsDevice: readonly OciThrottle[];
  readonly throttleReadIOPSDevice: readonly OciThrottle[];
  readonly throttleWriteIOPSDevice: readonly OciThrottle[];
}

export interface OciResources {
  readonly memory?: {
    /** bytes; null = unlimited */
    readonly limit: number | null;
    /** bytes of memory and swap together; null = as `limit` (no swap); -1 = unlimited */
    readonly swap: number | null;
    /** bytes that reclaim leaves alone while it can (v1: goes down to first) */
    readonly reservation?: number;
    /** 0..100; v1 only */
    readonly swappiness?: number;
    /** who needs more than the limit waits until there is some; v1 only */
    readonly disableOomKiller?: boolean;
  };
  readonly cpu?: {
    /** microseconds per period; null = unlimited */
    readonly quota: number | null;
    /** microseconds, 1000..1000000 */
    readonly period: number;
    /** relative weight, 2..262144; null = default (1024) */
    readonly shares: number | null;
    /** lists like `0-2,5`; absent = all */
    readonly cpus?: string;
    readonly mems?: string;
  };
  readonly blockIO?: OciBlockIo;
  /** null = unlimited */
  readonly pids?: { readonly limit: number | null };
  readonly devices: readonly OciDeviceRule[];
}

export interface OciLinux {
  readonly namespaces: readonly OciNamespace[];
  /** of a new user namespace; without one, absent */
  readonly uidMappings?: readonly OciIdMapping[];
  readonly gidMappings?: readonly OciIdMapping[];
  readonly resources: OciResources;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly devices: readonly OciDevice[];
  /** `net.ipv4.ip_forward` -> value; namespaced ones only */
  readonly sysctl: Readonly<Record<string, string>>;
  /** null = unconfined */
  readonly seccomp: SeccompProfile | null;
}
