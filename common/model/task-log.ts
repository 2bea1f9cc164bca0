/** What a task wrote, and which of it a reader wants. */
import type { TaskId } from './ids.ts';

export type OutputStream = 'stdout' | 'stderr';

export interface TaskLogRecord {
  /** nanoseconds since 1970 */
  readonly timeNanos: bigint;
  readonly stream: OutputStream;
  /** one line with its line feed, or a part of one */
  readonly data: Uint8Array;
}

export interface TaskLogQuery {
  readonly follow: boolean;
  readonly tail: number | 'all';
  readonly sinceNanos: bigint | null;
  readonly untilNanos: bigint | null;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface TaskLogRequest extends TaskLogQuery {
  readonly taskId: TaskId;
}
