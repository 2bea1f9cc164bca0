/** Where a set of assignments is cut, so that each part fits a message. */
import type { AssignmentChange } from '../../common/model/assignment.ts';
import { encodeAssignmentChange } from '../../common/wire/assignment.ts';

/** Most changes in one message: a set of thousands goes out in parts. */
const CHANGES_MAX = 100;
/**
 * Most bytes of several changes in one message. One alone may be larger, but not by much: a transaction, and with it an
 * object, is 1.5 MiB at most. So every part is far below the largest message, 4 MiB.
 */
const BYTES_MAX = 1024 * 1024;

/** Encoded bytes of items. They do not change, and those of networks go to many nodes. */
const bytesOfItems = new WeakMap<object, number>();

/** At least one part, which is empty when there are no changes. The order stays. */
export function messageParts(changes: readonly AssignmentChange[]): AssignmentChange[][] {
  let part: AssignmentChange[] = [];
  const parts = [part];
  if (changes.length < 2) {
    part.push(...changes);
    return parts;
  }
  let partBytes = 0;
  for (const change of changes) {
    const bytes = bytesOf(change);
    if (part.length > 0 && (part.length === CHANGES_MAX || partBytes + bytes > BYTES_MAX)) {
      part = [];
      partBytes = 0;
      parts.push(part);
    }
    part.push(change);
    partBytes += bytes;
  }
  return parts;
}

function bytesOf(change: AssignmentChange): number {
  if (change.action === 'remove') return change.key.length;
  if (change.encoded) return change.encoded.length;
  const known = bytesOfItems.get(change.item);
  if (known !== undefined) return known;
  const bytes = encodeAssignmentChange(change).length;
  bytesOfItems.set(change.item, bytes);
  return bytes;
}
