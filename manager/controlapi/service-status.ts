/** How far a service is: counts for `service ls`. Pure. */
import { assertNever } from '../../common/base/assert.ts';
import type { Service } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';

export interface ServiceStatus {
  /** tasks that run and shall run */
  readonly running: number;
  /** tasks there should be: for jobs, at once */
  readonly desired: number;
  /** tasks of the present iteration of a job that ended well; 0 for other services */
  readonly completed: number;
}

export function serviceStatus(service: Service, tasks: readonly Task[]): ServiceStatus {
  const { mode } = service.spec;
  const current = service.jobStatus
    ? tasks.filter((task) => task.jobIteration === service.jobStatus?.iteration)
    : tasks;
  const running = count(
    current,
    (task) =>
      task.status.state === 'running' &&
      (task.desiredState === 'running' || task.desiredState === 'complete'),
  );
  const completed = count(current, (task) => task.status.state === 'complete');
  switch (mode.kind) {
    case 'replicated':
      return { running, desired: mode.replicas, completed: 0 };
    case 'global':
      return { running, desired: count(tasks, (task) => wanted(task)), completed: 0 };
    case 'replicated-job':
      return { running, desired: mode.maxConcurrent, completed };
    case 'global-job':
      return { running, desired: count(current, (task) => unfinished(task)), completed };
    default:
      return assertNever(mode, 'service mode');
  }
}

function wanted(task: Task): boolean {
  return task.desiredState === 'running' || task.desiredState === 'complete';
}

/** What has completed is counted by itself. */
function unfinished(task: Task): boolean {
  return wanted(task) && task.status.state !== 'complete';
}

function count(tasks: readonly Task[], test: (task: Task) => boolean): number {
  return tasks.reduce((total, task) => total + (test(task) ? 1 : 0), 0);
}
