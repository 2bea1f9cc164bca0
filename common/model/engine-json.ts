/**
 * The Docker Engine API's JSON as types: its field names, its units (nanoseconds, bytes). Shared by
 * the API client and the stack file loader; knows nothing of transport. Only fields that we send or
 * show are listed; unknown ones are ignored on both sides.
 */

export interface VersionJson {
  readonly Index: number;
}

interface ObjectHeadJson {
  readonly ID: string;
  readonly Version: VersionJson;
  /** RFC 3339 with nanoseconds, UTC */
  readonly CreatedAt: string;
  readonly UpdatedAt: string;
}

export type LabelsJson = Readonly<Record<string, string>>;

export interface NodeSpecJson {
  readonly Name?: string;
  readonly Labels: LabelsJson;
  readonly Role: string;
  readonly Availability: string;
}

export interface NodeJson extends ObjectHeadJson {
  readonly Spec: NodeSpecJson;
  readonly Description?: {
    readonly Hostname?: string;
    readonly Platform?: { readonly Architecture?: string; readonly OS?: string };
    readonly Resources?: { readonly NanoCPUs?: number; readonly MemoryBytes?: number };
    readonly Engine?: {
      readonly EngineVersion?: string;
      readonly Labels?: LabelsJson;
      readonly Plugins?: readonly { readonly Type: string; readonly Name: string }[] | null;
    };
    readonly TLSInfo?: { readonly TrustRoot?: string };
  };
  readonly Status?: { readonly State?: string; readonly Message?: string; readonly Addr?: string };
  readonly ManagerStatus?: {
    readonly Leader?: boolean;
    readonly Reachability?: string;
    readonly Addr?: string;
  };
}

export interface PortJson {
  readonly Name?: string;
  readonly Protocol?: string;
  readonly TargetPort: number;
  readonly PublishedPort?: number;
  readonly PublishMode?: string;
}

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
  };
  readonly VolumeOptions?: {
    readonly NoCopy?: boolean;
    readonly Labels?: LabelsJson;
    readonly Subpath?: string;
    readonly DriverConfig?: { readonly Name?: string; readonly Options?: LabelsJson };
  };
  readonly TmpfsOptions?: { readonly SizeBytes?: number; readonly Mode?: number };
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
}

export interface DeviceRateJson {
  readonly Path: string;
  readonly Rate: number;
}

/** Ours: fields of Docker's HostConfig, in Resources. */
export interface KernelResourcesJson {
  readonly CpuShares?: number;
  readonly CpusetCpus?: string;
  readonly CpusetMems?: string;
  readonly BlkioWeight?: number;
  readonly BlkioDeviceReadBps?: readonly DeviceRateJson[];
  readonly BlkioDeviceWriteBps?: readonly DeviceRateJson[];
  readonly BlkioDeviceReadIOps?: readonly DeviceRateJson[];
  readonly BlkioDeviceWriteIOps?: readonly DeviceRateJson[];
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

export interface GenericResourceJson {
  readonly DiscreteResourceSpec?: { readonly Kind: string; readonly Value: number };
  readonly NamedResourceSpec?: { readonly Kind: string; readonly Value: string };
}

export interface ResourcesJson extends KernelResourcesJson {
  readonly Limits?: {
    readonly NanoCPUs?: number;
    readonly MemoryBytes?: number;
    readonly Pids?: number;
  };
  readonly Reservations?: {
    readonly NanoCPUs?: number;
    readonly MemoryBytes?: number;
    readonly GenericResources?: readonly GenericResourceJson[];
  };
  readonly SwapBytes?: number;
  readonly MemorySwappiness?: number;
}

export interface RestartPolicyJson {
  readonly Condition?: string;
  readonly Delay?: number;
  readonly MaxAttempts?: number;
  readonly Window?: number;
}

export interface PlacementJson {
  readonly Constraints?: readonly string[];
  readonly Preferences?: readonly { readonly Spread: { readonly SpreadDescriptor: string } }[];
  readonly MaxReplicas?: number;
  readonly Platforms?: readonly { readonly Architecture: string; readonly OS: string }[];
}

export interface NetworkAttachmentJson {
  /** an id or a name */
  readonly Target: string;
  readonly Aliases?: readonly string[];
  readonly DriverOpts?: LabelsJson;
}

export interface TaskSpecJson {
  readonly ContainerSpec: ContainerSpecJson;
  readonly Resources?: ResourcesJson;
  readonly RestartPolicy?: RestartPolicyJson;
  readonly Placement?: PlacementJson;
  readonly Networks?: readonly NetworkAttachmentJson[];
  readonly LogDriver?: { readonly Name?: string; readonly Options?: LabelsJson };
  readonly ForceUpdate?: number;
  readonly Runtime?: string;
}

export interface UpdateConfigJson {
  readonly Parallelism: number;
  readonly Delay?: number;
  readonly FailureAction?: string;
  readonly Monitor?: number;
  readonly MaxFailureRatio?: number;
  readonly Order?: string;
}

export interface ServiceModeJson {
  readonly Replicated?: { readonly Replicas?: number };
  readonly Global?: object;
  readonly ReplicatedJob?: { readonly MaxConcurrent?: number; readonly TotalCompletions?: number };
  readonly GlobalJob?: object;
}

export interface EndpointSpecJson {
  readonly Mode?: string;
  readonly Ports?: readonly PortJson[];
}

export interface ServiceSpecJson {
  readonly Name: string;
  readonly Labels?: LabelsJson;
  readonly TaskTemplate: TaskSpecJson;
  readonly Mode?: ServiceModeJson;
  readonly UpdateConfig?: UpdateConfigJson;
  readonly RollbackConfig?: UpdateConfigJson;
  readonly EndpointSpec?: EndpointSpecJson;
}

export interface ServiceJson extends ObjectHeadJson {
  readonly Spec: ServiceSpecJson;
  readonly PreviousSpec?: ServiceSpecJson;
  readonly Endpoint?: {
    readonly Spec?: EndpointSpecJson;
    readonly Ports?: readonly PortJson[];
    readonly VirtualIPs?: readonly { readonly NetworkID: string; readonly Addr: string }[];
  };
  readonly UpdateStatus?: { readonly State?: string; readonly Message?: string };
  readonly ServiceStatus?: {
    readonly RunningTasks: number;
    readonly DesiredTasks: number;
    readonly CompletedTasks?: number;
  };
  readonly JobStatus?: { readonly JobIteration?: VersionJson };
}

export interface TaskJson extends ObjectHeadJson {
  readonly Spec: TaskSpecJson;
  readonly ServiceID: string;
  readonly Slot?: number;
  readonly NodeID?: string;
  readonly Status: {
    readonly Timestamp: string;
    readonly State: string;
    readonly Message?: string;
    readonly Err?: string;
    readonly ContainerStatus?: {
      readonly ContainerID?: string;
      readonly PID?: number;
      readonly ExitCode?: number;
    };
    readonly PortStatus?: { readonly Ports?: readonly PortJson[] };
  };
  readonly DesiredState: string;
  readonly NetworksAttachments?: readonly { readonly Addresses?: readonly string[] }[];
  readonly JobIteration?: VersionJson;
}

export interface IpamConfigJson {
  readonly Subnet?: string;
  readonly Gateway?: string;
  readonly IPRange?: string;
  readonly AuxiliaryAddresses?: LabelsJson;
}

export interface IpamJson {
  readonly Driver?: string;
  readonly Options?: LabelsJson;
  readonly Config?: readonly IpamConfigJson[];
}

export interface NetworkCreateJson {
  readonly Name: string;
  readonly Driver: string;
  readonly Internal?: boolean;
  readonly Attachable?: boolean;
  readonly Ingress?: boolean;
  readonly EnableIPv6?: boolean;
  readonly IPAM?: IpamJson;
  readonly Options?: LabelsJson;
  readonly Labels?: LabelsJson;
}

export interface NetworkJson extends NetworkCreateJson {
  readonly Id: string;
  readonly Created: string;
  readonly Scope: string;
}

export interface SecretSpecJson {
  readonly Name: string;
  readonly Labels?: LabelsJson;
  /** base 64; a secret's is never sent back */
  readonly Data?: string;
  readonly Driver?: { readonly Name: string; readonly Options?: LabelsJson };
  readonly Templating?: { readonly Name: string; readonly Options?: LabelsJson };
}

/** A secret or a config. */
export interface SecretJson extends ObjectHeadJson {
  readonly Spec: SecretSpecJson;
}

/** One line of `/events`. */
/** Of skep's own: a stack as it is to be. Services name networks, secrets and configs; they know no ids. */
export interface StackRequestJson {
  readonly Networks: readonly NetworkCreateJson[];
  readonly Secrets: readonly StackFileJson[];
  readonly Configs: readonly StackFileJson[];
  readonly Services: readonly ServiceSpecJson[];
  /** services of the stack that are not given go */
  readonly Prune?: boolean;
}

export interface StackFileJson extends SecretSpecJson {
  /** the object with this content, in the place of `Data` */
  readonly Object?: string;
}

export interface StackChangeJson {
  readonly Kind: 'network' | 'secret' | 'config' | 'service';
  readonly Name: string;
  readonly Object: string;
  /** '' for what is to be created */
  readonly ID: string;
  readonly Version: VersionJson;
  /** the same until somebody changes its spec */
  readonly SpecVersion: VersionJson;
  readonly Action: 'create' | 'update' | 'replace' | 'remove' | 'none';
  readonly Fields: readonly string[];
  readonly ForcedBy: readonly string[];
  readonly ReplacedTasks: number;
  readonly Note: string;
  /** where the tasks that come would land now; null = none come */
  readonly Landing: {
    readonly Nodes: readonly {
      readonly NodeID: string;
      readonly Hostname: string;
      readonly Tasks: number;
    }[];
    readonly Unplaced: { readonly Tasks: number; readonly Reason: string } | null;
  } | null;
}

export interface StackPlanJson {
  readonly Name: string;
  readonly Hash: string;
  readonly Changes: readonly StackChangeJson[];
}

/** One change of an object of the cluster, as `GET /skep/watch` tells it. */
export type ChangeJson = {
  readonly Action: 'create' | 'update' | 'remove';
} & (
  | { readonly Kind: 'service'; readonly Object: ServiceJson; readonly Previous?: ServiceJson }
  | { readonly Kind: 'task'; readonly Object: TaskJson; readonly Previous?: TaskJson }
  | {
      readonly Kind: 'secret' | 'config';
      readonly Object: SecretJson;
      readonly Previous?: SecretJson;
    }
  | { readonly Kind: 'network'; readonly Object: NetworkJson; readonly Previous?: NetworkJson }
);

export interface EventJson {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: {
    readonly ID: string;
    readonly Attributes: Readonly<Record<string, string>>;
  };
  readonly scope: string;
  readonly time: number;
  readonly timeNano: number;
  /** of containers and images, for old clients: these three */
  readonly status?: string;
  readonly id?: string;
  readonly from?: string;
}

export interface VolumeJson {
  readonly Name: string;
  readonly Driver: string;
  readonly Mountpoint: string;
  readonly Scope: string;
  readonly CreatedAt?: string;
  readonly Labels?: LabelsJson | null;
  readonly Options?: LabelsJson | null;
}

export interface ImageSummaryJson {
  readonly Id: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
  /** unix seconds */
  readonly Created: number;
  readonly Size: number;
  /** of the layers that other images have, too; -1 = not counted */
  readonly SharedSize?: number;
  readonly Containers?: number;
}

export interface ImageHistoryJson {
  readonly Id: string;
  /** unix seconds */
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Size: number;
  readonly Comment: string;
}

export interface ImagesPruneJson {
  readonly ImagesDeleted?:
    | readonly { readonly Untagged?: string; readonly Deleted?: string }[]
    | null;
  readonly SpaceReclaimed: number;
}

export interface DiskUsageJson {
  readonly LayersSize?: number;
  readonly Images?: readonly ImageSummaryJson[] | null;
  readonly Containers?: readonly ContainerSummaryJson[] | null;
  readonly Volumes?:
    | readonly {
        readonly Name: string;
        readonly UsageData?: { readonly Size: number; readonly RefCount: number };
      }[]
    | null;
}

export interface ContainerSummaryJson {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly Command: string;
  /** unix seconds */
  readonly Created: number;
  readonly State: string;
  readonly Status: string;
  /** bytes, where sizes were asked for */
  readonly SizeRw?: number;
  readonly SizeRootFs?: number;
  readonly Ports?: readonly {
    readonly IP?: string;
    readonly PrivatePort: number;
    readonly PublicPort?: number;
    readonly Type: string;
  }[];
  readonly Labels?: LabelsJson;
  readonly Mounts?: readonly { readonly Name?: string; readonly Source?: string }[];
  readonly NetworkSettings?: { readonly Networks?: Readonly<Record<string, object>> };
}

export interface ContainerJson {
  readonly Id: string;
  readonly Name: string;
  readonly Config?: { readonly Tty?: boolean; readonly OpenStdin?: boolean };
  readonly State?: {
    readonly Running?: boolean;
    readonly Paused?: boolean;
    readonly Pid?: number;
    readonly ExitCode?: number;
  };
  readonly NetworkSettings?: {
    readonly Ports?: Readonly<
      Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
    >;
  };
}

/** What `POST /containers/create` is sent; its HostConfig has many more fields than are named here. */
export interface ContainerCreateJson {
  readonly Image: string;
  readonly Cmd?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Env?: readonly string[];
  readonly Labels?: LabelsJson;
  readonly Hostname?: string;
  readonly Domainname?: string;
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly Tty?: boolean;
  readonly OpenStdin?: boolean;
  readonly StdinOnce?: boolean;
  readonly StopSignal?: string;
  readonly StopTimeout?: number;
  readonly Healthcheck?: HealthcheckJson;
  readonly ExposedPorts?: Readonly<Record<string, object>>;
  readonly Volumes?: Readonly<Record<string, object>>;
  readonly HostConfig: Readonly<Record<string, unknown>>;
}

export interface SwarmSpecJson {
  readonly Name?: string;
  readonly Labels?: LabelsJson;
  readonly Orchestration?: { readonly TaskHistoryRetentionLimit?: number };
  readonly Raft?: {
    readonly SnapshotInterval?: number;
    readonly KeepOldSnapshots?: number;
    readonly ElectionTick?: number;
    readonly HeartbeatTick?: number;
  };
  readonly Dispatcher?: { readonly HeartbeatPeriod?: number };
  readonly CAConfig?: { readonly NodeCertExpiry?: number };
  readonly EncryptionConfig?: { readonly AutoLockManagers?: boolean };
}

/** Of skep's own: why tasks of a service wait, and what each node says to one more of them. */
export interface ServiceExplanationJson {
  readonly ServiceID: string;
  readonly ServiceName: string;
  /** how many tasks wait; `Waiting` has the first 100 */
  readonly WaitingCount: number;
  readonly Waiting: readonly {
    readonly TaskID: string;
    /** 0 for global services */
    readonly Slot: number;
    /** empty for replicated services */
    readonly NodeID: string;
    readonly State: string;
    readonly Reason: string;
  }[];
  readonly Nodes: readonly {
    readonly NodeID: string;
    readonly Hostname: string;
    readonly Tasks: number;
    readonly Fits: boolean;
    readonly Refusals: readonly {
      readonly Filter: string;
      readonly Detail: string;
      readonly Remedy: string;
      readonly ShortBy: Readonly<Record<string, number>>;
    }[];
  }[];
  readonly Nearest: {
    readonly NodeID: string;
    readonly Hostname: string;
    readonly Changes: readonly string[];
  } | null;
}

/** Of skep's own: one node's network compared with its tables. */
export interface NetworkProofJson {
  readonly NodeID: string;
  readonly Hostname: string;
  /** `compared`; `down`: not asked; `failed`: see `Error` */
  readonly State: 'compared' | 'down' | 'failed';
  readonly Error: string;
  /** namespaces */
  readonly Compared: number;
  readonly DriftCount: number;
  /** of those, not repaired */
  readonly LeftCount: number;
  readonly RepairedSinceStart: number;
  /** the first 200 */
  readonly Drifts: readonly {
    readonly Where: string;
    readonly What: string;
    /** null = it ought not to be there */
    readonly Wanted: string | null;
    /** null = it was not there */
    readonly Found: string | null;
    readonly Repaired: boolean;
  }[];
  readonly Failures: readonly { readonly Where: string; readonly Reason: string }[];
}

export interface SwarmJson extends ObjectHeadJson {
  readonly Spec: SwarmSpecJson;
  readonly JoinTokens?: { readonly Worker: string; readonly Manager: string };
  readonly TLSInfo?: { readonly TrustRoot?: string };
}

export interface SwarmInitJson {
  readonly ListenAddr: string;
  readonly AdvertiseAddr: string;
  readonly DataPathAddr: string;
  readonly DataPathPort: number;
  readonly ForceNewCluster: boolean;
  readonly AutoLockManagers: boolean;
  readonly Availability: string;
  readonly DefaultAddrPool: readonly string[];
  readonly SubnetSize: number;
  readonly Spec: SwarmSpecJson;
}

export interface SwarmJoinJson {
  readonly ListenAddr: string;
  readonly AdvertiseAddr: string;
  readonly DataPathAddr: string;
  readonly RemoteAddrs: readonly string[];
  readonly JoinToken: string;
  readonly Availability: string;
}

export interface InfoJson {
  readonly ID?: string;
  readonly Name?: string;
  readonly ServerVersion?: string;
  readonly Swarm: {
    readonly NodeID?: string;
    readonly NodeAddr?: string;
    readonly LocalNodeState?: string;
    readonly ControlAvailable?: boolean;
    readonly Error?: string;
    readonly Nodes?: number;
    readonly Managers?: number;
    readonly RemoteManagers?: readonly { readonly NodeID: string; readonly Addr: string }[] | null;
    readonly Cluster?: { readonly ID?: string } | null;
  };
  readonly Images?: number;
  readonly Containers?: number;
  readonly ContainersRunning?: number;
  readonly ContainersPaused?: number;
  readonly ContainersStopped?: number;
  readonly Driver?: string;
  readonly CgroupDriver?: string;
  readonly CgroupVersion?: string;
  readonly KernelVersion?: string;
  readonly OperatingSystem?: string;
  readonly OSType?: string;
  readonly Architecture?: string;
  readonly NCPU?: number;
  readonly MemTotal?: number;
  readonly DockerRootDir?: string;
  readonly Warnings?: readonly string[] | null;
}

export interface EngineVersionJson {
  readonly Version: string;
  readonly ApiVersion: string;
  readonly MinAPIVersion?: string;
  readonly Os?: string;
  readonly Arch?: string;
  readonly KernelVersion?: string;
  readonly GitCommit?: string;
  readonly BuildTime?: string;
}
