/** The Docker Engine API's JSON: networks, and the proof of them (ours). */
import type { LabelsJson } from './object-head.ts';

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
  readonly Scope?: string;
  readonly ConfigOnly?: boolean;
  readonly ConfigFrom?: { readonly Network: string };
  readonly IPAM?: IpamJson;
  readonly Options?: LabelsJson;
  readonly Labels?: LabelsJson;
}

export interface NetworkJson extends NetworkCreateJson {
  readonly Id: string;
  readonly Created: string;
  readonly Scope: string;
  readonly EnableIPv4?: boolean;
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

/** What a container asks for in a network. */
export interface EndpointConfigJson {
  readonly Aliases?: readonly string[];
  readonly IPAMConfig?: { readonly IPv4Address?: string };
  readonly MacAddress?: string;
}

/** What `POST /networks/:id/connect` takes. */
export interface NetworkConnectJson {
  readonly Container: string;
  readonly EndpointConfig?: EndpointConfigJson;
}

/** Of skep's own: the way of a connection to a service. */
export interface NetworkTraceJson {
  readonly Service: string;
  readonly NodeID: string;
  readonly Hostname: string;
  /** '' = from the node itself */
  readonly Task: string;
  readonly Hops: readonly {
    readonly Step: string;
    readonly Detail: string;
    /** what the kernel has otherwise, or why the way ends here */
    readonly Faults: readonly string[];
  }[];
}
