/** The records of an agent whose tasks do not outlive it: nothing is written. */
import type { TaskRecords } from '../../../worker/agent/task-database.ts';

const NOTHING_TO_KEEP = Promise.resolve();

export class MemoryRecords implements TaskRecords {
  async load() {
    return [];
  }

  put(): Promise<void> {
    return NOTHING_TO_KEEP;
  }

  async remove(): Promise<void> {}
  async flushed(): Promise<void> {}
}
