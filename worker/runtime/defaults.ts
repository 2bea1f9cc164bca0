/**
 * What a container gets unless its spec says otherwise: the same capabilities, mounts, devices and
 * hidden paths as Docker gives (moby `oci/defaults.go`, `oci/caps/defaults.go`). Values only.
 */
import { defaultSeccomp } from './default-seccomp.ts';
import type {
  OciDevice,
  OciDeviceRule,
  OciMount,
  OciNamespace,
  OciProcess,
  OciSpec,
} from './oci.ts';

export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export const DEFAULT_MASKED_PATHS: readonly string[] = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

export const DEFAULT_READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

export const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;

/** In mounting order. */
export function defaultMounts(shmBytes = DEFAULT_SHM_BYTES): OciMount[] {
  const hardened = ['nosuid', 'noexec', 'nodev'];
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: hardened },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...hardened, 'ro'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: hardened },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...hardened, 'mode=1777', `size=${shmBytes}`],
    },
  ];
}

function node(path: string, major: number, minor: number): OciDevice {
  return { type: 'c', path, major, minor, fileMode: 0o666, uid: 0, gid: 0 };
}

export const DEFAULT_DEVICES: readonly OciDevice[] = [
  node('/dev/null', 1, 3),
  node('/dev/zero', 1, 5),
  node('/dev/full', 1, 7),
  node('/dev/random', 1, 8),
  node('/dev/urandom', 1, 9),
  node('/dev/tty', 5, 0),
];

function allow(
  type: 'c' | 'b',
  major: number | null,
  minor: number | null,
  access: string,
): OciDeviceRule {
  return { allow: true, type, major, minor, access };
}

/** Nothing but the default nodes, terminals and fuse-less mknod: as runc's and Docker's lists. */
export const DEFAULT_DEVICE_RULES: readonly OciDeviceRule[] = [
  { allow: false, type: 'a', major: null, minor: null, access: 'rwm' },
  allow('c', null, null, 'm'),
  allow('b', null, null, 'm'),
  ...DEFAULT_DEVICES.map((device) => allow('c', device.major, device.minor, 'rwm')),
  allow('c', 5, 2, 'rwm'), // /dev/ptmx
  allow('c', 136, null, 'rwm'), // terminals of devpts
];

export const DEFAULT_NAMESPACES: readonly OciNamespace[] = [
  { type: 'pid' },
  { type: 'mount' },
  { type: 'network' },
  { type: 'ipc' },
  { type: 'uts' },
  { type: 'cgroup' },
];

/** Root with the default capabilities; `args` and `env` are the caller's. */
export function defaultProcess(args: readonly string[], env: readonly string[] = []): OciProcess {
  return {
    args,
    env: env.some((entry) => entry.startsWith('PATH=')) ? env : [`PATH=${DEFAULT_PATH}`, ...env],
    cwd: '/',
    user: { uid: 0, gid: 0, additionalGids: [] },
    capabilities: capabilitySet(DEFAULT_CAPABILITIES),
    rlimits: [],
    noNewPrivileges: false,
    oomScoreAdj: null,
    terminal: false,
    apparmorProfile: null,
    openStdin: false,
    init: false,
  };
}

/**
 * The sets for a list of capabilities. Inheritable and ambient stay empty, so a command that runs
 * as another user than root has none (moby GHSA-2mm7-x5h6-5pvq).
 */
export function capabilitySet(names: readonly string[]): OciProcess['capabilities'] {
  return { bounding: names, effective: names, permitted: names, inheritable: [], ambient: [] };
}

/** A whole spec with every default; spread it and replace what differs. */
export function defaultSpec(lowerDirs: readonly string[], process: OciProcess): OciSpec {
  return {
    process,
    root: { lowerDirs, readonly: false },
    hostname: '',
    mounts: defaultMounts(),
    linux: {
      namespaces: DEFAULT_NAMESPACES,
      resources: { devices: DEFAULT_DEVICE_RULES },
      maskedPaths: DEFAULT_MASKED_PATHS,
      readonlyPaths: DEFAULT_READONLY_PATHS,
      devices: DEFAULT_DEVICES,
      sysctl: {},
      seccomp: defaultSeccomp(process.capabilities.bounding),
    },
  };
}
