/**
 * Snapshots on their way to followers, at most one to each. Knows files and the transport, not why
 * a follower needs one.
 */
import { abortWith, type LinkedAbort } from '../../common/base/abort-with.ts';
import { assert } from '../../common/base/assert.ts';
import type { TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Message } from '../raft/types.ts';
import type { PeerTransport } from './peer-transport.ts';
import type { SnapshotDir, SnapshotId } from './snapshot-files.ts';

export interface SnapshotSenderOptions {
  readonly dir: SnapshotDir;
  readonly transport: PeerTransport;
  readonly log: Logger;
  readonly tasks: TaskSet;
  /** Told once for each message. */
  readonly report: (to: number, outcome: 'delivered' | 'failed') => void;
}

export class SnapshotSender {
  readonly #options: SnapshotSenderOptions;
  readonly #sending = new Map<number, LinkedAbort>();

  constructor(options: SnapshotSenderOptions) {
    this.#options = options;
  }

  /** Takes a message of type `snapshot`; one that is under way to the same follower is given up. */
  send(message: Message): void {
    const { to, snapshot } = message;
    assert(snapshot !== null, 'a snapshot message carries a snapshot');
    this.#sending.get(to)?.abort();
    const { tasks } = this.#options;
    const abort = abortWith(tasks.signal);
    this.#sending.set(to, abort);
    tasks.run(async () => {
      const outcome = await this.#transmit(message, snapshot.metadata, abort.signal);
      abort.release();
      if (this.#sending.get(to) === abort) this.#sending.delete(to);
      this.#options.report(to, outcome);
    });
  }

  /** Gives up what is under way to followers for which `keep` is false. */
  abortUnless(keep: (raftId: number) => boolean): void {
    for (const [raftId, abort] of this.#sending) if (!keep(raftId)) abort.abort();
  }

  async #transmit(
    message: Message,
    id: SnapshotId,
    signal: AbortSignal,
  ): Promise<'delivered' | 'failed'> {
    const { dir, transport, log } = this.#options;
    const to = message.to.toString(16);
    try {
      const source = await dir.read(id);
      try {
        await transport.sendSnapshot(message, source, signal);
      } finally {
        await source.close();
      }
      log.info({ to, raftIndex: id.index, bytes: source.dataBytes }, 'raft snapshot sent');
      return 'delivered';
    } catch (err) {
      log.warn({ err, to, raftIndex: id.index }, 'raft snapshot not sent'); // the core asks again
      return 'failed';
    }
  }
}
