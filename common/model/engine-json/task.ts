/** The Docker Engine API's JSON: tasks, what is wanted of them and what became of them. */
import type { ContainerSpecJson } from './container-spec.ts';
import type { LabelsJson, ObjectHeadJson, VersionJson } from './object-head.ts';
import type { PortJson } from './port.ts';

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
  readonly OomKillDisable?: boolean;
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
  /** ours, for services of one replica: the address that the task has there */
  readonly IPAMConfig?: { readonly IPv4Address?: string };
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

/** A task that would better be elsewhere. */
export interface TaskMoveJson {
  readonly TaskID: string;
  readonly Service: string;
  readonly Slot: number;
  readonly From: { readonly NodeID: string; readonly Hostname: string };
  readonly To: { readonly NodeID: string; readonly Hostname: string };
}
