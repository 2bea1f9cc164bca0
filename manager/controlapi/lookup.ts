/** Finding the object that a user means: exact id, then exact name, then unique prefix of an id. */
import { SkepError } from '../../common/base/errors.ts';
import type { ObjectKind, ObjectsByKind } from '../../common/model/object-kinds.ts';
import type { ReadView } from '../store/types.ts';

/** Throws `not-found`, or `invalid-argument` when several could be meant. */
export function requireByRef<K extends ObjectKind>(
  view: ReadView,
  kind: K,
  ref: string,
): ObjectsByKind[K] {
  const found = findByRef(view, kind, ref);
  if (!found) throw new SkepError('not-found', `${kind} ${ref} not found`);
  return found;
}

/** As `requireByRef`; undefined when there is none. */
export function findByRef<K extends ObjectKind>(
  view: ReadView,
  kind: K,
  ref: string,
): ObjectsByKind[K] | undefined {
  if (ref === '') return undefined;
  const exact = view.get(kind, ref);
  if (exact) return exact;
  for (const matches of [view.byName(kind, ref), view.byIdPrefix(kind, ref)]) {
    if (matches.length > 1) {
      throw new SkepError(
        'invalid-argument',
        `${kind} ${ref} is ambiguous (${matches.length} matches found)`,
      );
    }
    if (matches[0]) return matches[0];
  }
  return undefined;
}

/** The optimistic lock. Throws `version-conflict`. */
export function requireVersion(
  object: { readonly meta: { readonly version: number } },
  version: number,
): void {
  if (object.meta.version !== version) {
    throw new SkepError('version-conflict', 'update out of sequence');
  }
}
