/**
 * The containers outside of services on local disk: one file each, replaced by rename. What a restarted
 * daemon trusts, beside the shims, who have the last word on what runs.
 */
import { join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import { NodeSmallFiles, type SmallFiles } from '../../common/base/small-files.ts';
import type { ContainerPlace } from '../network/container-place.ts';
import type { ContainerDefinition } from './definition.ts';
import type { Phase } from './lifecycle.ts';

export interface LastExit {
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** '' = it ran and ended */
  readonly error: string;
  readonly finishedAtMs: number;
}

/** A volume as it is mounted. */
export interface MountedVolume {
  /** 64 hexadecimal characters for an anonymous one */
  readonly name: string;
  /** its directory on this host */
  readonly path: string;
  /** in the container */
  readonly target: string;
  readonly readOnly: boolean;
}

export interface ContainerRecord {
  readonly version: 1;
  /** 64 hexadecimal characters */
  readonly id: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly imageId: string;
  readonly definition: ContainerDefinition;
  readonly phase: Phase;
  /** a person stopped or killed it since its last start */
  readonly isStopped: boolean;
  /** a person paused it: what else is frozen was held by a daemon that is gone. Absent = no */
  readonly isPaused?: boolean;
  readonly restartCount: number;
  /** of the last run; null = it never ran */
  readonly startedAtMs: number | null;
  /** of the last run, or of the attempt to start it; null = none */
  readonly exit: LastExit | null;
  /** of its making. Absent = it is of an earlier version, which did not keep them */
  readonly volumes?: readonly MountedVolume[];
  /** of one on its way out: its anonymous volumes go along */
  readonly removesVolumes?: boolean;
  /** in its networks, while it has one */
  readonly place: ContainerPlace | null;
}

const SUFFIX = '.json';

/** INVARIANT: what is written of one container is written in the order of the calls, one after another. */
export class RecordStore {
  readonly #dir: string;
  readonly #log: Logger;
  readonly #files: SmallFiles;
  readonly #tails = new Map<string, Promise<void>>();

  constructor(dir: string, log: Logger, files: SmallFiles = new NodeSmallFiles()) {
    this.#dir = dir;
    this.#log = log;
    this.#files = files;
  }

  /** Every readable record. A damaged one is told and left where it is, and its container alone. */
  async load(): Promise<{ records: ContainerRecord[]; damaged: string[] }> {
    const records: ContainerRecord[] = [];
    const damaged: string[] = [];
    for (const name of await this.#files.list(this.#dir)) {
      if (!name.endsWith(SUFFIX)) continue;
      const id = name.slice(0, -SUFFIX.length);
      try {
        records.push(parseRecord(id, (await this.#files.read(this.#path(id))) ?? ''));
      } catch (err) {
        damaged.push(id);
        this.#log.error(
          { containerId: id, err },
          'record of container is damaged, it is left alone',
        );
      }
    }
    return { records, damaged };
  }

  put(record: ContainerRecord): Promise<void> {
    return this.#after(record.id, () =>
      this.#files.replace(this.#path(record.id), JSON.stringify(record)),
    );
  }

  remove(id: string): Promise<void> {
    return this.#after(id, () => this.#files.remove(this.#path(id)));
  }

  #after(id: string, write: () => Promise<void>): Promise<void> {
    const result = (this.#tails.get(id) ?? Promise.resolve()).then(write);
    const settled = result
      .catch(() => {}) // its caller sees the failure; the next one goes on
      .then(() => {
        if (this.#tails.get(id) === settled) this.#tails.delete(id);
      });
    this.#tails.set(id, settled);
    return result;
  }

  #path(id: string): string {
    return join(this.#dir, id + SUFFIX);
  }
}

/** Checks what the start relies on; the rest of a record is as this program wrote it. */
function parseRecord(id: string, text: string): ContainerRecord {
  const record = JSON.parse(text) as Partial<ContainerRecord> | null;
  if (record?.version !== 1 || record.id !== id || !record.name || !record.definition) {
    throw new SkepError('data-loss', 'read container record: it is not complete');
  }
  return { ...record, place: record.place ?? null } as ContainerRecord;
}
