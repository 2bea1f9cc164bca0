/**
 * Taking the actions of a committed transaction into the tables: decided by the tables and the actions
 * alone, so that every manager comes to the same end.
 */
import { assert } from '../../common/base/assert.ts';
import type { ObjectKind } from '../../common/model/object-kinds.ts';
import type { StoreAction } from '../../common/wire/store-log.ts';
import { ownRecord } from './snapshot.ts';
import { isUniquelyNamed, nameKey, type RecordOf, type Tables } from './tables.ts';
import type { StagedAction } from './transaction.ts';
import type { StoreChange } from './types.ts';

/** The objects of actions that came as bytes. Throws `data-loss`. */
export function resolveActions(actions: readonly StoreAction[]): StagedAction[] {
  return actions.map((action) => ({
    ...action,
    record: action.action === 'remove' ? null : ownRecord(action.kind, action.bytes),
  }));
}

/** Why the actions cannot take effect on these tables; null = they can. */
export function findConflict(tables: Tables, actions: readonly StagedAction[]): string | null {
  let named = false;
  for (const { action, kind, id, expectedVersion } of actions) {
    const current = tables.record(kind, id);
    if (action === 'create') {
      if (current) return `${kind} ${id} exists`;
    } else if (!current) {
      return `${kind} ${id} does not exist`;
    } else if (current.object.meta.version !== expectedVersion) {
      return `${kind} ${id} has another version`;
    }
    named ||= isUniquelyNamed(kind);
  }
  return named ? findNameConflict(tables, actions) : null;
}

function findNameConflict(tables: Tables, actions: readonly StagedAction[]): string | null {
  // The names as they will be: what the transaction writes goes by its new name or by none.
  const names = new Map<string, string>();
  const written = new Map<string, StagedAction>();
  for (const action of actions) written.set(`${action.kind}/${action.id}`, action);
  for (const { kind, id, record } of actions) {
    if (!record || !isUniquelyNamed(kind)) continue;
    const name = nameKey(kind, record.object);
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

/** Writes the actions; they were found free of conflict. Answers what changed. */
export function applyActions(tables: Tables, actions: readonly StagedAction[]): StoreChange[] {
  return actions.map(({ action, kind, id, record }) => {
    const previous = tables.record(kind, id)?.object;
    if (action === 'remove') {
      tables.remove(kind, id);
      return { action, kind, object: previous } as StoreChange;
    }
    assert(record !== null, `${action} of ${kind} ${id} has an object`);
    tables.put(record as RecordOf<ObjectKind>);
    return (
      action === 'create'
        ? { action, kind, object: record.object }
        : { action, kind, object: record.object, previous }
    ) as StoreChange;
  });
}
