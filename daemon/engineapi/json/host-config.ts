/**
 * A container's HostConfig as our model's limits, mounts and rules. What is not done is refused by
 * name; what has no effect here (`ContainerIDFile`, ...) is left alone.
 */
import { SkepError } from '../../../common/base/errors.ts';
import {
  type Mount,
  PLAIN_BIND,
  type Privileges,
  type ResourceRequirements,
} from '../../../common/model/service.ts';
import { parseTmpfsText } from '../../../common/model/tmpfs-options.ts';
import { NO_RESTART, type RestartRule } from '../../../worker/containers/definition.ts';
import { mountFromJson } from './container-spec.ts';
import { kernelResourcesFromJson } from './isolation.ts';
import type { JsonReader } from './reader.ts';

const CPU_PERIOD_US = 100_000;
/** What the kernel takes, and Docker allows. */
const CPU_PERIOD_US_MIN = 1_000;
const CPU_PERIOD_US_MAX = 1_000_000;
const CPU_QUOTA_US_MIN = 1_000;
const NANOS_PER_CPU = 1e9;
/** Docker's minimum: a quota of 1 ms in the period of 100 ms. */
const NANO_CPUS_MIN = 0.01 * NANOS_PER_CPU;
/** Docker's minimum: less does not hold a process that is just starting. */
const MEMORY_BYTES_MIN = 6 * 1024 * 1024;

/** field -> why it is refused when it is given with a meaning */
const REFUSED: Readonly<Record<string, string>> = {
  StorageOpt: 'what a container may write has no limit of its own',
  Annotations: 'annotations are not done yet',
  CgroupParent: 'the parent group is that of the daemon',
  Cgroup: 'joining groups is not done',
  KernelMemory: 'kernel memory limits are gone from the kernel',
  KernelMemoryTCP: 'kernel memory limits are gone from the kernel',
  CpuRealtimePeriod: 'real-time limits are not done',
  CpuRealtimeRuntime: 'real-time limits are not done',
  CpuCount: 'it is a Windows feature',
  CpuPercent: 'it is a Windows feature',
  IOMaximumIOps: 'it is a Windows feature',
  IOMaximumBandwidth: 'it is a Windows feature',
  BlkioWeightDevice: 'weights of single devices are not done yet',
};

/** Throws `unimplemented` for the first field that is not done. */
export function refuseHostConfig(host: JsonReader): void {
  for (const [field, why] of Object.entries(REFUSED)) host.refuse(field, why);
  requireOneOf(host, 'VolumeDriver', ['', 'local'], 'other volume drivers are not done');
  requireOneOf(host, 'UsernsMode', ['', 'host', 'private'], 'a user namespace is host or private');
  requireOneOf(host, 'Isolation', ['', 'default'], 'isolation is a Windows feature');
  for (const field of ['MaskedPaths', 'ReadonlyPaths']) {
    if (host.has(field)) {
      const words = `HostConfig.${field} is not supported: use --privileged to see all of /proc and /sys`;
      throw new SkepError('unimplemented', words);
    }
  }
}

function requireOneOf(
  json: JsonReader,
  name: string,
  allowed: readonly string[],
  why: string,
): void {
  if (!allowed.includes(json.string(name))) json.refuse(name, why);
}

/**
 * @param before what a field that is not given leaves as it is
 * @param periodBefore likewise, of a quota of CPU, us
 */
export function limitsFromJson(
  host: JsonReader,
  before: ResourceRequirements,
  periodBefore?: number,
): ResourceRequirements {
  const given = (name: string, otherwise: number): number => host.integer(name) || otherwise;
  const memoryBytes = given('Memory', before.limits.memoryBytes);
  if (memoryBytes !== 0 && memoryBytes < MEMORY_BYTES_MIN) {
    throw new SkepError('invalid-argument', 'Minimum memory limit allowed is 6MB');
  }
  const reservedBytes = given('MemoryReservation', before.reservations.memoryBytes);
  if (reservedBytes !== 0 && reservedBytes < MEMORY_BYTES_MIN) {
    throw new SkepError('invalid-argument', 'Minimum memory reservation allowed is 6MB');
  }
  if (memoryBytes > 0 && reservedBytes > memoryBytes) {
    throw new SkepError(
      'invalid-argument',
      'Minimum memory limit can not be less than memory reservation limit, see usage',
    );
  }
  const pids = host.has('PidsLimit') ? Math.max(0, host.integer('PidsLimit')) : before.limits.pids;
  const swappiness = host.integer('MemorySwappiness', -1);
  const nanoCpus = nanoCpusOf(host, before.limits.nanoCpus, periodBefore);
  return {
    limits: { nanoCpus, memoryBytes, pids },
    reservations: { ...before.reservations, memoryBytes: reservedBytes },
    swapBytes: swapOf(host, memoryBytes, before),
    memorySwappiness: swappiness < 0 ? before.memorySwappiness : swappiness,
    kernel: kernelOf(host, before),
  };
}

/** Fields that are empty say nothing. */
function kernelOf(host: JsonReader, before: ResourceRequirements): ResourceRequirements['kernel'] {
  const given = kernelResourcesFromJson(host);
  const { kernel } = before;
  if (given === null || kernel === null) return given ?? kernel;
  const { blockIo } = given;
  return {
    cpuShares: given.cpuShares || kernel.cpuShares,
    cpusetCpus: given.cpusetCpus || kernel.cpusetCpus,
    cpusetMems: given.cpusetMems || kernel.cpusetMems,
    blockIo: { ...kernel.blockIo, weight: blockIo.weight || kernel.blockIo.weight },
    oomKillDisable: given.oomKillDisable || kernel.oomKillDisable,
  };
}

/** Of a container; 100 ms unless it says otherwise. Throws `invalid-argument` for what no kernel takes. */
export function cpuPeriodOf(host: JsonReader, before = CPU_PERIOD_US): number {
  const period = host.integer('CpuPeriod');
  if (period !== 0 && (period < CPU_PERIOD_US_MIN || period > CPU_PERIOD_US_MAX)) {
    const words =
      'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)';
    throw new SkepError('invalid-argument', words);
  }
  return period || before;
}

/**
 * A limit of CPU that was given in one of the two ways is not changed in the other. Throws `conflict`, in Docker's words.
 *
 * @param inForce the container's HostConfig as it is shown
 */
export function checkCpuUpdate(update: JsonReader, inForce: JsonReader): void {
  const pairs = [
    ['Nano CPUs', 'NanoCpus', 'CPU Period', 'CpuPeriod'],
    ['Nano CPUs', 'NanoCpus', 'CPU Quota', 'CpuQuota'],
    ['CPU Quota', 'CpuQuota', 'NanoCPUs', 'NanoCpus'],
    ['CPU Period', 'CpuPeriod', 'NanoCPUs', 'NanoCpus'],
  ] as const;
  for (const [what, field, other, otherField] of pairs) {
    if (update.integer(field) <= 0 || inForce.integer(otherField) <= 0) continue;
    const words = `Conflicting options: ${what} cannot be updated as ${other} has already been set`;
    throw new SkepError('conflict', words);
  }
}

/** A quota of less than 0 is none. */
function nanoCpusOf(host: JsonReader, before: number, periodBefore?: number): number {
  const given = host.integer('NanoCpus');
  const quota = host.integer('CpuQuota');
  const period = cpuPeriodOf(host, periodBefore);
  if (given > 0 && quota > 0) {
    const words = 'Conflicting options: Nano CPUs and CPU Quota cannot both be set';
    throw new SkepError('invalid-argument', words);
  }
  if (given > 0 && host.integer('CpuPeriod') > 0) {
    const words = 'Conflicting options: Nano CPUs and CPU Period cannot both be set';
    throw new SkepError('invalid-argument', words);
  }
  if (quota > 0 && quota < CPU_QUOTA_US_MIN) {
    const words = 'CPU cfs quota can not be less than 1ms (i.e. 1000)';
    throw new SkepError('invalid-argument', words);
  }
  const nanoCpus = quota > 0 ? Math.round((quota / period) * NANOS_PER_CPU) : given;
  if (nanoCpus < 0 || (nanoCpus > 0 && nanoCpus < NANO_CPUS_MIN)) {
    throw new SkepError('invalid-argument', 'Range of CPUs is from 0.01: less is no share of one');
  }
  if (nanoCpus > 0) return nanoCpus;
  if (quota < 0) return 0;
  if (before > 0 && host.integer('CpuPeriod') !== 0) {
    const words = 'HostConfig.CpuPeriod: of a limit that is there it is changed with CpuQuota only';
    throw new SkepError('unimplemented', words);
  }
  return before;
}

/** Docker counts memory and swap together, by default as much again; here swap is what comes on top. */
function swapOf(
  host: JsonReader,
  memoryBytes: number,
  before: ResourceRequirements,
): number | null {
  const total = host.integer('MemorySwap');
  if (total === 0) return swapUnderTotalOf(before, memoryBytes);
  if (total < 0) return -1;
  if (memoryBytes === 0) {
    const words = 'You should always set the Memory limit when using Memoryswap limit, see usage';
    throw new SkepError('invalid-argument', words);
  }
  if (total < memoryBytes) {
    const words = 'Minimum memoryswap limit should be larger than memory limit, see usage';
    throw new SkepError('invalid-argument', words);
  }
  return total - memoryBytes;
}

/** Of a new limit of memory alone: the total that is in force stays. Throws `conflict` when it is above that. */
function swapUnderTotalOf(
  { limits, swapBytes }: ResourceRequirements,
  memoryBytes: number,
): number | null {
  if (swapBytes === null) return memoryBytes > 0 ? memoryBytes : null;
  if (swapBytes < 0) return swapBytes; // as much as it likes
  const left = limits.memoryBytes + swapBytes - memoryBytes;
  if (left >= 0) return left;
  const words =
    'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time';
  throw new SkepError('conflict', words);
}

export function restartFromJson(json: JsonReader): RestartRule {
  const name = json.oneOf('Name', ['no', 'on-failure', 'always', 'unless-stopped'], 'no');
  const maximumRetryCount = json.integer('MaximumRetryCount');
  if (maximumRetryCount !== 0 && name !== 'on-failure') {
    const words = "invalid restart policy: maximum retry count can only be used with 'on-failure'";
    throw new SkepError('invalid-argument', words);
  }
  if (maximumRetryCount < 0) {
    const words = 'invalid restart policy: maximum retry count cannot be negative';
    throw new SkepError('invalid-argument', words);
  }
  return name === 'no' ? NO_RESTART : { name, maximumRetryCount };
}

const NO_OPTIONS = { readOnly: false, bind: null, volume: null, tmpfs: null };
const PROPAGATIONS = ['shared', 'rshared', 'slave', 'rslave', 'private', 'rprivate'];
/** Labels of SELinux and words about caches that mean nothing on Linux. */
const WITHOUT_EFFECT = ['rw', 'z', 'Z', 'consistent', 'cached', 'delegated'];

export function mountsFromJson(host: JsonReader): Mount[] {
  const binds = host.strings('Binds').map(bindMount);
  const given = host.objects('Mounts').map(mountFromJson);
  const tmpfs = Object.entries(host.stringMap('Tmpfs')).map(tmpfsMount);
  const shmBytes = host.integer('ShmSize');
  // With another's IPC namespace comes its /dev/shm, as it is.
  const ownsShm = !/^(host$|container:)/.test(host.string('IpcMode'));
  const shm = shmBytes > 0 && ownsShm ? [shmMount(shmBytes)] : [];
  return [...binds, ...given, ...tmpfs, ...shm];
}

/** Volumes without a name. */
export function anonymousMounts(targets: readonly string[]): Mount[] {
  return targets.map((target) => ({ ...NO_OPTIONS, type: 'volume', source: '', target }));
}

/** `SOURCE:TARGET[:OPTIONS]`; the directory of a bind is made when there is none, as Docker does. */
function bindMount(text: string): Mount {
  const parts = text.split(':');
  const [source = '', target = '', options = ''] = parts;
  if (parts.length < 2 || parts.length > 3 || source === '' || target === '') {
    throw new SkepError('invalid-argument', `invalid volume specification: '${text}'`);
  }
  const words = options.split(',').filter((word) => word !== '');
  const propagation = words.find((word) => PROPAGATIONS.includes(word)) ?? '';
  const known = ['ro', 'nocopy', ...PROPAGATIONS, ...WITHOUT_EFFECT];
  const odd = words.find((word) => !known.includes(word));
  if (odd !== undefined) {
    throw new SkepError('invalid-argument', `invalid mode: ${options}: '${odd}' is not known`);
  }
  const readOnly = words.includes('ro');
  if (source.startsWith('/')) {
    const bind = { ...PLAIN_BIND, propagation, createMountpoint: true };
    return { ...NO_OPTIONS, type: 'bind', source, target, readOnly, bind };
  }
  const volume = {
    noCopy: words.includes('nocopy'),
    labels: {},
    driver: '',
    driverOptions: {},
    subpath: '',
  };
  return { ...NO_OPTIONS, type: 'volume', source, target, readOnly, volume };
}

function tmpfsMount([target, text]: [string, string]): Mount {
  const { isReadOnly: readOnly, tmpfs } = parseTmpfsText(text);
  return { ...NO_OPTIONS, type: 'tmpfs', source: '', target, readOnly, tmpfs };
}

function shmMount(sizeBytes: number): Mount {
  const tmpfs = { sizeBytes, mode: 0o1777, options: [] };
  return { ...NO_OPTIONS, type: 'tmpfs', source: '', target: '/dev/shm', tmpfs };
}

/** `--security-opt`: as the docker command sends it, with the text of a profile instead of its file. */
export function privilegesFromOptions(options: readonly string[]): Privileges | null {
  if (options.length === 0) return null;
  let privileges: Privileges = {
    noNewPrivileges: false,
    seccomp: { mode: 'default', profile: '' },
    apparmor: { mode: 'default', profile: '' },
  };
  for (const option of options) {
    const [, key = '', value = ''] = /^([a-z-]+)(?:[:=](.*))?$/s.exec(option) ?? [];
    if (key === 'no-new-privileges' && ['', 'true', 'false'].includes(value)) {
      privileges = { ...privileges, noNewPrivileges: value !== 'false' };
    } else if (key === 'seccomp' && value !== '') {
      privileges = { ...privileges, seccomp: seccompOf(value) };
    } else if (key === 'apparmor' && value !== '') {
      privileges = { ...privileges, apparmor: apparmorOf(value) };
    } else if (key === 'label' && value === 'disable') {
      // There is no SELinux label to take away.
    } else {
      throw new SkepError('unimplemented', `security option '${option}' is not supported`);
    }
  }
  return privileges;
}

function seccompOf(value: string): Privileges['seccomp'] {
  if (value === 'unconfined') return { mode: 'unconfined', profile: '' };
  return value === 'builtin'
    ? { mode: 'default', profile: '' }
    : { mode: 'custom', profile: value };
}

function apparmorOf(value: string): Privileges['apparmor'] {
  if (value === 'unconfined') return { mode: 'disabled', profile: '' };
  return { mode: 'custom', profile: value };
}
