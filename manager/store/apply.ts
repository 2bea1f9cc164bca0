/**
 * Taking the actions of a committed transaction into the tables: decided by the tables and the actions
 * alone, so that every manager comes to the same end.
 */
import { assert, assertNever } from '../../common/base/assert.ts';
import { isAttachedTo } from '../../common/model/node.ts';
import type { AnyObject } from '../../common/model/object-kinds.ts';
import { refersTo } from '../../common/model/service-references.ts';
import type { StoreGuard, StoreTransaction } from '../../common/wire/store-log.ts';
import { decodeOwned } from './snapshot.ts';
import { isUniquelyNamed, nameKey, type Tables } from './tables.ts';
import type { StagedAction } from './transaction.ts';
import type { StoreChange } from './types.ts';

/** What a committed transaction asks for. */
export interface StagedTransaction {
  readonly actions: readonly StagedAction[];
  readonly guards: readonly StoreGuard[];
}

/** With the objects of actions that came as bytes. Throws `data-loss`. */
export function resolveTransaction({ actions, guards }: StoreTransaction): StagedTransaction {
  const staged = actions.map((action) => ({
    ...action,
    object: action.action === 'remove' ? null : decodeOwned(action.kind, action.bytes),
  }));
  return { actions: staged, guards };
}

/** What the tables have under the ids of the actions, one for each. */
export type Present = readonly (AnyObject | undefined)[];

export function findPresent(tables: Tables, actions: readonly StagedAction[]): Present {
  return actions.map(({ kind, id }) => tables.get(kind, id));
}

/** Why the actions cannot take effect on these tables; null = they can. */
export function findConflict(
  tables: Tables,
  { actions, guards }: StagedTransaction,
  present: Present,
): string | null {
  for (const guard of guards) {
    if (!holds(tables, guard)) return `${guard.kind} ${guard.id} is not ${guard.rule}`;
  }
  let named = false;
  for (let at = 0; at < actions.length; at++) {
    const { action, kind, id, expectedVersion } = actions[at]!;
    const current = present[at];
    if (action === 'create') {
      if (current) return `${kind} ${id} exists`;
    } else if (!current) {
      return `${kind} ${id} does not exist`;
    } else if (current.meta.version !== expectedVersion) {
      return `${kind} ${id} has another version`;
    }
    named ||= isUniquelyNamed(kind);
  }
  return named ? findNameConflict(tables, actions) : null;
}

function holds(tables: Tables, { rule, kind, id }: StoreGuard): boolean {
  const object = tables.get(kind, id);
  switch (rule) {
    case 'exists':
      return object !== undefined;
    case 'unused':
      return (
        object === undefined ||
        (!tables.list('service').some(({ spec }) => refersTo(spec, kind, object)) &&
          !(kind === 'network' && tables.list('node').some((node) => isAttachedTo(node, id))))
      );
    case 'to-manage':
      return kind === 'node' && tables.get(kind, id)?.spec.desiredRole === 'manager';
    default:
      return assertNever(rule, 'guard');
  }
}

function findNameConflict(tables: Tables, actions: readonly StagedAction[]): string | null {
  // The names as they will be: what the transaction writes goes by its new name or by none.
  const names = new Map<string, string>();
  const written = new Map<string, StagedAction>();
  for (const action of actions) written.set(`${action.kind}/${action.id}`, action);
  for (const { kind, id, object } of actions) {
    if (!object || !isUniquelyNamed(kind)) continue;
    const name = nameKey(kind, object);
    if (name === '') continue;
    const key = `${kind}/${name}`;
    if (names.has(key)) return `two objects of ${key}`;
    names.set(key, id);
    for (const holder of tables.idsByName(kind, name)) {
      if (!written.has(`${kind}/${holder}`)) return `${key} exists`;
    }
  }
  return null;
}

/** Writes the actions; they were found free of conflict, and no id is in two of them. Answers what changed. */
export function applyActions(
  tables: Tables,
  actions: readonly StagedAction[],
  present: Present,
): StoreChange[] {
  return actions.map(({ action, kind, id, object }, at) => {
    const previous = present[at];
    if (action === 'remove') {
      tables.remove(kind, id);
      return { action, kind, object: previous } as StoreChange;
    }
    assert(object !== null, `${action} of ${kind} ${id} has an object`);
    tables.put(kind, object, previous);
    return (
      action === 'create' ? { action, kind, object } : { action, kind, object, previous }
    ) as StoreChange;
  });
}
