/** Which statuses an acknowledgement means: batches that agents sent, by life of the agent. */
import type { SeededRandom } from '../../../common/base/random.ts';
import type { AgentMessage, TaskStatusUpdate } from '../../../common/model/session.ts';
import type { TaskState } from '../../../common/model/task-state.ts';
import type { Process } from './wires.ts';

export interface Report {
  readonly client: Process;
  readonly message: Statuses;
}

/** Kept to be told once more. */
const REPORTS_MAX = 200;

/** Such as are further on: others are no news to anybody. */
const OTHER_ENDS: Partial<Record<TaskState, TaskState>> = {
  complete: 'failed',
  shutdown: 'failed',
  failed: 'rejected',
};

type Statuses = Extract<AgentMessage, { kind: 'statuses' }>;

export class StatusMail {
  readonly #reports: Report[] = [];
  readonly #batches = new Map<Process, Map<number, readonly TaskStatusUpdate[]>>();

  sent(client: Process, message: Statuses): void {
    const { sequence, updates } = message;
    this.#reports.push({ client, message });
    if (this.#reports.length > REPORTS_MAX) this.#reports.shift();
    let batches = this.#batches.get(client);
    if (batches === undefined) {
      batches = new Map();
      this.#batches.set(client, batches);
    }
    batches.set(sequence, updates);
  }

  /** A new session: what was said in the one before is no longer acknowledged. */
  begun(client: Process): void {
    this.#batches.delete(client);
  }

  /** Null when there is none yet. */
  anyOld(random: SeededRandom): Report | null {
    return this.#reports[random.below(Math.max(1, this.#reports.length))] ?? null;
  }

  /** What the batches up to `sequence` held that were not acknowledged before. */
  stored(client: Process, sequence: number): readonly TaskStatusUpdate[] {
    const stored: TaskStatusUpdate[] = [];
    for (const [known, updates] of this.#batches.get(client) ?? []) {
      if (known > sequence) continue;
      stored.push(...updates);
      this.#batches.get(client)!.delete(known);
    }
    return stored;
  }
}

/**
 * As a process reports that saw its tasks end in another way than the one that reported first: it had lost them when it was
 * started, or they were stopped as they ended.
 */
export function withOtherEnds(message: Statuses): Statuses {
  const updates = message.updates.map(({ taskId, status }) => {
    const state = OTHER_ENDS[status.state] ?? status.state;
    return { taskId, status: { ...status, state } };
  });
  return { ...message, updates };
}
