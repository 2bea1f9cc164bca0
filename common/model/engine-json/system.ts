/** The Docker Engine API's JSON: the engine. */
import type { ContainerSummaryJson } from './container.ts';
import type { ImageSummaryJson } from './image.ts';
import type { TlsInfoJson } from './swarm.ts';

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
    readonly Cluster?: { readonly ID?: string; readonly TLSInfo?: TlsInfoJson } | null;
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
