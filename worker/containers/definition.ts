/** What a person asked for: a container outside of services. Plain data, as it is kept on disk. */
import type { ContainerSpec, ResourceRequirements } from '../../common/model/service.ts';
import type { PortWish } from '../network/local-ports.ts';

export type NetworkChoice =
  | { readonly kind: 'bridge' | 'none' | 'host' }
  /** that of another container of this node, by its id */
  | { readonly kind: 'container'; readonly containerId: string };

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
  readonly network: NetworkChoice;
  readonly ports: readonly PortWish[];
  readonly restart: RestartRule;
  /** it goes when it ends */
  readonly autoRemove: boolean;
  /** its input ends with the first client that was attached to it */
  readonly stdinOnce: boolean;
  /** as the API was given them: to be shown, nothing is decided by them */
  readonly shown: { readonly config: JsonObject; readonly hostConfig: JsonObject };
}
