/** The Docker Engine API's JSON: events, and changes of the cluster's objects (ours). */
import type { NetworkJson } from './network.ts';
import type { SecretJson } from './secret.ts';
import type { ServiceJson } from './service.ts';
import type { TaskJson } from './task.ts';

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
