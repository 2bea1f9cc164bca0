/** The kinds of stored objects, as one table of types. */
import type { Cluster } from './cluster.ts';
import type { Network } from './network.ts';
import type { Node } from './node.ts';
import type { Config, Secret } from './secret.ts';
import type { Service } from './service.ts';
import type { Task } from './task.ts';

export interface ObjectsByKind {
  readonly cluster: Cluster;
  readonly node: Node;
  readonly service: Service;
  readonly task: Task;
  readonly network: Network;
  readonly secret: Secret;
  readonly config: Config;
}

export type ObjectKind = keyof ObjectsByKind;
export type AnyObject = ObjectsByKind[ObjectKind];

export const OBJECT_KINDS: readonly ObjectKind[] = [
  'cluster',
  'node',
  'service',
  'task',
  'network',
  'secret',
  'config',
];
