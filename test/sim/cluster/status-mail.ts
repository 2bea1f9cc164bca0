/** Which statuses an acknowledgement means: batches that agents sent, by life of the agent. */
import type { AgentMessage, TaskStatusUpdate } from '../../../common/model/session.ts';
import type { Process } from './wires.ts';

type Statuses = Extract<AgentMessage, { kind: 'statuses' }>;

export class StatusMail {
  readonly #batches = new Map<Process, Map<number, readonly TaskStatusUpdate[]>>();

  sent(client: Process, { sequence, updates }: Statuses): void {
    let batches = this.#batches.get(client);
    if (batches === undefined) {
      batches = new Map();
      this.#batches.set(client, batches);
    }
    batches.set(sequence, updates);
  }

  /** What batch `sequence` held; nothing when it is not known. */
  stored(client: Process, sequence: number): readonly TaskStatusUpdate[] {
    const batches = this.#batches.get(client);
    const updates = batches?.get(sequence) ?? [];
    batches?.delete(sequence);
    return updates;
  }
}
