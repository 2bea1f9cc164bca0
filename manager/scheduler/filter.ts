/** What a filter is: does it concern this task, does a node pass, and how is a refusal put in words. */
import type { Task } from '../../common/model/task.ts';
import type { NodeEntry } from './node-entry.ts';
import type { NodeTable } from './node-table.ts';

/** A filter made ready for one task. */
export interface NodeCheck {
  passes(entry: NodeEntry): boolean;
  /** Why this node is refused and by how much, for a person. Called only when it does not pass. */
  detail(entry: NodeEntry): string;
}

export interface Filter {
  readonly name: string;
  /** null = the filter does not concern the task */
  prepare(task: Task, table: NodeTable): NodeCheck | null;
  /** One clause for all the nodes that were refused. */
  explain(nodes: number): string;
}

/** `on 1 node`, `on 5 nodes` */
export function onNodes(nodes: number): string {
  return nodes === 1 ? 'on 1 node' : `on ${nodes} nodes`;
}
