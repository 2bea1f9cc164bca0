/**
 * The three ways of a snapshot on a node: taken of its own state when it is due, sent to a follower
 * that is behind the log, received from a leader and installed. Knows when, not what is inside.
 */
import type { TaskSet } from '../../common/base/lifecycle.ts';
import { type Entry, isEmptySnapshot, type Message, type Snapshot } from '../raft/types.ts';
import type { AppendLoop } from './append-loop.ts';
import type { ApplyLoop } from './apply-loop.ts';
import { type DurableState, dataOf, type SnapshotHead } from './durable-state.ts';
import type { LogImage } from './log-image.ts';
import type { MemberView } from './member-view.ts';
import type { NodeLife } from './node-life.ts';
import type { RaftNodeOptions } from './node-options.ts';
import type { SnapshotOffer, SnapshotSink } from './peer-transport.ts';
import type { SnapshotId } from './snapshot-files.ts';
import type { SnapshotPolicy } from './snapshot-policy.ts';
import { SnapshotReceiver } from './snapshot-receiver.ts';
import { SnapshotSender } from './snapshot-sender.ts';
import { SnapshotTaker } from './snapshot-taker.ts';

export interface NodeSnapshotsOptions {
  readonly node: RaftNodeOptions;
  readonly durable: DurableState;
  readonly image: LogImage;
  readonly view: MemberView;
  readonly appends: AppendLoop;
  readonly applies: ApplyLoop;
  readonly life: NodeLife;
  readonly tasks: TaskSet;
  readonly policy: SnapshotPolicy;
  /** Term of the entry at the applied index. */
  readonly appliedTerm: number;
  /** Hands a message of type `snapshot`, whose data is here, to the core. */
  readonly deliver: (message: Message) => void;
  /** What became of a snapshot that was sent. */
  readonly report: (to: number, outcome: 'delivered' | 'failed') => void;
}

export class NodeSnapshots {
  readonly #options: NodeSnapshotsOptions;
  readonly #taker: SnapshotTaker;
  readonly #receiver: SnapshotReceiver;
  readonly #sender: SnapshotSender;
  #appliedTerm: number;
  /** The last one that the core wanted to be written. */
  #claimed: SnapshotId | null = null;

  constructor(options: NodeSnapshotsOptions) {
    this.#options = options;
    this.#appliedTerm = options.appliedTerm;
    const { stateMachine, clock, log, transport } = options.node;
    const dir = options.durable.snapshots;
    this.#taker = new SnapshotTaker({
      ...{ dir, stateMachine, clock, log, policy: options.policy },
      taken: (head, replacesAll) => options.appends.snapshotTaken(head, replacesAll),
    });
    this.#receiver = new SnapshotReceiver({ dir, deliver: (message) => this.#deliver(message) });
    const { tasks, report } = options;
    this.#sender = new SnapshotSender({ dir, transport, log, tasks, report });
  }

  // Taken of the own state.

  applied(entry: Entry): void {
    this.#appliedTerm = entry.term;
    this.#taker.count(entry);
  }

  /** When enough came since the last one, or a follower needs one that is not there: the core asks again. */
  takeIfDue(): void {
    const { image, applies, life, tasks } = this.#options;
    if (!life.isActive || !this.#taker.mayStart) return;
    const wanted = image.takeSnapshotWanted();
    if (!wanted && !this.#taker.due) return;
    if (applies.appliedIndex <= image.snapshotIndex) return;
    const head = this.#head();
    tasks.run((signal) => this.#taker.take(head, signal));
  }

  /**
   * Gives up what is being received under an older key, and takes a snapshot that replaces every older
   * file, once it covers the log up to `index`; not on a node without any state. What is there under
   * the same name is replaced as well.
   */
  replaceIfCovering(index: number): void {
    const { life, applies, tasks } = this.#options;
    const { appliedIndex } = applies;
    if (!life.isActive) return;
    tasks.run(() => this.#receiver.giveUpStale());
    if (!this.#taker.mayStart || appliedIndex === 0) return;
    if (appliedIndex < index) return;
    const head = this.#head();
    tasks.run((signal) => this.#taker.take(head, signal, true));
  }

  #head(): SnapshotHead {
    const { view, applies } = this.#options;
    const { confState, membership } = view;
    return { index: applies.appliedIndex, term: this.#appliedTerm, confState, membership };
  }

  // Sent to followers.

  send(message: Message): void {
    this.#sender.send(message);
  }

  /** Gives up what is under way to followers for which `keep` is false. */
  abortUnless(keep: (raftId: number) => boolean): void {
    this.#sender.abortUnless(keep);
  }

  // Received from a leader: begin -> deliver -> the core claims it in a `storage-append` -> publish
  // -> (the log names it) -> install -> restored.

  begin(offer: SnapshotOffer): Promise<SnapshotSink> {
    return this.#receiver.begin(offer);
  }

  /** The core wants `message` to be written. */
  noteClaim({ snapshot }: Message): void {
    if (snapshot !== null && !isEmptySnapshot(snapshot)) this.#claimed = snapshot.metadata;
  }

  publish(id: SnapshotId): Promise<void> {
    return this.#receiver.publish(id);
  }

  async install(snapshot: Snapshot): Promise<void> {
    const { durable, applies } = this.#options;
    // Opened before older files are deleted; stays readable when it is itself replaced.
    const reader = await durable.snapshots.read(snapshot.metadata);
    applies.restore(snapshot, dataOf(reader));
  }

  restored({ metadata }: Snapshot): void {
    this.#appliedTerm = metadata.term;
    this.#taker.restart();
    this.#options.image.requireSnapshotFrom(0);
  }

  stop(): Promise<void> {
    return this.#receiver.stop();
  }

  /** True = the core claimed it. */
  #deliver(message: Message): boolean {
    this.#claimed = null;
    this.#options.deliver(message);
    const claimed = this.#claimed as SnapshotId | null; // set by noteClaim
    return claimed !== null && claimed.index === message.snapshot?.metadata.index;
  }
}
