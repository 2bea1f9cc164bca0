/** What a person asked for: a container outside of services. Plain data, as it is kept on disk. */
import type { ContainerSpec, LogDriver, ResourceRequirements } from '../../common/model/service.ts';
import type { EndpointWish } from '../network/container-place.ts';
import type { PortWish } from '../network/local-ports.ts';
import type { ContainerLink } from './links.ts';

export type NetworkChoice =
  | { readonly kind: 'none' | 'host' }
  /** one of its own with places in networks; absent = in `bridge` alone */
  | { readonly kind: 'bridge'; readonly endpoints?: readonly EndpointWish[] }
  /** that of another container of this node, by its id */
  | { readonly kind: 'container'; readonly containerId: string };

const ON_BRIDGE: EndpointWish = { network: 'bridge', aliases: [], address: '', mac: '' };

/** Namespaces that are another container's of this node, by its id. */
export interface JoinedNamespaces {
  readonly pid: string | null;
  readonly ipc: string | null;
}

/** The networks in which it wants a place, in their order. */
export function endpointsOf({
  network,
}: Pick<ContainerDefinition, 'network'>): readonly EndpointWish[] {
  return network.kind === 'bridge' ? (network.endpoints ?? [ON_BRIDGE]) : [];
}

export interface RestartRule {
  readonly name: 'no' | 'on-failure' | 'always' | 'unless-stopped';
  /** of `on-failure`; 0 = no end */
  readonly maximumRetryCount: number;
}

export const NO_RESTART: RestartRule = { name: 'no', maximumRetryCount: 0 };

export type JsonObject = Readonly<Record<string, unknown>>;

export interface ContainerDefinition {
  /** no secrets and configs: those are a service's */
  readonly container: ContainerSpec;
  readonly resources: ResourceRequirements;
  /** against which a later quota of CPU counts, us; absent in records of earlier releases = 100 ms */
  readonly cpuPeriodUs?: number;
  readonly network: NetworkChoice;
  /** absent = none */
  readonly joined?: JoinedNamespaces;
  /** other containers may have its IPC namespace; absent = no */
  readonly isIpcShareable?: boolean;
  /** of the network `bridge`; those of others are its places'. Absent = none */
  readonly links?: readonly ContainerLink[];
  readonly ports: readonly PortWish[];
  readonly restart: RestartRule;
  /** it goes when it ends */
  readonly autoRemove: boolean;
  /** absent in records of earlier releases; null = as the node logs */
  readonly logDriver?: LogDriver | null;
  /** its input ends with the first client that was attached to it */
  readonly stdinOnce: boolean;
  /** rows and columns that its terminal begins with; null = nobody said. Absent in records of earlier releases */
  readonly consoleSize?: readonly [number, number] | null;
  /** as the API was given them: to be shown, nothing is decided by them */
  readonly shown: { readonly config: JsonObject; readonly hostConfig: JsonObject };
}
