/**
 * Placement preferences: a tree with one level for each `spread` label. Each task goes down the branch
 * that has the fewest tasks of the service and still room (swarm-behaviour 3.4).
 */

import type { ServiceId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { NodeEntry } from './node-entry.ts';
import type { NodeSource } from './spread.ts';

/** Reads the label that a preference spreads over; nodes without it share the empty value. */
type LabelReader = (node: Node) => string;

/** Descriptors of other forms say nothing to us and are left out. */
export function labelReaders(
  preferences: readonly { readonly spreadOver: string }[],
): LabelReader[] {
  return preferences.flatMap(({ spreadOver }) => {
    const reader = labelReader(spreadOver);
    return reader ? [reader] : [];
  });
}

function labelReader(descriptor: string): LabelReader | null {
  const match = /^(node|engine)\.labels\.(.+)$/i.exec(descriptor);
  if (!match) return null;
  const [, source, key] = match;
  return (node) => {
    const labels =
      source!.toLowerCase() === 'node' ? node.spec.labels : (node.description?.engineLabels ?? {});
    return Object.hasOwn(labels, key!) ? labels[key!]! : '';
  };
}

/**
 * @param entries every node: tasks on nodes that do not pass count in their branch, too
 * @param passes whether a node may get a task now
 * @param leaf makes the source of a branch's passing nodes
 */
export function preferenceTree(
  entries: readonly NodeEntry[],
  readers: readonly LabelReader[],
  serviceId: ServiceId,
  passes: (entry: NodeEntry) => boolean,
  leaf: (entries: readonly NodeEntry[]) => NodeSource,
): NodeSource {
  const [reader, ...deeper] = readers;
  if (!reader) return leaf(entries.filter(passes));
  const byValue = new Map<string, NodeEntry[]>();
  for (const entry of entries) {
    const value = reader(entry.node);
    const members = byValue.get(value);
    if (members) members.push(entry);
    else byValue.set(value, [entry]);
  }
  const branches = [...byValue.values()].map((members) => ({
    tasks: members.reduce((sum, entry) => sum + entry.activeOf(serviceId), 0),
    source: preferenceTree(members, deeper, serviceId, passes, leaf),
  }));
  return new EvenBranches(branches);
}

interface Branch {
  tasks: number;
  readonly source: NodeSource;
}

class EvenBranches implements NodeSource {
  #open: Branch[];

  constructor(branches: Branch[]) {
    this.#open = branches;
  }

  placeOn(book: (entry: NodeEntry) => void): NodeEntry | null {
    while (this.#open.length > 0) {
      const branch = this.#open.reduce((best, one) => (one.tasks < best.tasks ? one : best));
      const entry = branch.source.placeOn(book);
      if (entry) {
        branch.tasks++;
        return entry;
      }
      this.#open = this.#open.filter((one) => one !== branch);
    }
    return null;
  }
}
