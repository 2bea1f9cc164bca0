/** What a filter is: does it concern this task, does a node pass, and how is a refusal put in words. */
import type { FilterRefusal } from '../../common/model/placement.ts';
import type { Task } from '../../common/model/task.ts';
import type { NodeTable } from './node-table.ts';

/** A filter made ready for one task. Nodes go by their index in the table. */
export interface NodeCheck {
  /** Checks of one filter with equal keys say the same of every node. */
  readonly key: string;
  passes(index: number): boolean;
  /** Only for a node that does not pass. */
  refusal(index: number): NodeRefusal;
}

/** Why one node is refused, for a person. */
export interface NodeRefusal extends Omit<FilterRefusal, 'filter'> {
  /** how hard the remedy is to carry out, to find the nearest one: a setting is 1, a machine 10 */
  readonly effort: number;
}

export interface Filter {
  readonly name: string;
  /**
   * `node`: the answer follows from the node's own words and state, and is kept until those change;
   * `load`: it depends on the tasks that are there.
   */
  readonly looksAt: 'node' | 'load';
  /** null = the filter does not concern the task */
  prepare(task: Task, table: NodeTable): NodeCheck | null;
  /** One clause for all the nodes that were refused. */
  explain(nodes: number): string;
}

/** `on 1 node`, `on 5 nodes` */
export function onNodes(nodes: number): string {
  return nodes === 1 ? 'on 1 node' : `on ${nodes} nodes`;
}
