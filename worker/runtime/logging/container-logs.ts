/**
 * What the containers of this daemon write: reading it, as far as their log drivers keep it, and sending it on.
 * Knows their logs, not what they are.
 */
import type { Clock } from '../../../common/base/clock.ts';
import { SkepError } from '../../../common/base/errors.ts';
import type { Logger } from '../../../common/base/log.ts';
import type { Random } from '../../../common/base/random.ts';
import type { StringMap } from '../../../common/model/objects.ts';
import { type LogQuery, type LogRecord, readLog } from '../log-reader.ts';
import { type Logging, LogSenders } from './log-senders.ts';
import { isSent } from './log-settings.ts';
import { openSink } from './log-sink.ts';

/** A container, as its log is concerned. */
export interface LoggedContainer {
  readonly id: string;
  readonly taskDir: string;
  readonly state: { readonly status: string };
  readonly whenExited: Promise<unknown>;
}

export interface ContainerLogsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

const EVERY_LINE: LogQuery = {
  ...{ follow: true, tail: 'all', sinceNanos: null, untilNanos: null },
  ...{ stdout: true, stderr: true },
};

export class ContainerLogs {
  readonly #senders: LogSenders;
  /** of those whose bundle says more than how much is kept */
  readonly #logging = new Map<string, Logging>();

  constructor(options: ContainerLogsOptions) {
    this.#senders = new LogSenders({ ...options, open: openSink });
  }

  /** One more container; its lines are sent from where they were when it is known already. */
  take(container: LoggedContainer, logging: Logging | undefined): void {
    if (!logging) return;
    this.#logging.set(container.id, logging);
    if (!isSent(logging.settings)) return;
    this.#senders.start({
      id: container.id,
      logging,
      positionFile: `${container.taskDir}/sent`,
      records: (sinceNanos, signal) => records(container, { ...EVERY_LINE, sinceNanos }, signal),
    });
  }

  /** Throws `unimplemented` when its log driver keeps nothing to read. */
  read(
    container: LoggedContainer,
    query: LogQuery,
    signal?: AbortSignal,
  ): AsyncIterable<LogRecord> {
    if (this.#logging.get(container.id)?.settings.isReadable === false) {
      throw new SkepError('unimplemented', 'configured logging driver does not support reading');
    }
    return records(container, query, signal);
  }

  /** What its log driver has shown with each line. */
  attributes(id: string): StringMap {
    return this.#logging.get(id)?.settings.attributes ?? {};
  }

  /** Of a container that has ended and is to be removed: waits a moment for its last lines. Idempotent. */
  finish(id: string): Promise<void> {
    return this.#senders.finish(id);
  }

  /** It was removed. */
  forget(id: string): void {
    this.#logging.delete(id);
  }

  /** Sends nothing more. Idempotent. */
  stop(): Promise<void> {
    return this.#senders.stop();
  }
}

function records(
  container: LoggedContainer,
  query: LogQuery,
  signal?: AbortSignal,
): AsyncIterable<LogRecord> {
  const source = {
    taskDir: container.taskDir,
    ended: () => container.state.status === 'exited',
    whenEnded: container.whenExited,
  };
  return readLog(source, query, signal);
}
