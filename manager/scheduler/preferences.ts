/**
 * Placement preferences: a tree with one level for each `spread` label. Each task goes down the branch
 * that has the fewest tasks of the service and still room.
 */
import type { Node } from '../../common/model/node.ts';
import { type NodeSource, SpreadHeap, type SpreadRule } from './spread.ts';

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
 * @param all every node of the branch: tasks on nodes that do not pass count, too
 * @param passes whether a node may get tasks, but for the room on it
 */
export function preferenceTree(
  all: readonly number[],
  readers: readonly LabelReader[],
  passes: (index: number) => boolean,
  rule: SpreadRule,
): NodeSource {
  const [reader, ...deeper] = readers;
  if (!reader) return new SpreadHeap(all.filter(passes), rule);
  const { table, serviceId, leaving } = rule;
  const byValue = new Map<string, number[]>();
  for (const index of all) {
    const value = reader(table.node(index));
    const members = byValue.get(value);
    if (members) members.push(index);
    else byValue.set(value, [index]);
  }
  const active = table.activeOf(serviceId);
  const staying = (index: number): number => {
    return (active.get(index) ?? 0) - (leaving.get(index) ?? 0);
  };
  const branches = [...byValue.values()].map((members) => ({
    tasks: members.reduce((sum, index) => sum + staying(index), 0),
    source: preferenceTree(members, deeper, passes, rule),
  }));
  return new EvenBranches(branches);
}

interface Branch {
  tasks: number;
  readonly source: NodeSource;
}

/** INVARIANT: no branch has fewer tasks than its parent in the heap. */
class EvenBranches implements NodeSource {
  readonly #heap: Branch[];

  /** Of branches with equally many tasks the first comes first. */
  constructor(branches: Branch[]) {
    this.#heap = branches.sort((a, b) => a.tasks - b.tasks);
  }

  placeOn(book: (index: number) => void): number {
    for (let branch = this.#heap[0]; branch; branch = this.#heap[0]) {
      const index = branch.source.placeOn(book);
      if (index >= 0) {
        branch.tasks++;
        this.#sinkFirst();
        return index;
      }
      const last = this.#heap.pop()!;
      if (this.#heap.length > 0) this.#heap[0] = last;
      this.#sinkFirst();
    }
    return -1;
  }

  #sinkFirst(): void {
    const heap = this.#heap;
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      let least = at;
      if (left < heap.length && heap[left]!.tasks < heap[least]!.tasks) least = left;
      if (right < heap.length && heap[right]!.tasks < heap[least]!.tasks) least = right;
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least]!, heap[at]!];
      at = least;
    }
  }
}
