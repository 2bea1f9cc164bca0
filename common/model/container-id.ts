/** How a task's container is known outside: Docker's clients want 64 hexadecimal characters. */
import { createHash } from 'node:crypto';
import type { TaskId } from './ids.ts';

/** Length of the short form that `docker ps` prints. */
export const SHORT_ID_CHARS = 12;

/**
 * Shortest start of an id that is looked for in the whole cluster, and of a task's id anywhere. Clients try a word as a
 * container's before they try it as a service's: among 20,000 tasks some id begins with almost any word of three letters.
 */
export const TASK_START_CHARS_MIN = 6;

/** A container outside of services has an id of this form from the start; no task's id is like it. */
export function isContainerId(id: string): boolean {
  return /^[0-9a-f]{64}$/.test(id);
}

/**
 * Of a task's container it is derived from the task's id, so that any node can compute it and nothing
 * has to be remembered.
 */
export function containerIdOf(id: TaskId | string): string {
  if (isContainerId(id)) return id;
  return createHash('sha256').update(id).digest('hex');
}

/** The host name of a container that was given none. */
export function defaultHostname(taskId: TaskId): string {
  return containerIdOf(taskId).slice(0, SHORT_ID_CHARS);
}
