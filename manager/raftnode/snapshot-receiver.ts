/**
 * Snapshots that come from a leader: kept under a temporary name until the core decides to install
 * them. A transfer that broke off is taken up where it ended. Knows no streams.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Message, Snapshot } from '../raft/types.ts';
import { decodeSnapshotState } from './durable-state.ts';
import type { SnapshotOffer, SnapshotSink } from './peer-transport.ts';
import type { SnapshotDir, SnapshotId, SnapshotWriter } from './snapshot-files.ts';

interface Transfer {
  readonly fileId: string;
  readonly dataBytes: number;
  readonly message: Message;
  readonly writer: SnapshotWriter;
  /** A call of the sink is under way. */
  working: boolean;
}

export interface SnapshotReceiverOptions {
  readonly dir: SnapshotDir;
  /** Hands the message to the core. True = the core wants the snapshot and will have it published. */
  readonly deliver: (message: Message) => boolean;
}

/** INVARIANT: at most one transfer and, beside those that the core claimed, no finished one. */
export class SnapshotReceiver {
  readonly #options: SnapshotReceiverOptions;
  #current: Transfer | null = null;
  #beginning = false;
  readonly #finished = new Map<string, SnapshotWriter>();

  constructor(options: SnapshotReceiverOptions) {
    this.#options = options;
  }

  /** Throws `unavailable` while another snapshot is being written to disk. */
  async begin(offer: SnapshotOffer): Promise<SnapshotSink> {
    const { snapshot } = offer.message;
    if (snapshot === null) throw new SkepError('invalid-argument', 'receive snapshot: no metadata');
    if (this.#beginning || this.#current?.working) {
      throw new SkepError('unavailable', 'receive snapshot: another is being received');
    }
    if (this.#current?.fileId === offer.fileId) return this.#sink(this.#current);
    this.#beginning = true;
    try {
      await this.#current?.writer.abort();
      this.#current = null;
      decodeSnapshotState(offer.membership); // refuses what could not be read later
      const writer = await this.#options.dir.begin(snapshot.metadata, offer.membership);
      const { fileId, dataBytes, message } = offer;
      this.#current = { fileId, dataBytes, message, writer, working: false };
    } finally {
      this.#beginning = false;
    }
    return this.#sink(this.#current);
  }

  /** Gives a snapshot that the core claimed its final name. */
  async publish(id: SnapshotId): Promise<void> {
    const writer = this.#finished.get(keyOf(id));
    if (writer === undefined) {
      throw new SkepError('internal', `install snapshot ${keyOf(id)}: it was not received`);
    }
    await writer.publish();
    this.#finished.delete(keyOf(id));
  }

  /** A half transfer under an older key would keep that key for ever: its leader begins anew. */
  async giveUpStale(): Promise<void> {
    const transfer = this.#current;
    if (transfer === null || transfer.working || this.#beginning) return;
    if (this.#options.dir.isStale(transfer.writer.header)) await this.#giveUp(transfer);
  }

  async stop(): Promise<void> {
    const transfer = this.#current;
    this.#current = null;
    if (transfer !== null && !transfer.working) await transfer.writer.abort();
  }

  #sink(transfer: Transfer): SnapshotSink {
    const guarded = async (act: () => Promise<void>): Promise<void> => {
      if (this.#current !== transfer || transfer.working) {
        throw new SkepError('conflict', 'receive snapshot: given up for a newer transfer');
      }
      transfer.working = true;
      try {
        await act();
      } catch (err) {
        if (!(err instanceof SkepError)) await this.#giveUp(transfer); // the file is in doubt
        throw err;
      } finally {
        transfer.working = false;
      }
    };
    return {
      get offset() {
        return transfer.writer.dataBytes;
      },
      write: (offset, data) => guarded(() => writeAt(transfer, offset, data)),
      finish: () => guarded(() => this.#finish(transfer)),
    };
  }

  async #giveUp(transfer: Transfer): Promise<void> {
    if (this.#current === transfer) this.#current = null;
    await transfer.writer.abort();
  }

  async #finish(transfer: Transfer): Promise<void> {
    const { writer, dataBytes, message } = transfer;
    if (writer.dataBytes !== dataBytes) {
      throw new SkepError(
        'conflict',
        `receive snapshot: ended at ${writer.dataBytes} of ${dataBytes} bytes`,
      );
    }
    await writer.finish();
    this.#current = null;
    const key = keyOf(writer.id);
    if (this.#finished.has(key)) {
      await writer.abort(); // the same state is being installed already
      return;
    }
    this.#finished.set(key, writer);
    if (this.#options.deliver(message)) return;
    this.#finished.delete(key);
    await writer.abort();
  }
}

async function writeAt(transfer: Transfer, offset: number, data: Uint8Array): Promise<void> {
  const { writer, dataBytes } = transfer;
  if (offset !== writer.dataBytes || offset + data.length > dataBytes) {
    throw new SkepError(
      'conflict',
      `receive snapshot: data at ${offset}, expected at ${writer.dataBytes} of ${dataBytes}`,
    );
  }
  await writer.append(data);
}

function keyOf({ term, index }: SnapshotId | Snapshot['metadata']): string {
  return `${term}-${index}`;
}
