/** The Docker Engine API's JSON: stacks (ours). */
import type { NetworkCreateJson } from './network.ts';
import type { VersionJson } from './object-head.ts';
import type { SecretSpecJson } from './secret.ts';
import type { ServiceSpecJson } from './service.ts';

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
