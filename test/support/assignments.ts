/** Sets of assignments as a dispatcher sends them. */
import type { AssignmentChange } from '../../common/model/assignment.ts';
import { AssignmentLedger } from '../../common/model/assignment-checksum.ts';
import type { DispatcherMessage } from '../../common/model/session.ts';
import type { Task } from '../../common/model/task.ts';

type Assignments = Extract<DispatcherMessage, { kind: 'assignments' }>;

/** A whole set in one part, of a manager that tells no checksums. */
export function assignments(overrides: Partial<Assignments> = {}): Assignments {
  return {
    kind: 'assignments',
    complete: true,
    last: true,
    appliesTo: 0,
    resultsIn: 1,
    changes: [],
    checksum: '',
    ...overrides,
  };
}

export function step(overrides: Partial<Assignments>): Assignments {
  return assignments({ complete: false, ...overrides });
}

export function set(item: Task): AssignmentChange {
  return { action: 'set', kind: 'task', key: item.id, item };
}

/** Of what these changes lead to, from nothing. */
export function checksumOf(changes: readonly AssignmentChange[]): string {
  const ledger = new AssignmentLedger();
  for (const change of changes) ledger.apply(change);
  return ledger.checksum;
}
