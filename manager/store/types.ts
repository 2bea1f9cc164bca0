/**
 * The store's contract: what the rooms of the manager see of it, and what it needs of consensus.
 * It declares `Proposer` itself, so that it does not know Raft.
 */
import type { NetworkId, NodeId, ServiceId } from '../../common/model/ids.ts';
import type { ObjectKind, ObjectsByKind } from '../../common/model/object-kinds.ts';
import type { Task } from '../../common/model/task.ts';
import type { StoreGuardRule } from '../../common/wire/store-log.ts';

/** Makes a change durable on a majority. */
export interface Proposer {
  /**
   * Commits `payload`. Resolves with its log index once it is committed AND applied to this store.
   * Rejects with `not-leader`, `no-leader` or `unavailable`.
   */
  propose(payload: Uint8Array, signal?: AbortSignal): Promise<number>;
}

/** Reads. Objects are frozen; keep references freely. Valid only inside the callback that got it. */
export interface ReadView {
  /** index of the last applied entry */
  readonly revision: number;
  get<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K] | undefined;
  /** Throws `not-found` naming kind and id. */
  require<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K];
  list<K extends ObjectKind>(kind: K): readonly ObjectsByKind[K][];
  count(kind: ObjectKind): number;
  /** Exact name, case-insensitive. Nodes are looked up by hostname (may be several), tasks by `taskName`. */
  byName<K extends ObjectKind>(kind: K, name: string): readonly ObjectsByKind[K][];
  byIdPrefix<K extends ObjectKind>(kind: K, prefix: string): readonly ObjectsByKind[K][];
  tasksByService(serviceId: ServiceId): readonly Task[];
  tasksByNode(nodeId: NodeId): readonly Task[];
  tasksBySlot(serviceId: ServiceId, slot: number): readonly Task[];
  tasksByNetwork(networkId: NetworkId): readonly Task[];
}

/** Reads and writes; sees its own writes. Specs are validated by the caller. */
export interface WriteTx extends ReadView {
  /** Stamps `meta`. Throws `already-exists` (id) or `name-conflict`. */
  create<K extends ObjectKind>(kind: K, object: ObjectsByKind[K]): ObjectsByKind[K];
  /** Replaces; stamps `meta`. Throws `not-found`, `name-conflict`. */
  update<K extends ObjectKind>(kind: K, object: ObjectsByKind[K]): ObjectsByKind[K];
  /** Throws `not-found`. */
  remove(kind: ObjectKind, id: string): void;
  /**
   * What was found true of an object that is only read must be true when this is applied as well, or it
   * has lost and is run again: `exists`, it is there; `unused`, no service refers to it, and no container
   * is attached to it; `to-manage`, it is a node that is to be a manager.
   */
  guard(rule: StoreGuardRule, kind: ObjectKind, id: string): void;
}

export type StoreChange = {
  [K in ObjectKind]:
    | { readonly action: 'create'; readonly kind: K; readonly object: ObjectsByKind[K] }
    | {
        readonly action: 'update';
        readonly kind: K;
        readonly object: ObjectsByKind[K];
        readonly previous: ObjectsByKind[K];
      }
    | { readonly action: 'remove'; readonly kind: K; readonly object: ObjectsByKind[K] };
}[ObjectKind];

/** One applied transaction. */
export interface Commit {
  readonly revision: number;
  readonly changes: readonly StoreChange[];
}

/**
 * An ordered feed of commits. Slow readers are cut off: the feed then ends with a `resync` error
 * (SkepError `resource-exhausted`) and the reader starts over from a fresh view.
 */
export interface Watch extends AsyncIterable<Commit> {
  /** The commits that came since the last call, waiting for at least one. null at the end. */
  next(signal?: AbortSignal): Promise<readonly Commit[] | null>;
  /** The same without waiting: maybe none. After it, the reader has seen all of the current view. */
  poll(): readonly Commit[];
  close(): void;
}

export interface Store {
  /** Synchronous read of the state at this moment. */
  view<T>(read: (view: ReadView) => T): T;
  /**
   * Runs `write` (synchronous, no side effects: it is run again when an optimistic check fails),
   * proposes its changes and resolves with its result after commit and local apply. Nothing is
   * proposed when it changed nothing. Rejects with what `write` throws, or with the proposer's error.
   * At most MAX_CHANGES_PER_TRANSACTION changes and MAX_TRANSACTION_BYTES; `batch` splits larger work.
   */
  update<T>(write: (tx: WriteTx) => T, signal?: AbortSignal): Promise<T>;
  /** Runs `write` for each item, as many per transaction as fit. */
  batch<I>(
    items: readonly I[],
    write: (tx: WriteTx, item: I) => void,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Commits after `fromRevision` (default: from now on). Open it *before* reading the view. */
  watch(fromRevision?: number): Watch;
  readonly revision: number;
}

export const MAX_CHANGES_PER_TRANSACTION = 200;
export const MAX_TRANSACTION_BYTES = 1.5 * 1024 * 1024;
