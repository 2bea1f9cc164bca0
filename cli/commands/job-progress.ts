/**
 * How far the present iteration of a job is, from what the API tells of it. The rules are Docker's; that
 * a job can end without having completed is ours.
 */
import type { ServiceJson } from '../../common/model/engine-json/service.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import type { ProgressView, SlotView } from './progress-view.ts';
import { hasFailed, isWanted } from './task-life.ts';

export interface JobView extends ProgressView {
  readonly completed: number;
  /** seats that the restart policy has given up */
  readonly failed: number;
  /** completions wanted; of a global job, the nodes that have or had a task */
  readonly total: number;
}

export const isJob = ({ Spec }: ServiceJson): boolean =>
  Spec.Mode?.ReplicatedJob !== undefined || Spec.Mode?.GlobalJob !== undefined;

/** True when nothing will happen any more. */
export function isOver({ completed, failed, total }: JobView): boolean {
  return completed + failed >= total;
}

/** @param tasks in any order; those of earlier iterations do not count */
export function viewJob(service: ServiceJson, tasks: readonly TaskJson[]): JobView {
  const iteration = service.JobStatus?.JobIteration?.Index ?? 0;
  const replicated = service.Spec.Mode?.ReplicatedJob;
  const seats = new Map<string, TaskJson>();
  for (const task of tasks) {
    if ((task.JobIteration?.Index ?? 0) !== iteration) continue;
    const key = replicated ? String(task.Slot ?? 0) : (task.NodeID ?? '');
    const other = seats.get(key);
    if (!other || tellsMore(task, other)) seats.set(key, task);
  }
  // What was stopped on request and has no successor (yet) tells nothing.
  const entries = [...seats].filter(([, task]) => isWanted(task) || hasFailed(task));
  const completed = entries.filter(([, task]) => isComplete(task)).length;
  const failed = entries.filter(([, task]) => hasFailed(task) && !isWanted(task)).length;
  const total = replicated ? (replicated.TotalCompletions ?? 1) : entries.length;
  const slots: SlotView[] = entries
    .sort(([a], [b]) => (replicated ? Number(a) - Number(b) : a < b ? -1 : 1))
    .map(([key, task]) => ({
      label: replicated ? `${Number(key) + 1}/${total}` : key,
      state: task.Status.State,
      error: task.Status.Err ?? '',
    }));
  const active = entries.length - completed - failed;
  const atOnce = Math.min(replicated?.MaxConcurrent ?? total, total - completed - failed);
  return {
    heading: [
      `job progress: ${completed} out of ${total} complete`,
      ...(replicated ? [`active tasks: ${active} out of ${atOnce} tasks`] : []),
    ],
    slots,
    seats: total,
    goal: 'complete',
    completed,
    failed,
    total,
  };
}

const isComplete = (task: TaskJson): boolean => task.Status.State === 'complete';

/** Of a seat's tasks: the one that completed, else the one that is wanted, else the newest. */
function tellsMore(task: TaskJson, other: TaskJson): boolean {
  if (isComplete(task) !== isComplete(other)) return isComplete(task);
  if (isWanted(task) !== isWanted(other)) return isWanted(task);
  if (task.CreatedAt !== other.CreatedAt) return task.CreatedAt > other.CreatedAt;
  return task.Version.Index > other.Version.Index; // the one that was stopped is written no more
}
