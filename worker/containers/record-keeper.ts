/** The newest record of one container, here and on the disk. */
import type { Logger } from '../../common/base/log.ts';
import type { ContainerRecord, RecordStore } from './record-store.ts';

export class RecordKeeper {
  readonly #records: Pick<RecordStore, 'put'>;
  readonly #log: Logger;
  #record: ContainerRecord;

  constructor(record: ContainerRecord, records: Pick<RecordStore, 'put'>, log: Logger) {
    this.#record = record;
    this.#records = records;
    this.#log = log;
  }

  get record(): ContainerRecord {
    return this.#record;
  }

  /** The store writes in the order of the calls, so that the newest record is the one that stays. */
  async put(changes: Partial<ContainerRecord>): Promise<void> {
    this.#record = { ...this.#record, ...changes };
    await this.#records.put(this.#record);
  }

  /** What happened whether the disk takes it or not: the rest of dealing with it must not wait for that. */
  keep(changes: Partial<ContainerRecord>): Promise<void> {
    return bestEffort(this.#log, 'record of container could not be written', this.put(changes));
  }
}

/** Never rejects: what must not hinder the rest is logged, with `words`. */
export async function bestEffort(log: Logger, words: string, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (err) {
    log.error({ err }, words);
  }
}
