/**
 * One node's assignment set: which tasks, secrets, configs and networks it must know, and the steps
 * between revisions. Knows nothing of streams.
 */
import { append } from '../../common/base/append.ts';
import type { AssignmentChange, AssignmentsByKind } from '../../common/model/assignment.ts';
import { AssignmentChecksum } from '../../common/model/assignment-checksum.ts';
import type { ConfigId, NetworkId, NodeId, SecretId, TaskId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import type { ReadView, StoreChange } from '../store/types.ts';
import type { NetworkTables, PeersOf, TableChanges } from './network-tables.ts';
import { sameJson } from './registrations.ts';

/** Counts users of something shared; tells when the first comes and the last goes. */
class UseCounts<T> {
  readonly #counts = new Map<T, number>();

  has(item: T): boolean {
    return this.#counts.has(item);
  }

  keys(): IterableIterator<T> {
    return this.#counts.keys();
  }

  add(item: T): void {
    this.#counts.set(item, (this.#counts.get(item) ?? 0) + 1);
  }

  remove(item: T): void {
    const left = (this.#counts.get(item) ?? 0) - 1;
    if (left > 0) this.#counts.set(item, left);
    else this.#counts.delete(item);
  }
}

/** What a task makes its node need. */
interface Needs {
  readonly networks: readonly NetworkId[];
  readonly secrets: readonly SecretId[];
  readonly configs: readonly ConfigId[];
}

/** One list, for lists are compared by identity. */
const NONE_ATTACHED: Node['containerAttachments'] = [];

type FileKind = 'secret' | 'config';
type FileId<K extends FileKind> = AssignmentsByKind[K]['id'];

interface HeldTask {
  task: Task;
  readonly needs: Needs;
  /** that was told last: writes which the agent need not hear of make newer ones; null = none yet */
  toldVersion: number | null;
}

const NOTHING: Needs = { networks: [], secrets: [], configs: [] };

export type TaskChange = Extract<StoreChange, { kind: 'task' }>;

/** What the node held before a step. */
interface Held {
  readonly networks: ReadonlySet<NetworkId>;
  readonly inhabited: ReadonlySet<NetworkId>;
  readonly secrets: ReadonlySet<SecretId>;
  readonly configs: ReadonlySet<ConfigId>;
}

export class NodeAssignments {
  readonly #nodeId: NodeId;
  readonly #tasks = new Map<TaskId, HeldTask>();
  /** of its tasks and containers outside of services; it holds these and the ingress network */
  readonly #inhabited = new UseCounts<NetworkId>();
  /** of those containers */
  #attachments: Node['containerAttachments'] = NONE_ATTACHED;
  readonly #secrets = new UseCounts<SecretId>();
  readonly #configs = new UseCounts<ConfigId>();
  #ingress: NetworkId | null = null;
  /** of the tasks, secrets and configs that it was told of */
  readonly #ownSum = new AssignmentChecksum();
  /** secrets and configs that its tasks need and the store does not have (any more) */
  readonly #missing = new Set<SecretId | ConfigId>();

  constructor(nodeId: NodeId) {
    this.#nodeId = nodeId;
  }

  /** The whole set at the view's revision. Call once, first. */
  complete(view: ReadView, tables: NetworkTables): AssignmentChange[] {
    const changes: AssignmentChange[] = [];
    this.#ingress = tables.ingressId;
    this.#stepContainers(this.#attachmentsIn(view));
    for (const task of view.tasksByNode(this.#nodeId)) {
      if (isAssigned(task, this.#nodeId)) this.#setTask(task, changes);
    }
    for (const id of this.#secrets.keys()) this.#tellFile('secret', id, view, changes);
    for (const id of this.#configs.keys()) this.#tellFile('config', id, view, changes);
    for (const id of this.#networks()) {
      append(changes, tables.items(id));
      append(changes, tables.peers(id, this.#peersOf(id)));
    }
    append(changes, tables.ports());
    return changes;
  }

  /**
   * The step that a batch of commits means for this node: `taskChanges` are those of its own tasks (others do
   * no harm), `tableChanges` what the batch did to the network tables.
   */
  step(
    view: ReadView,
    tables: NetworkTables,
    taskChanges: readonly TaskChange[],
    tableChanges: TableChanges,
  ): AssignmentChange[] {
    const out: AssignmentChange[] = [];
    const attachments = this.#attachmentsIn(view);
    const isSame = attachments === this.#attachments && this.#ingress === tables.ingressId;
    if (isSame && taskChanges.every((change) => this.#isReport(change))) {
      for (const { object: task } of taskChanges) this.#tasks.get(task.id)!.task = task;
      for (const [id, { items, peers }] of tableChanges.byNetwork) {
        if (!this.#holds(id)) continue;
        append(out, items);
        append(out, pick(peers, this.#peersOf(id)));
      }
    } else {
      const before = this.#held();
      this.#ingress = tables.ingressId;
      this.#stepContainers(attachments);
      this.#stepTasks(taskChanges, out);
      this.#stepFiles(view, before, out);
      this.#stepNetworks(tables, before, tableChanges, out);
    }
    append(out, tableChanges.ports);
    return out;
  }

  /**
   * Of all that the node holds after the last set or step. That of networks is counted by the tables, not by what was
   * told: a step that lacks something of them does not agree with it.
   */
  checksum(tables: NetworkTables): string {
    const sum = new AssignmentChecksum();
    sum.include(this.#ownSum);
    for (const id of this.#networks()) tables.addTo(sum, id, this.#peersOf(id));
    tables.addPortsTo(sum);
    return sum.value;
  }

  #attachmentsIn(view: ReadView): Node['containerAttachments'] {
    return view.get('node', this.#nodeId)?.containerAttachments ?? NONE_ATTACHED;
  }

  /** Those without an address are in no table yet. */
  #stepContainers(next: Node['containerAttachments']): void {
    for (const { networkId, address } of next) if (address !== '') this.#inhabited.add(networkId);
    for (const { networkId, address } of this.#attachments) {
      if (address !== '') this.#inhabited.remove(networkId);
    }
    this.#attachments = next;
  }

  #held(): Held {
    return {
      networks: new Set(this.#networks()),
      inhabited: new Set(this.#inhabited.keys()),
      secrets: new Set(this.#secrets.keys()),
      configs: new Set(this.#configs.keys()),
    };
  }

  #holds(id: NetworkId): boolean {
    return id === this.#ingress || this.#inhabited.has(id);
  }

  *#networks(): Iterable<NetworkId> {
    yield* this.#inhabited.keys();
    // Every node takes part in the ingress network, with or without tasks in it.
    if (this.#ingress && !this.#inhabited.has(this.#ingress)) yield this.#ingress;
  }

  #peersOf(id: NetworkId): PeersOf {
    return this.#inhabited.has(id) ? null : this.#nodeId;
  }

  /** A task goes out once, as it is after all of the changes: what it needs is decided by that, too. */
  #stepTasks(changes: readonly TaskChange[], out: AssignmentChange[]): void {
    const news = new Set<TaskId>();
    for (const { action, object: task } of changes) {
      if (action !== 'remove' && isAssigned(task, this.#nodeId)) {
        const known = this.#tasks.get(task.id);
        if (!known || differsForAgent(known.task, task)) news.add(task.id);
        this.#retain(task);
      } else if (this.#tasks.has(task.id)) {
        this.#release(task.id);
        this.#told(task.id, null);
        this.#tasks.delete(task.id);
        news.delete(task.id);
        out.push({ action: 'remove', kind: 'task', key: task.id });
      }
    }
    for (const id of news) {
      const item = this.#tasks.get(id)?.task;
      if (!item) continue;
      this.#told(id, item.meta.version);
      out.push({ action: 'set', kind: 'task', key: id, item });
    }
  }

  /** The agent's own words about a task that it holds: the task needs what it needed, and there is nothing to tell. */
  #isReport({ action, object: task }: TaskChange): boolean {
    const known = this.#tasks.get(task.id)?.task;
    return (
      action === 'update' &&
      known !== undefined &&
      isAssigned(task, this.#nodeId) &&
      isTerminal(known.status.state) === isTerminal(task.status.state) &&
      !differsForAgent(known, task)
    );
  }

  #setTask(task: Task, out: AssignmentChange[]): void {
    this.#retain(task);
    this.#told(task.id, task.meta.version);
    out.push({ action: 'set', kind: 'task', key: task.id, item: task });
  }

  /** @param version null = that the task is gone */
  #told(taskId: TaskId, version: number | null): void {
    const held = this.#tasks.get(taskId);
    if (!held) return;
    if (held.toldVersion !== null) this.#ownSum.subtract('task', taskId, held.toldVersion);
    if (version !== null) this.#ownSum.add('task', taskId, version);
    held.toldVersion = version;
  }

  #retain(task: Task): void {
    const toldVersion = this.#tasks.get(task.id)?.toldVersion ?? null;
    this.#release(task.id);
    const needs = needsOf(task);
    for (const id of needs.networks) this.#inhabited.add(id);
    for (const id of needs.secrets) this.#secrets.add(id);
    for (const id of needs.configs) this.#configs.add(id);
    this.#tasks.set(task.id, { task, needs, toldVersion });
  }

  #release(taskId: TaskId): void {
    const needs = this.#tasks.get(taskId)?.needs ?? NOTHING;
    for (const id of needs.networks) this.#inhabited.remove(id);
    for (const id of needs.secrets) this.#secrets.remove(id);
    for (const id of needs.configs) this.#configs.remove(id);
  }

  #stepFiles(view: ReadView, before: Held, out: AssignmentChange[]): void {
    for (const id of this.#secrets.keys()) {
      if (!before.secrets.has(id)) this.#tellFile('secret', id, view, out);
    }
    for (const id of this.#configs.keys()) {
      if (!before.configs.has(id)) this.#tellFile('config', id, view, out);
    }
    for (const id of before.secrets) if (!this.#secrets.has(id)) this.#dropFile('secret', id, out);
    for (const id of before.configs) if (!this.#configs.has(id)) this.#dropFile('config', id, out);
  }

  /** Their data never changes: each is of one version. */
  #tellFile<K extends FileKind>(
    kind: K,
    id: FileId<K>,
    view: ReadView,
    out: AssignmentChange[],
  ): void {
    const change = fileChange(kind, id, view);
    if (!change) {
      this.#missing.add(id);
      return;
    }
    this.#ownSum.add(kind, id, 0);
    out.push(change);
  }

  #dropFile<K extends FileKind>(kind: K, key: FileId<K>, out: AssignmentChange[]): void {
    if (!this.#missing.delete(key)) this.#ownSum.subtract(kind, key, 0);
    out.push({ action: 'remove', kind, key });
  }

  #stepNetworks(
    tables: NetworkTables,
    before: Held,
    tableChanges: TableChanges,
    out: AssignmentChange[],
  ): void {
    for (const id of this.#networks()) {
      const changes = tableChanges.byNetwork.get(id);
      if (!before.networks.has(id)) {
        append(out, tables.items(id));
        append(out, tables.peers(id, this.#peersOf(id)));
        continue;
      }
      append(out, changes?.items ?? []);
      const peers = changes?.peers ?? new Map<NodeId, AssignmentChange>();
      const knew = before.inhabited.has(id);
      append(out, pick(peers, knew ? null : this.#nodeId)); // of those that it knew
      const knows = this.#inhabited.has(id);
      if (knows && !knew) append(out, tables.peers(id, null));
      if (knew && !knows) append(out, tables.otherPeersRemoval(id, this.#nodeId));
    }
    for (const id of before.networks) {
      if (this.#holds(id)) continue;
      const whose = before.inhabited.has(id) ? null : this.#nodeId;
      const { items = [], peers = new Map<NodeId, AssignmentChange>() } =
        tableChanges.byNetwork.get(id) ?? {};
      // What the table lost in this very step must go from the node as well as what it still holds.
      append(
        out,
        [...items, ...pick(peers, whose)].filter((c) => c.action === 'remove'),
      );
      append(out, tables.removal(id, whose));
    }
  }
}

function pick(
  peers: ReadonlyMap<NodeId, AssignmentChange>,
  whose: PeersOf,
): readonly AssignmentChange[] {
  if (whose === null) return [...peers.values()];
  const own = peers.get(whose);
  return own ? [own] : [];
}

/** Of each node that a task is or was on. */
export function taskChangesByNode(changes: readonly StoreChange[]): Map<NodeId, TaskChange[]> {
  const byNode = new Map<NodeId, TaskChange[]>();
  const add = (nodeId: NodeId | null, change: TaskChange): void => {
    if (nodeId === null) return;
    const known = byNode.get(nodeId);
    if (known) known.push(change);
    else byNode.set(nodeId, [change]);
  };
  for (const change of changes) {
    if (change.kind !== 'task') continue;
    add(change.object.nodeId, change);
    if (change.action !== 'update') continue;
    const { nodeId } = change.previous;
    if (nodeId !== change.object.nodeId) add(nodeId, change);
  }
  return byNode;
}

/** The agent's business from the scheduler's decision on, until the task is deleted. */
function isAssigned(task: Task, nodeId: NodeId): boolean {
  return task.nodeId === nodeId && !isBefore(task.status.state, 'assigned');
}

/**
 * Anything but status and meta: those come from the agent itself. What a write left alone is the same object in both,
 * on the leader at least, so that few fields are looked into.
 */
function differsForAgent(known: Task, next: Task): boolean {
  for (const key of Object.keys(next) as (keyof Task)[]) {
    if (key === 'status' || key === 'meta' || known[key] === next[key]) continue;
    if (!sameJson(known[key], next[key])) return true;
  }
  return false;
}

function needsOf(task: Task): Needs {
  if (isTerminal(task.status.state)) return NOTHING;
  return {
    networks: task.networks.map(({ networkId }) => networkId),
    secrets: task.spec.container.secrets.map(({ secretId }) => secretId),
    configs: task.spec.container.configs.map(({ configId }) => configId),
  };
}

function fileChange<K extends FileKind>(
  kind: K,
  id: FileId<K>,
  view: ReadView,
): AssignmentChange | null {
  const file = view.get(kind, id);
  if (!file) return null;
  const { name, data, templateDriver } = file.spec;
  const item = { id, name, data, templateDriver };
  return { action: 'set', kind, key: id, item } as AssignmentChange;
}
