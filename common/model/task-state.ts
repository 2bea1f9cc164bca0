/** Task states and their order. State only grows; compare with `isBefore`, never as strings. */

/** Observed states, in order, Swarm's; `remove` is only ever desired. */
export const TASK_STATES = [
  'new', // created by the orchestrator
  'pending', // allocator done; waits for a node
  'assigned', // scheduler chose a node
  'accepted', // the agent has it
  'preparing', // images, volumes, networks
  'ready', // prepared; waits until desired state > ready
  'starting', // with a health check: stays here until the first success
  'running',
  'complete', // exit code 0
  'shutdown', // stopped on request
  'failed', // error at or after starting
  'rejected', // error before starting, or refused by an enforcer
  'remove', // desired only: stop, then delete
  'orphaned', // node gone too long or deleted
] as const;

export type TaskState = (typeof TASK_STATES)[number];

const RANK: Readonly<Record<TaskState, number>> = Object.fromEntries(
  TASK_STATES.map((state, index) => [state, index]),
) as Record<TaskState, number>;

export function isBefore(a: TaskState, b: TaskState): boolean {
  return RANK[a] < RANK[b];
}

export function isAfter(a: TaskState, b: TaskState): boolean {
  return RANK[a] > RANK[b];
}

/** Ended: will never run (again). */
export function isTerminal(state: TaskState): boolean {
  return RANK[state] > RANK.running;
}

/** What the orchestrator may want of a task. */
export type DesiredState = 'ready' | 'running' | 'complete' | 'shutdown' | 'remove';

const DESIRED_RANK: Readonly<Record<DesiredState, number>> = {
  ready: 0,
  running: 1,
  complete: 2,
  shutdown: 3,
  remove: 4,
};

/** < 0 when `a` comes before `b`. Desired state only grows. */
export function compareDesiredStates(a: DesiredState, b: DesiredState): number {
  return DESIRED_RANK[a] - DESIRED_RANK[b];
}
