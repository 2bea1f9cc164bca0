/** The Docker Engine API's JSON: containers outside of services, and what is told of all. */
import type { HealthcheckJson } from './container-spec.ts';
import type { EndpointConfigJson } from './network.ts';
import type { LabelsJson } from './object-head.ts';

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
  readonly Mounts?: readonly {
    readonly Name?: string;
    readonly Source?: string;
    readonly Driver?: string;
  }[];
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
  readonly NetworkingConfig?: {
    readonly EndpointsConfig: Readonly<Record<string, EndpointConfigJson>>;
  };
}
