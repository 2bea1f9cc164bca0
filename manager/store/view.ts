/** Reads: over the tables as they are. The base class is shared with transactions. */
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import { keepShape } from '../../common/base/kept-shapes.ts';
import type { NetworkId, NodeId, ServiceId } from '../../common/model/ids.ts';
import type { ObjectKind, ObjectsByKind } from '../../common/model/object-kinds.ts';
import type { Task } from '../../common/model/task.ts';
import { foldName, hasTaskName, Tables, type TaskLookup, taskIdInName } from './tables.ts';
import type { ReadView } from './types.ts';

export function notFound(kind: ObjectKind, id: string): SkepError {
  return new SkepError('not-found', `${kind} ${id} not found`);
}

/** Ends with its callback: a later use is a programmer's mistake. */
export abstract class View implements ReadView {
  protected readonly tables: Tables;
  readonly revision: number;
  #closed = false;

  constructor(tables: Tables) {
    this.tables = tables;
    this.revision = tables.revision;
  }

  close(): void {
    this.#closed = true;
  }

  protected assertOpen(): void {
    assert(!this.#closed, 'a store view is used after its callback returned');
  }

  abstract get<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K] | undefined;
  abstract list<K extends ObjectKind>(kind: K): readonly ObjectsByKind[K][];
  abstract count(kind: ObjectKind): number;
  /** Objects of a kind other than task by folded name. */
  protected abstract named<K extends ObjectKind>(kind: K, folded: string): ObjectsByKind[K][];
  protected abstract tasks(lookup: TaskLookup): readonly Task[];

  require<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K] {
    const object = this.get(kind, id);
    if (object === undefined) throw notFound(kind, id);
    return object;
  }

  byName<K extends ObjectKind>(kind: K, name: string): readonly ObjectsByKind[K][] {
    if (kind !== 'task') return this.named(kind, foldName(name));
    const task = this.get('task', taskIdInName(name));
    return (task && hasTaskName(task, name) ? [task] : []) as ObjectsByKind[K][];
  }

  byIdPrefix<K extends ObjectKind>(kind: K, prefix: string): readonly ObjectsByKind[K][] {
    return this.list(kind).filter((object) => object.id.startsWith(prefix));
  }

  tasksByService(serviceId: ServiceId): readonly Task[] {
    return this.tasks({ by: 'service', serviceId });
  }

  tasksByNode(nodeId: NodeId): readonly Task[] {
    return this.tasks({ by: 'node', nodeId });
  }

  tasksBySlot(serviceId: ServiceId, slot: number): readonly Task[] {
    return this.tasks({ by: 'slot', serviceId, slot });
  }

  /** Tasks that have a seat in the network; those whose spec merely names it are not among them. */
  tasksByNetwork(networkId: NetworkId): readonly Task[] {
    return this.tasks({ by: 'network', networkId });
  }
}

/** The state at this moment. */
export class TablesView extends View {
  get<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K] | undefined {
    this.assertOpen();
    return this.tables.get(kind, id);
  }

  list<K extends ObjectKind>(kind: K): readonly ObjectsByKind[K][] {
    this.assertOpen();
    return this.tables.list(kind);
  }

  count(kind: ObjectKind): number {
    this.assertOpen();
    return this.tables.count(kind);
  }

  protected named<K extends ObjectKind>(kind: K, folded: string): ObjectsByKind[K][] {
    this.assertOpen();
    return objectsOf(this.tables, kind, this.tables.idsByName(kind, folded));
  }

  protected tasks(lookup: TaskLookup): readonly Task[] {
    this.assertOpen();
    return objectsOf(this.tables, 'task', this.tables.taskIds(lookup));
  }
}

function objectsOf<K extends ObjectKind>(
  tables: Tables,
  kind: K,
  ids: Iterable<string>,
): ObjectsByKind[K][] {
  const out: ObjectsByKind[K][] = [];
  for (const id of ids) out.push(tables.get(kind, id)!);
  return out;
}

keepShape(new TablesView(new Tables()));
