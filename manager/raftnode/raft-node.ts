/**
 * A member of the consensus group: its life and its promises to callers. Knows what is committed, never what
 * it means. What it is made of: `NodeParts`.
 */
import type { RaftTiming } from '../raft/config.ts';
import { NO_NODE } from '../raft/types.ts';
import type { LeadershipListener } from './leadership.ts';
import type { MemberRecord, RaftMember } from './membership.ts';
import type { CoreView, RaftNodeOptions, RaftNodeStatus } from './node-options.ts';
import { NodeParts } from './node-parts.ts';
import { bootstrapState, joinState, restartState, type StartState } from './node-start.ts';
import type { SnapshotSettings } from './snapshot-policy.ts';

export class RaftNode {
  readonly #options: RaftNodeOptions;
  readonly #parts: NodeParts;
  #stopping: Promise<void> | null = null;

  /** New cluster with this node as its only member; durable when it resolves. */
  static async bootstrap(options: RaftNodeOptions): Promise<RaftNode> {
    return new RaftNode(options, await bootstrapState(options));
  }

  /** New member without state; gets everything from the leader of a cluster that knows it. */
  static async join(options: RaftNodeOptions, members: readonly MemberRecord[]): Promise<RaftNode> {
    return new RaftNode(options, await joinState(options, members));
  }

  /**
   * From what is on disk; the state machine is restored from the snapshot when it resolves. With
   * `forceNewCluster` all other members are dropped (see `forceNewCluster`), after a copy of the
   * directory was made beside it.
   */
  static async restart(
    options: RaftNodeOptions,
    extra: { readonly forceNewCluster: boolean } = { forceNewCluster: false },
  ): Promise<RaftNode> {
    return new RaftNode(options, await restartState(options, extra.forceNewCluster));
  }

  /** Use `bootstrap`, `join` or `restart`. */
  private constructor(options: RaftNodeOptions, state: StartState) {
    this.#options = options;
    this.#parts = new NodeParts(options, state);
  }

  /** Begins to take part. */
  async start(): Promise<void> {
    const parts = this.#parts;
    const { raftId, address, transport } = this.#options;
    parts.life.start();
    await transport.start({ raftId, address }, parts.createReception());
    parts.publishPeers();
    transport.greet(); // who waits to call again, or at another address, need not
    parts.startTicking();
    if (parts.view.isSelfAlone) parts.raw.campaign(); // nobody to wait for
    parts.driver.wake();
  }

  /** Hands leadership over if it can, ends everything, frees the directory. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  get appliedIndex(): number {
    return this.#parts.applies.appliedIndex;
  }

  /** True once this node is known not to be a member any more. */
  get removed(): boolean {
    return this.#parts.life.state === 'removed';
  }

  get core(): CoreView {
    return this.#parts.raw;
  }

  status(): RaftNodeStatus {
    const { term, commit, role, leader } = this.#parts.raw.basicStatus();
    const { raftId } = this.#options;
    const { isActive } = this.#parts.life;
    const isLearner = role === 'follower' && this.#parts.view.isSelfLearner;
    return {
      raftId,
      term,
      leaderRaftId: isActive ? leader : NO_NODE,
      role: isLearner ? 'learner' : isActive ? role : 'follower',
      committedIndex: commit,
      appliedIndex: this.appliedIndex,
      removed: this.removed,
      diskFull: this.#parts.proposals.diskFull,
      keyRotation: this.#parts.keys.underWay,
    };
  }

  /** Ascending by raft id. See `RaftMember` for what a node that does not lead can know. */
  members(): RaftMember[] {
    return this.#parts.view.list(this.#parts.leadership.soft.leader);
  }

  /** Null when no leader is known. */
  leader(): RaftMember | null {
    const { leader } = this.#parts.leadership.soft;
    return this.#parts.view.describe(leader, leader);
  }

  /**
   * Called with true once this node leads and has applied everything of earlier terms, with false
   * as soon as it does not lead any more. Returns the release.
   */
  onLeadershipChange(listener: LeadershipListener): () => void {
    return this.#parts.leadership.onChange(listener);
  }

  /** Called when `leader()` or `members()` may answer otherwise. Returns the release. */
  onMembersChange(listener: () => void): () => void {
    return this.#parts.onMembersChange(listener);
  }

  /**
   * Resolves with the entry's index when it is committed and applied here. Rejects with
   * `ProposalError` (see `mayCommit`), within two election timeouts when leadership or the majority
   * is lost; with `signal.reason` on abort, which does not take the proposal back.
   */
  propose(payload: Uint8Array, signal?: AbortSignal): Promise<number> {
    return this.#parts.proposals.push(payload, signal);
  }

  /**
   * Resolves with the cluster's commit index of some moment after the call, once it is applied here:
   * a read that follows sees all writes acknowledged before the call. Works on any member. Rejects
   * with `no-leader` after two election timeouts.
   */
  readBarrier(signal?: AbortSignal): Promise<number> {
    const refusal = this.#parts.life.refusal('read');
    return refusal === null ? this.#parts.barriers.wait(signal) : Promise.reject(refusal);
  }

  /** On the leader: adds a learner that becomes a voter by itself when it has caught up. */
  addMember(member: MemberRecord, signal?: AbortSignal): Promise<void> {
    return this.#parts.changes.add(member, signal);
  }

  /**
   * On the leader. A removed id never comes back. A leader does not remove itself while another can
   * lead: it hands leadership over and rejects with `not-leader`, so that the caller asks that one.
   */
  async removeMember(raftId: number, signal?: AbortSignal): Promise<void> {
    const isSelf = raftId === this.#options.raftId && this.#parts.leadership.isLeader;
    if (isSelf && this.#parts.duties.successor() !== null) {
      await this.transferLeadership(signal);
      throw this.#parts.notLeader('remove this manager');
    }
    await this.#parts.changes.remove(raftId, signal);
  }

  /** On the leader: a new address or node id for a member. */
  updateMember(member: MemberRecord, signal?: AbortSignal): Promise<void> {
    return this.#parts.changes.update(member, signal);
  }

  /**
   * Resolves when another node is known to lead. Rejects with `not-leader`, with `failed-precondition` when
   * there is nobody to take over, with `unavailable` when it did not within an election timeout.
   */
  transferLeadership(signal?: AbortSignal): Promise<void> {
    return this.#parts.duties.transfer(signal);
  }

  /**
   * Resolves when everything that is written from now on is under a new key; files under older ones
   * are replaced in the background (see `KeyRotation`). Rejects when the keys could not be saved.
   */
  rotateKey(): Promise<void> {
    const refusal = this.#parts.life.refusal('rotate raft key');
    return refusal === null ? this.#parts.keys.rotate() : Promise.reject(refusal);
  }

  /** From the next snapshot on, on this node; members may differ for a while. */
  setSnapshotSettings(settings: SnapshotSettings): void {
    this.#parts.policy.change(settings);
  }

  /** At once, on this node; members may differ for a while. */
  setTiming(timing: RaftTiming): void {
    this.#parts.setTiming(timing);
  }

  async #stop(): Promise<void> {
    const { transport, log } = this.#options;
    if (this.#parts.life.isMember) {
      this.#parts.life.stopping();
      if (this.#parts.leadership.isLeader && this.#parts.duties.successor() !== null) {
        await this.transferLeadership().catch((err) =>
          log.warn({ err }, 'leadership was not moved'),
        );
      }
    }
    const failed = this.#parts.life.state === 'failed';
    this.#parts.life.stopped();
    await this.#parts.tasks.stop();
    await this.#parts.applies.stop();
    await this.#parts.appends.stop();
    await transport.stop();
    await this.#parts.snapshots.stop();
    await this.#parts.durable.close().catch((err) => {
      if (!failed) throw err;
    });
  }
}
