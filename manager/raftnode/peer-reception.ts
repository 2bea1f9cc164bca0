/**
 * Who may speak to this node: takes what comes from the transport, turns away who is no member, and
 * notes who was heard. Knows no core.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Message } from '../raft/types.ts';
import type { CoreDriver } from './core-driver.ts';
import type { MemberView } from './member-view.ts';
import type { NodeLife } from './node-life.ts';
import type { PeerAddress, PeerHandler, SnapshotOffer, SnapshotSink } from './peer-transport.ts';

export interface PeerReceptionOptions {
  readonly raftId: number;
  readonly view: MemberView;
  readonly life: NodeLife;
  readonly driver: CoreDriver;
  /** A restart of this node will not know less to be committed. */
  readonly durableCommit: () => number;
  readonly beginSnapshot: (offer: SnapshotOffer) => Promise<SnapshotSink>;
  readonly unreachable: (raftId: number) => void;
  readonly lost: (raftId: number) => void;
  readonly removed: (by: number) => void;
  /** A peer is somewhere else than was known. */
  readonly moved: () => void;
}

export class PeerReception implements PeerHandler {
  readonly #options: PeerReceptionOptions;

  constructor(options: PeerReceptionOptions) {
    this.#options = options;
  }

  identify(from: PeerAddress, nodeId: string): void {
    this.#options.view.identify(from, nodeId);
  }

  receive(from: PeerAddress, messages: readonly Message[]): void {
    if (!this.#admits(from)) return;
    this.#hear(from);
    this.#options.driver.receive(from.raftId, messages);
  }

  async beginSnapshot(from: PeerAddress, offer: SnapshotOffer): Promise<SnapshotSink> {
    const isAdmitted = this.#admits(from);
    const { to, from: sender } = offer.message;
    if (to !== this.#options.raftId || sender !== from.raftId || !isAdmitted) {
      throw new SkepError('failed-precondition', 'receive snapshot: it is for another raft node');
    }
    this.#hear(from);
    return this.#options.beginSnapshot(offer);
  }

  unreachable(raftId: number): void {
    this.#options.unreachable(raftId);
  }

  lost(raftId: number): void {
    this.#options.lost(raftId);
  }

  removed(by: number): void {
    this.#options.removed(by);
  }

  /** Throws `RemovedMemberError`. */
  #admits(from: PeerAddress): boolean {
    const { view, life, durableCommit } = this.#options;
    return view.admit(from, durableCommit()) && life.isActive;
  }

  #hear(from: PeerAddress): void {
    if (this.#options.view.hear(from)) this.#options.moved();
  }
}
