/** Which statuses an acknowledgement means: batches that agents sent, by life of the agent. */
import type { SeededRandom } from '../../../common/base/random.ts';
import type { AgentMessage, TaskStatusUpdate } from '../../../common/model/session.ts';
import type { Process } from './wires.ts';

export interface Report {
  readonly client: Process;
  readonly message: Statuses;
}

/** Kept to be told once more. */
const REPORTS_MAX = 200;

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

  /** Null when there is none yet. */
  anyOld(random: SeededRandom): Report | null {
    return this.#reports[random.below(Math.max(1, this.#reports.length))] ?? null;
  }

  /** What batch `sequence` held; nothing when it is not known. */
  stored(client: Process, sequence: number): readonly TaskStatusUpdate[] {
    const batches = this.#batches.get(client);
    const updates = batches?.get(sequence) ?? [];
    batches?.delete(sequence);
    return updates;
  }
}
