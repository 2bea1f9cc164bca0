/** The records of an agent whose tasks do not outlive it: nothing is written. */
import type { TaskRecords } from '../../../worker/agent/task-database.ts';

export class MemoryRecords implements TaskRecords {
  async load() {
    return [];
  }

  async put(): Promise<void> {}
  async remove(): Promise<void> {}
  async flushed(): Promise<void> {}
}
