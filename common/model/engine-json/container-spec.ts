/** The Docker Engine API's JSON: what a task's container is to be. */
import type { LabelsJson } from './object-head.ts';

export interface MountJson {
  readonly Type: string;
  readonly Source?: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
  readonly Consistency?: string;
  readonly BindOptions?: {
    readonly Propagation?: string;
    readonly NonRecursive?: boolean;
    readonly CreateMountpoint?: boolean;
    readonly ReadOnlyNonRecursive?: boolean;
    readonly ReadOnlyForceRecursive?: boolean;
  };
  readonly VolumeOptions?: {
    readonly NoCopy?: boolean;
    readonly Labels?: LabelsJson;
    readonly Subpath?: string;
    readonly DriverConfig?: { readonly Name?: string; readonly Options?: LabelsJson };
  };
  readonly TmpfsOptions?: {
    readonly SizeBytes?: number;
    readonly Mode?: number;
    /** `['exec']`, `['uid', '1000']` */
    readonly Options?: readonly (readonly string[])[];
  };
}

export interface HealthcheckJson {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

export interface FileTargetJson {
  readonly Name: string;
  readonly UID: string;
  readonly GID: string;
  readonly Mode: number;
}

export interface SecretReferenceJson {
  readonly SecretID: string;
  readonly SecretName: string;
  readonly File: FileTargetJson;
}

export interface ConfigReferenceJson {
  readonly ConfigID: string;
  readonly ConfigName: string;
  readonly File: FileTargetJson;
}

export interface UlimitJson {
  readonly Name: string;
  readonly Soft: number;
  readonly Hard: number;
}

export interface PrivilegesJson {
  readonly NoNewPrivileges?: boolean;
  /** `Profile`: of the mode `custom`, base64 */
  readonly Seccomp?: { readonly Mode: string; readonly Profile?: string };
  /** the mode `custom` and `Profile` are ours */
  readonly AppArmor?: { readonly Mode: string; readonly Profile?: string };
}

/** As `--gpus` makes one. */
export interface DeviceRequestJson {
  readonly Driver?: string;
  /** -1 = all */
  readonly Count?: number;
  readonly DeviceIDs?: readonly string[] | null;
  readonly Capabilities: readonly (readonly string[])[];
}

/** Ours: fields of Docker's HostConfig, in a ContainerSpec. */
export interface IsolationJson {
  readonly Privileged?: boolean;
  readonly Devices?: readonly {
    readonly PathOnHost: string;
    readonly PathInContainer: string;
    readonly CgroupPermissions: string;
  }[];
  readonly DeviceCgroupRules?: readonly string[];
  readonly PidMode?: string;
  readonly IpcMode?: string;
  readonly UTSMode?: string;
  readonly CgroupnsMode?: string;
  readonly UsernsMode?: string;
  readonly DeviceRequests?: readonly DeviceRequestJson[];
  readonly Runtime?: string;
}

export interface ContainerSpecJson extends IsolationJson {
  readonly Image: string;
  readonly Labels?: LabelsJson;
  readonly Command?: readonly string[];
  readonly Args?: readonly string[];
  readonly Hostname?: string;
  readonly Domainname?: string;
  readonly Env?: readonly string[];
  readonly Dir?: string;
  readonly User?: string;
  readonly Groups?: readonly string[];
  readonly StopSignal?: string;
  readonly TTY?: boolean;
  readonly OpenStdin?: boolean;
  readonly ReadOnly?: boolean;
  readonly Mounts?: readonly MountJson[];
  readonly StopGracePeriod?: number;
  readonly Healthcheck?: HealthcheckJson;
  readonly Hosts?: readonly string[];
  readonly DNSConfig?: {
    readonly Nameservers?: readonly string[];
    readonly Search?: readonly string[];
    readonly Options?: readonly string[];
  };
  readonly Secrets?: readonly SecretReferenceJson[];
  readonly Configs?: readonly ConfigReferenceJson[];
  readonly Init?: boolean;
  readonly Sysctls?: LabelsJson;
  readonly CapabilityAdd?: readonly string[];
  readonly CapabilityDrop?: readonly string[];
  readonly Ulimits?: readonly UlimitJson[];
  readonly OomScoreAdj?: number;
  readonly Privileges?: PrivilegesJson;
}
