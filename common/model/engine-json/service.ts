/** The Docker Engine API's JSON: services. */
import type { LabelsJson, ObjectHeadJson, VersionJson } from './object-head.ts';
import type { PortJson } from './port.ts';
import type { TaskSpecJson } from './task.ts';

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
  readonly UpdateStatus?: {
    readonly State?: string;
    readonly StartedAt?: string;
    readonly CompletedAt?: string;
    readonly Message?: string;
  };
  readonly ServiceStatus?: {
    readonly RunningTasks: number;
    readonly DesiredTasks: number;
    readonly CompletedTasks?: number;
  };
  readonly JobStatus?: { readonly JobIteration?: VersionJson };
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
