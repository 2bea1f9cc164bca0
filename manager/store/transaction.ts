/**
 * A transaction under construction: the tables with staged writes laid over them. It ends as a list of
 * actions with expected versions; it knows neither how they are committed nor what becomes of them.
 */
import { SkepError } from '../../common/base/errors.ts';
import { keepShape } from '../../common/base/kept-shapes.ts';
import type { AnyObject, ObjectKind, ObjectsByKind } from '../../common/model/object-kinds.ts';
import type { Meta } from '../../common/model/objects.ts';
import { type Task, taskWith } from '../../common/model/task.ts';
import { encodeObject } from '../../common/wire/object.ts';
import type { StoreAction, StoreGuard, StoreGuardRule } from '../../common/wire/store-log.ts';
import { deepFreeze } from './deep-freeze.ts';
import { isUniquelyNamed, matchesLookup, nameKey, Tables, type TaskLookup } from './tables.ts';
import { MAX_CHANGES_PER_TRANSACTION, MAX_TRANSACTION_BYTES, type WriteTx } from './types.ts';
import { notFound, View } from './view.ts';

const NO_BYTES = new Uint8Array(0);

/** What the encoding of an action adds to its id and object, bytes, at most. */
const ACTION_OVERHEAD_BYTES = 32;

/** The fate of one object in this transaction. */
interface Staged<K extends ObjectKind> {
  readonly kind: K;
  readonly id: string;
  /** as the transaction found it */
  readonly base: ObjectsByKind[K] | undefined;
  /** null = removed */
  readonly object: ObjectsByKind[K] | null;
  /** the encoding of `object`; empty = removed */
  readonly bytes: Uint8Array;
}
type AnyStaged = { [K in ObjectKind]: Staged<K> }[ObjectKind];

/** What the size of an action depends on. */
type Size = Pick<AnyStaged, 'id' | 'base' | 'object' | 'bytes'>;

interface Found<K extends ObjectKind> {
  id: string;
  object: ObjectsByKind[K] | undefined;
}

/** An action with the object that it carries. */
export interface StagedAction extends StoreAction {
  readonly object: AnyObject | null;
}

export class Transaction extends View implements WriteTx {
  readonly #nowMs: number;
  readonly #staged: { readonly [K in ObjectKind]: Map<string, Staged<K>> | null } = ofNoKind();
  /** of which something is staged, in the order in which that began */
  readonly #kinds: ObjectKind[] = [];
  /** The object of each kind that was looked for last, as the tables have it: a write mostly follows a look at the same. */
  readonly #found: { readonly [K in ObjectKind]: Found<K> | null } = ofNoKind();
  /** staged entries as they were before each write, for `rollback` */
  readonly #journal: { kind: ObjectKind; id: string; before: AnyStaged | undefined }[] = [];
  /** with the length of the journal at the time, for `rollback` */
  readonly #guards: { readonly at: number; readonly guard: StoreGuard }[] = [];
  #changes = 0;
  #bytes = 0;

  /** @param nowMs stamped as the time of its writes */
  constructor(tables: Tables, nowMs: number) {
    super(tables);
    this.#nowMs = nowMs;
  }

  /** More changes or bytes than one transaction may have. */
  get overLimit(): boolean {
    return this.#changes > MAX_CHANGES_PER_TRANSACTION || this.#bytes > MAX_TRANSACTION_BYTES;
  }

  /** Throws `resource-exhausted` when over a limit. */
  requireWithinLimits(): void {
    if (this.overLimit) throw this.limitError();
  }

  /** In which limit it is over. */
  limitError(): SkepError {
    const [amount, limit] =
      this.#changes > MAX_CHANGES_PER_TRANSACTION
        ? [`${this.#changes} changes`, MAX_CHANGES_PER_TRANSACTION]
        : [`${this.#bytes} bytes`, MAX_TRANSACTION_BYTES];
    const words = `commit transaction: ${amount} exceed the limit of ${limit}`;
    return new SkepError('resource-exhausted', words);
  }

  /** A point to which `rollback` can return. */
  savepoint(): number {
    return this.#journal.length;
  }

  /** Forgets the writes since `savepoint`. */
  rollback(savepoint: number): void {
    while (this.#journal.length > savepoint) {
      const { kind, id, before } = this.#journal.pop()!;
      const staged = this.#stagedOf(kind)! as Map<string, AnyStaged>;
      this.#count(staged.get(id), before);
      if (before) staged.set(id, before);
      else staged.delete(id);
    }
    // One that was set between the savepoint and the first write stays, and does no harm.
    while ((this.#guards.at(-1)?.at ?? 0) > savepoint) this.#guards.pop();
  }

  /** What is to be committed; empty = nothing changed. */
  actions(): StagedAction[] {
    const actions: StagedAction[] = [];
    for (const writtenKind of this.#kinds) {
      for (const { kind, id, base, object, bytes } of this.#staged[writtenKind]!.values()) {
        if (!base && !object) continue;
        actions.push({
          action: object ? (base ? 'update' : 'create') : 'remove',
          kind,
          id,
          expectedVersion: base?.meta.version ?? 0,
          bytes,
          object,
        });
      }
    }
    return actions;
  }

  guards(): StoreGuard[] {
    return this.#guards.map(({ guard }) => guard);
  }

  get<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K] | undefined {
    this.assertOpen();
    return this.#current(kind, id);
  }

  list<K extends ObjectKind>(kind: K): readonly ObjectsByKind[K][] {
    this.assertOpen();
    const staged = this.#stagedOf(kind);
    if (!staged) return this.tables.list(kind);
    const out = this.tables.list(kind).filter((object) => !staged.has(object.id));
    for (const { object } of staged.values()) if (object) out.push(object);
    return out;
  }

  count(kind: ObjectKind): number {
    this.assertOpen();
    let count = this.tables.count(kind);
    for (const { base, object } of this.#stagedOf(kind)?.values() ?? []) {
      count += (object ? 1 : 0) - (base ? 1 : 0);
    }
    return count;
  }

  create<K extends ObjectKind>(kind: K, object: ObjectsByKind[K]): ObjectsByKind[K] {
    this.assertOpen();
    if (this.#current(kind, object.id)) {
      throw new SkepError('already-exists', `create ${kind}: ${object.id} already exists`);
    }
    return this.#put(kind, object, undefined);
  }

  update<K extends ObjectKind>(kind: K, object: ObjectsByKind[K]): ObjectsByKind[K] {
    this.assertOpen();
    const current = this.#current(kind, object.id);
    if (!current) throw notFound(kind, object.id);
    return this.#put(kind, object, current);
  }

  remove(kind: ObjectKind, id: string): void {
    this.assertOpen();
    if (!this.#current(kind, id)) throw notFound(kind, id);
    this.#stage(kind, id, null, NO_BYTES);
  }

  guard(rule: StoreGuardRule, kind: ObjectKind, id: string): void {
    this.assertOpen();
    this.#guards.push({ at: this.#journal.length, guard: { rule, kind, id } });
  }

  protected named<K extends ObjectKind>(kind: K, folded: string): ObjectsByKind[K][] {
    this.assertOpen();
    return this.#overlaid(kind, this.tables.idsByName(kind, folded), (object) => {
      const key = nameKey(kind, object);
      return key !== '' && key === folded;
    });
  }

  protected tasks(lookup: TaskLookup): readonly Task[] {
    this.assertOpen();
    return this.#overlaid('task', this.tables.taskIds(lookup), (task) =>
      matchesLookup(task, lookup),
    );
  }

  #put<K extends ObjectKind>(
    kind: K,
    object: ObjectsByKind[K],
    known: ObjectsByKind[K] | undefined,
  ): ObjectsByKind[K] {
    const createdAtMs = known?.meta.createdAtMs ?? this.#nowMs;
    const meta = { version: this.revision, createdAtMs, updatedAtMs: this.#nowMs };
    const stamped = withMeta(kind, object, meta);
    this.#checkName(kind, stamped);
    // Encoded here and not at the end, so that `batch` knows the size before it goes on, and so that
    // what cannot be encoded is reported to its writer.
    const bytes = encodeObject(kind, stamped);
    this.#stage(kind, object.id, deepFreeze(stamped, known), bytes);
    return stamped;
  }

  #checkName<K extends ObjectKind>(kind: K, object: ObjectsByKind[K]): void {
    if (!isUniquelyNamed(kind)) return;
    const name = nameKey(kind, object);
    if (name === '' || this.named(kind, name).every((other) => other.id === object.id)) return;
    throw new SkepError(
      'name-conflict',
      `name conflicts with an existing object: ${kind} ${name} already exists`,
    );
  }

  #stagedOf<K extends ObjectKind>(kind: K): Map<string, Staged<K>> | null {
    return this.#staged[kind] as Map<string, Staged<K>> | null;
  }

  #current<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K] | undefined {
    const staged = this.#stagedOf(kind)?.get(id);
    return staged ? (staged.object ?? undefined) : this.#inTables(kind, id);
  }

  #inTables<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K] | undefined {
    const known = this.#found[kind] as Found<K> | null;
    if (known?.id === id) return known.object;
    const object = this.tables.get(kind, id);
    if (known) {
      known.id = id;
      known.object = object;
    } else {
      (this.#found as Record<ObjectKind, Found<K>>)[kind] = { id, object };
    }
    return object;
  }

  /** The objects of `ids` that were not written here, and those written here that match. */
  #overlaid<K extends ObjectKind>(
    kind: K,
    ids: Iterable<string>,
    matches: (object: ObjectsByKind[K]) => boolean,
  ): ObjectsByKind[K][] {
    const staged = this.#stagedOf(kind);
    const out: ObjectsByKind[K][] = [];
    for (const id of ids) {
      if (!staged?.has(id)) out.push(this.tables.get(kind, id)!);
    }
    for (const { object } of staged?.values() ?? []) {
      if (object && matches(object)) out.push(object);
    }
    return out;
  }

  #stage<K extends ObjectKind>(
    kind: K,
    id: string,
    object: ObjectsByKind[K] | null,
    bytes: Uint8Array,
  ): void {
    let staged = this.#stagedOf(kind);
    if (!staged) {
      staged = new Map();
      (this.#staged as Record<ObjectKind, unknown>)[kind] = staged;
      this.#kinds.push(kind);
    }
    const before = staged.get(id);
    const base = before ? before.base : this.#inTables(kind, id);
    const after: Staged<K> = { kind, id, base, object, bytes };
    this.#journal.push({ kind, id, before: before as AnyStaged | undefined });
    staged.set(id, after);
    this.#count(before, after);
  }

  #count(from: Size | undefined, to: Size | undefined): void {
    const [fromBytes, toBytes] = [sizeOf(from), sizeOf(to)];
    this.#bytes += toBytes - fromBytes;
    this.#changes += (toBytes > 0 ? 1 : 0) - (fromBytes > 0 ? 1 : 0);
  }
}

/** Nothing yet, for each kind. */
function ofNoKind(): Record<ObjectKind, null> {
  return {
    cluster: null,
    node: null,
    service: null,
    task: null,
    network: null,
    secret: null,
    config: null,
  };
}

function withMeta<K extends ObjectKind>(
  kind: K,
  object: ObjectsByKind[K],
  meta: Meta,
): ObjectsByKind[K] {
  // Of tasks there are by far the most, and most writes are theirs.
  if (kind === 'task') return taskWith(object as Task, { meta }) as ObjectsByKind[K];
  return { ...object, meta };
}

/** Bytes of the action in the log entry, at most; 0 = there is none. */
function sizeOf(staged: Size | undefined): number {
  if (!staged || (!staged.base && !staged.object)) return 0;
  return staged.id.length + staged.bytes.length + ACTION_OVERHEAD_BYTES;
}

keepShape(new Transaction(new Tables(), Number.MAX_SAFE_INTEGER));
