/** The Docker Engine API's JSON: nodes. */

import type { LabelsJson, ObjectHeadJson } from './object-head.ts';
import type { TlsInfoJson } from './swarm.ts';

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
    readonly TLSInfo?: TlsInfoJson;
  };
  readonly Status?: { readonly State?: string; readonly Message?: string; readonly Addr?: string };
  readonly ManagerStatus?: {
    readonly Leader?: boolean;
    readonly Reachability?: string;
    readonly Addr?: string;
  };
}
