/** Service: the user's words (ServiceSpec) and what the cluster made of them. */
import type { ConfigId, NetworkId, SecretId, ServiceId } from './ids.ts';
import type { Annotations, Meta, StringMap } from './objects.ts';

export type ServiceMode =
  | { readonly kind: 'replicated'; readonly replicas: number }
  | { readonly kind: 'global' }
  | {
      readonly kind: 'replicated-job';
      readonly maxConcurrent: number;
      readonly totalCompletions: number;
    }
  | { readonly kind: 'global-job' };

/** Runs to completion, in iterations, instead of being kept running. */
export function isJob({ kind }: ServiceMode): boolean {
  return kind === 'replicated-job' || kind === 'global-job';
}

export type Protocol = 'tcp' | 'udp' | 'sctp';

/** As written in a spec, and, with `publishedPort` filled in, as allocated. */
export interface PortConfig {
  readonly name: string;
  readonly protocol: Protocol;
  readonly targetPort: number;
  /** 0 = chosen by the allocator from 30000-32767 (ingress) or by the node (host) */
  readonly publishedPort: number;
  readonly publishMode: 'ingress' | 'host';
  /** the address that it answers on, on nodes that have it; '' = every one. As of `parseHostIp`. */
  readonly hostIp: string;
}

export type EndpointMode = 'vip' | 'dnsrr';

export interface EndpointSpec {
  readonly mode: EndpointMode;
  readonly ports: readonly PortConfig[];
}

export interface VirtualIp {
  readonly networkId: NetworkId;
  /** CIDR notation, e.g. `10.0.1.2/24` */
  readonly address: string;
}

/** Written by the allocator, but for `plainEndpointOf`. */
export interface Endpoint {
  /** the spec it was allocated for */
  readonly spec: EndpointSpec;
  readonly ports: readonly PortConfig[];
  readonly virtualIps: readonly VirtualIp[];
}

export type UpdateFailureAction = 'pause' | 'continue' | 'rollback';

export interface UpdateConfig {
  /** slots at once; 0 = all */
  readonly parallelism: number;
  readonly delayNanos: number;
  readonly failureAction: UpdateFailureAction;
  readonly monitorNanos: number;
  /** 0..1 */
  readonly maxFailureRatio: number;
  readonly order: 'stop-first' | 'start-first';
}

export const DEFAULT_UPDATE_CONFIG: UpdateConfig = {
  parallelism: 1,
  delayNanos: 0,
  failureAction: 'pause',
  monitorNanos: 5_000_000_000,
  maxFailureRatio: 0,
  order: 'stop-first',
};

export interface RestartPolicy {
  readonly condition: 'none' | 'on-failure' | 'any';
  readonly delayNanos: number;
  /** 0 = unlimited */
  readonly maxAttempts: number;
  /** 0 = attempts count for ever */
  readonly windowNanos: number;
}

export const DEFAULT_RESTART_POLICY: RestartPolicy = {
  condition: 'any',
  delayNanos: 5_000_000_000,
  maxAttempts: 0,
  windowNanos: 0,
};

export interface GenericResource {
  readonly kind: string;
  /** discrete: a count; named: one value */
  readonly value: number | string;
}

/** Less memory than this can be neither reserved nor a limit; 0 = none asked. */
export const MEMORY_BYTES_MIN = 4 * 1024 * 1024;

export interface Resources {
  /** 1e9 = one CPU; 0 = none asked */
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly generic: readonly GenericResource[];
}

export interface ResourceLimits {
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  /** 0 = unlimited */
  readonly pids: number;
}

/** A block device of a node, by its path there, and bytes or operations per second. */
export interface DeviceRate {
  readonly path: string;
  readonly rate: number;
}

/** Throttles of block devices; empty lists are none. */
export interface BlockIoLimits {
  /** relative, 10..1000; 0 = the kernel's default */
  readonly weight: number;
  readonly readBps: readonly DeviceRate[];
  readonly writeBps: readonly DeviceRate[];
  readonly readIops: readonly DeviceRate[];
  readonly writeIops: readonly DeviceRate[];
}

/** What the kernel's controllers offer beyond Swarm's resources (Docker's HostConfig has it). */
export interface KernelResources {
  /** relative weight, 2..262144; 0 = default (1024) */
  readonly cpuShares: number;
  /** lists like `0-2,5`; '' = all */
  readonly cpusetCpus: string;
  readonly cpusetMems: string;
  readonly blockIo: BlockIoLimits;
  /** what needs more than the limit of memory waits instead of being killed; cgroup v1 only */
  readonly oomKillDisable: boolean;
}

export const NO_KERNEL_RESOURCES: KernelResources = {
  cpuShares: 0,
  cpusetCpus: '',
  cpusetMems: '',
  blockIo: { weight: 0, readBps: [], writeBps: [], readIops: [], writeIops: [] },
  oomKillDisable: false,
};

export interface ResourceRequirements {
  readonly limits: ResourceLimits;
  readonly reservations: Resources;
  /** bytes of swap on top of memory; null = runtime's default (none), -1 = unlimited */
  readonly swapBytes: number | null;
  /** 0..100; null = kernel's default */
  readonly memorySwappiness: number | null;
  /** null = NO_KERNEL_RESOURCES */
  readonly kernel: KernelResources | null;
}

export const NO_RESOURCES: ResourceRequirements = {
  limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
  reservations: { nanoCpus: 0, memoryBytes: 0, generic: [] },
  swapBytes: null,
  memorySwappiness: null,
  kernel: null,
};

export interface Platform {
  /** `amd64` and `x86_64` are equal, as `arm64` and `aarch64`; empty = any */
  readonly architecture: string;
  readonly os: string;
}

export interface Placement {
  readonly constraints: readonly string[];
  /** spread descriptors, e.g. `node.labels.zone` */
  readonly preferences: readonly { readonly spreadOver: string }[];
  /** 0 = unlimited */
  readonly maxReplicas: number;
  readonly platforms: readonly Platform[];
}

export const ANYWHERE: Placement = {
  constraints: [],
  preferences: [],
  maxReplicas: 0,
  platforms: [],
};

export interface Mount {
  readonly type: 'bind' | 'volume' | 'tmpfs' | 'cluster';
  /** bind: absolute path; volume: name, empty = anonymous; tmpfs: empty */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly bind: {
    readonly propagation: string;
    readonly nonRecursive: boolean;
    readonly createMountpoint: boolean;
    /** of a read-only one: what is mounted below its source stays as it is */
    readonly readOnlyNonRecursive: boolean;
    /** of a read-only one: refused where what is mounted below its source cannot be read-only, too */
    readonly readOnlyForceRecursive: boolean;
  } | null;
  readonly volume: {
    readonly noCopy: boolean;
    readonly labels: StringMap;
    readonly driver: string;
    readonly driverOptions: StringMap;
    readonly subpath: string;
  } | null;
  readonly tmpfs: TmpfsOptions | null;
}

export const PLAIN_BIND: NonNullable<Mount['bind']> = {
  propagation: '',
  nonRecursive: false,
  createMountpoint: false,
  readOnlyNonRecursive: false,
  readOnlyForceRecursive: false,
};

export interface TmpfsOptions {
  /** 0 = the kernel's choice, half of the memory */
  readonly sizeBytes: number;
  /** permission bits; 0 = 1777 */
  readonly mode: number;
  /** of `suid`, `dev`, `exec`, `uid=N`, `gid=N`, `nr_inodes=N` (`tmpfsWords`) */
  readonly options: readonly string[];
}

export interface HealthConfig {
  /** `['NONE']`, `['CMD', ...]` or `['CMD-SHELL', string]`; empty = the image's */
  readonly test: readonly string[];
  /** 0 = inherit, then the default */
  readonly intervalNanos: number;
  readonly timeoutNanos: number;
  readonly startPeriodNanos: number;
  readonly startIntervalNanos: number;
  readonly retries: number;
}

export interface FileTarget {
  readonly name: string;
  readonly uid: string;
  readonly gid: string;
  /** permission bits, e.g. 0o444 */
  readonly mode: number;
}

export interface SecretReference {
  readonly secretId: SecretId;
  readonly secretName: string;
  readonly file: FileTarget;
}

export interface ConfigReference {
  readonly configId: ConfigId;
  readonly configName: string;
  /** null = a runtime target (credential specs), not mounted */
  readonly file: FileTarget | null;
}

export interface Ulimit {
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

export interface LogDriver {
  readonly name: string;
  readonly options: StringMap;
}

export interface Privileges {
  readonly noNewPrivileges: boolean;
  /** null = default profile; 'unconfined'; or a profile document */
  readonly seccomp: {
    readonly mode: 'default' | 'unconfined' | 'custom';
    readonly profile: string;
  };
  /** default = the node's profile for containers, where it has one; custom = `profile`, loaded there */
  readonly apparmor: {
    readonly mode: 'default' | 'disabled' | 'custom';
    readonly profile: string;
  };
}

export interface DeviceMapping {
  /** on the node; a directory stands for the devices in it */
  readonly hostPath: string;
  readonly containerPath: string;
  /** letters of r, w, m */
  readonly permissions: string;
}

/** What asks for devices of a node by what they can do, as `--gpus` does. */
export interface DeviceRequest {
  /** '' = any */
  readonly driver: string;
  /** -1 = all; 0 = those of `deviceIds` */
  readonly count: number;
  readonly deviceIds: readonly string[];
  /** one of these sets, all of it */
  readonly capabilities: readonly (readonly string[])[];
}

/** `service:` and the name of a service: what its task on the same node has */
export type CompanionWord = `service:${string}`;

/** What a container shares with its node, beyond Swarm's container spec (Docker's HostConfig has it). */
export interface Isolation {
  /** every capability and device, nothing hidden, no seccomp filter and no AppArmor profile */
  readonly privileged: boolean;
  readonly devices: readonly DeviceMapping[];
  /** like `c 1:3 rwm` or `a *:* rwm`; later ones win */
  readonly deviceRules: readonly string[];
  readonly pid: 'private' | 'host' | CompanionWord;
  /** none = private, without /dev/shm */
  readonly ipc: 'private' | 'host' | 'none' | CompanionWord;
  readonly uts: 'private' | 'host';
  readonly cgroup: 'private' | 'host';
  /** default = as the node does with all containers */
  readonly user: 'default' | 'private' | 'host';
  readonly deviceRequests: readonly DeviceRequest[];
  /** the name of what makes the container; '' = as the node does with all */
  readonly runtime: string;
}

export const DEFAULT_ISOLATION: Isolation = {
  privileged: false,
  devices: [],
  deviceRules: [],
  pid: 'private',
  ipc: 'private',
  uts: 'private',
  cgroup: 'private',
  user: 'default',
  deviceRequests: [],
  runtime: '',
};

/** What runs. Absent strings are empty, absent lists are empty, absent scalars with meaning are null. */
export interface ContainerSpec {
  readonly image: string;
  readonly labels: StringMap;
  /** replaces the image's entrypoint (and resets its command) when not empty */
  readonly command: readonly string[];
  /** replaces the image's command when not empty */
  readonly args: readonly string[];
  readonly hostname: string;
  /** NIS domain, and what follows the host name in /etc/hosts */
  readonly domainname: string;
  readonly env: readonly string[];
  readonly workdir: string;
  readonly user: string;
  readonly groups: readonly string[];
  readonly tty: boolean;
  readonly openStdin: boolean;
  readonly readOnly: boolean;
  readonly init: boolean | null;
  readonly stopSignal: string;
  /** null = 10 s */
  readonly stopGracePeriodNanos: number | null;
  readonly healthcheck: HealthConfig | null;
  readonly mounts: readonly Mount[];
  readonly secrets: readonly SecretReference[];
  readonly configs: readonly ConfigReference[];
  /** `IP name` entries for /etc/hosts */
  readonly hosts: readonly string[];
  readonly dns: {
    readonly nameservers: readonly string[];
    readonly search: readonly string[];
    readonly options: readonly string[];
  };
  readonly sysctls: StringMap;
  readonly capabilityAdd: readonly string[];
  readonly capabilityDrop: readonly string[];
  readonly ulimits: readonly Ulimit[];
  readonly oomScoreAdj: number;
  readonly privileges: Privileges | null;
  /** null = DEFAULT_ISOLATION */
  readonly isolation: Isolation | null;
  /** registry credentials, base64 JSON as in X-Registry-Auth; never shown; null = none */
  readonly registryAuth: string | null;
}

export interface NetworkAttachmentConfig {
  /** network id once validated (names are resolved by the control API) */
  readonly target: string;
  readonly aliases: readonly string[];
  readonly driverOptions: StringMap;
  /** fixed addresses, for attachments; empty = any */
  readonly addresses: readonly string[];
}

export interface TaskSpec {
  readonly container: ContainerSpec;
  readonly resources: ResourceRequirements;
  /** null = DEFAULT_RESTART_POLICY */
  readonly restart: RestartPolicy | null;
  readonly placement: Placement;
  readonly networks: readonly NetworkAttachmentConfig[];
  readonly logDriver: LogDriver | null;
  /** a change of it makes every task out of date */
  readonly forceUpdate: number;
  readonly runtime: string;
}

export interface ServiceSpec extends Annotations {
  readonly task: TaskSpec;
  readonly mode: ServiceMode;
  /** null = DEFAULT_UPDATE_CONFIG */
  readonly update: UpdateConfig | null;
  readonly rollback: UpdateConfig | null;
  readonly endpoint: EndpointSpec;
}

/** Between the stop signal and the kill of a container whose spec says nothing. */
export const DEFAULT_STOP_GRACE_PERIOD_NANOS = 10_000_000_000;

/** What a spec means where it says nothing, for readers who want to see it. Jobs are not updated. */
export function specWithDefaults(spec: ServiceSpec): ServiceSpec {
  const updated = isJob(spec.mode) ? null : DEFAULT_UPDATE_CONFIG;
  return {
    ...spec,
    task: taskSpecWithDefaults(spec.task),
    update: spec.update ?? updated,
    rollback: spec.rollback ?? updated,
  };
}

export function taskSpecWithDefaults(task: TaskSpec): TaskSpec {
  const { container, restart } = task;
  const stopGracePeriodNanos = container.stopGracePeriodNanos ?? DEFAULT_STOP_GRACE_PERIOD_NANOS;
  return {
    ...task,
    container: { ...container, stopGracePeriodNanos },
    restart: restart ?? DEFAULT_RESTART_POLICY,
  };
}

export interface UpdateStatus {
  readonly state:
    | 'updating'
    | 'paused'
    | 'completed'
    | 'rollback_started'
    | 'rollback_paused'
    | 'rollback_completed';
  readonly startedAtMs: number;
  readonly completedAtMs: number | null;
  readonly message: string;
}

export interface Service {
  readonly id: ServiceId;
  readonly meta: Meta;
  readonly spec: ServiceSpec;
  /** version of the service before the write that set `spec`: identifies the spec */
  readonly specVersion: number;
  readonly previousSpec: ServiceSpec | null;
  readonly previousSpecVersion: number | null;
  /** null until the allocator has seen the service */
  readonly endpoint: Endpoint | null;
  readonly updateStatus: UpdateStatus | null;
  readonly jobStatus: { readonly iteration: number; readonly lastExecutionMs: number } | null;
}
