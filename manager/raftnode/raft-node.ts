/**
 * A member of the consensus group: drives the pure core with time, disk and network, and keeps its
 * promises to callers. Knows what is committed, never what it means.
 *
 * How it flows: any input (tick, message, proposal, finished write) is stepped into the core; once
 * per turn everything the core wants is taken out: messages to peers leave at once, also while our
 * own write of the same entries is under way; writes go to the append loop (one flush in flight,
 * everything queued in one), committed entries to the apply loop; both bring responses back.
 */
import { assert } from '../../common/base/assert.ts';
import type { Timer } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { TaskSet } from '../../common/base/lifecycle.ts';
import { decodeConfChange } from '../raft/conf-change.ts';
import { LocalMessageError, ProposalDroppedError, UnknownPeerError } from '../raft/errors.ts';
import { RawNode } from '../raft/raw-node.ts';
import {
  type ConfChange,
  type Entry,
  isEmptySnapshot,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  NO_NODE,
  type Snapshot,
  type SoftState,
} from '../raft/types.ts';
import { AppendLoop } from './append-loop.ts';
import { ApplyLoop } from './apply-loop.ts';
import { Departure } from './departure.ts';
import {
  type DurableState,
  dataOf,
  decodeSnapshotState,
  type RecoveredState,
  type SnapshotHead,
} from './durable-state.ts';
import { Leadership, type LeadershipListener } from './leadership.ts';
import { LogImage } from './log-image.ts';
import { MemberChanges } from './member-changes.ts';
import { MemberView } from './member-view.ts';
import type { MemberRecord, RaftMember } from './membership.ts';
import { DEFAULTS, type RaftNodeOptions, type RaftNodeStatus } from './node-options.ts';
import { bootstrapState, joinState, restartState } from './node-start.ts';
import type { PeerAddress, PeerHandler, SnapshotOffer, SnapshotSink } from './peer-transport.ts';
import { ProposalQueue } from './proposal-queue.ts';
import { ProposalError } from './proposals.ts';
import { ReadBarriers } from './read-barriers.ts';
import type { SnapshotId } from './snapshot-files.ts';
import { SnapshotReceiver } from './snapshot-receiver.ts';
import { SnapshotSender } from './snapshot-sender.ts';
import { SnapshotTaker } from './snapshot-taker.ts';

/** Largest proposal. With its envelope it fits a 4 MiB message. */
export const PAYLOAD_BYTES_MAX = 3 * 1024 * 1024;

const MIB = 1024 * 1024;
/** Flow control of the core: design/raft.md section 2.2. */
const FLOW = {
  maxSizePerMessageBytes: 256 * 1024,
  maxCommittedSizePerReadyBytes: 4 * MIB,
  maxUncommittedBytes: 32 * MIB,
  maxInflightMessages: 256,
  maxInflightBytes: 4 * MIB,
} as const;

/**
 * - created: nothing runs; - running; - leaving: removed, still votes (see `Departure`);
 * - stopping: hands leadership over; - removed: no member any more, waits for `stop`;
 * - failed: `onFailure` was told; - stopped.
 */
type State = 'created' | 'running' | 'leaving' | 'stopping' | 'removed' | 'failed' | 'stopped';

const ACTIVE: ReadonlySet<State> = new Set<State>(['running', 'leaving', 'stopping']);

export class RaftNode {
  readonly #options: RaftNodeOptions;
  readonly #durable: DurableState;
  readonly #image: LogImage;
  readonly #raw: RawNode;
  readonly #appends: AppendLoop;
  readonly #applies: ApplyLoop;
  readonly #taker: SnapshotTaker;
  readonly #receiver: SnapshotReceiver;
  readonly #barriers: ReadBarriers;
  readonly #changes: MemberChanges;
  readonly #proposals: ProposalQueue;
  readonly #sender: SnapshotSender;
  readonly #view: MemberView;
  readonly #leadership = new Leadership();
  readonly #tasks: TaskSet;
  readonly #electionTicks: number;
  #state: State = 'created';
  #ticker: Timer | null = null;
  #ticks = 0;
  #wakeScheduled = false;
  /** Term of the entry at `appliedIndex`. */
  #appliedTerm: number;
  /** When callers whose leader lost its office have waited long enough. */
  #orphansUntilTick = 0;
  #diskFull = false;
  readonly #departure: Departure;
  #claimed: SnapshotId | null = null;
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
  private constructor(
    options: RaftNodeOptions,
    { durable, recovered }: { durable: DurableState; recovered: RecoveredState },
  ) {
    this.#options = options;
    this.#durable = durable;
    this.#electionTicks = options.electionTicks ?? DEFAULTS.electionTicks;
    this.#tasks = new TaskSet((err) => this.#fail(err));
    this.#departure = new Departure({ patienceTicks: 5 * this.#electionTicks });
    const { snapshot } = recovered;
    this.#image = new LogImage(recovered);
    this.#view = new MemberView({
      self: { raftId: options.raftId, address: options.address },
      membership: recovered.membership,
      confState: this.#image.initialState().confState,
      silenceTicksMax: this.#electionTicks,
    });
    this.#appliedTerm = snapshot?.term ?? 0;
    this.#raw = this.#createCore(snapshot?.index ?? 0);
    this.#appends = this.#createAppends(recovered);
    this.#applies = this.#createApplies(snapshot?.index ?? 0);
    this.#taker = this.#createTaker();
    this.#receiver = new SnapshotReceiver({
      dir: durable.snapshots,
      deliver: (message) => this.#deliverSnapshot(message),
    });
    this.#sender = this.#createSender();
    this.#proposals = this.#createProposals();
    this.#barriers = new ReadBarriers({
      nonce: options.random.bytes(8),
      limitTicks: 2 * this.#electionTicks,
      issue: (context) => {
        this.#raw.readIndex(context);
        this.#wake();
      },
      appliedIndex: () => this.#applies.appliedIndex,
    });
    this.#changes = new MemberChanges({
      membership: () => this.#view.membership,
      confState: () => this.#view.confState,
      isReachable: (raftId) => this.#view.isReachable(raftId),
      propose: (change, signal) => this.#proposeChange(change, signal),
    });
  }

  /** Begins to take part. */
  async start(): Promise<void> {
    assert(this.#state === 'created', `raft node: started while ${this.#state}`);
    this.#state = 'running';
    const { raftId, address, transport, clock, tickMs = DEFAULTS.tickMs } = this.#options;
    await transport.start({ raftId, address }, this.#handler());
    this.#publishPeers();
    this.#ticker = clock.setPeriodic(tickMs, () => this.#guarded(() => this.#tick()));
    if (this.#view.isSelfAlone) this.#raw.campaign(); // nobody to wait for
    this.#wake();
  }

  /** Hands leadership over if it can, ends everything, frees the directory. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  get appliedIndex(): number {
    return this.#applies.appliedIndex;
  }

  /** True once this node is known not to be a member any more. */
  get removed(): boolean {
    return this.#state === 'removed';
  }

  status(): RaftNodeStatus {
    const { term, commit, role, leader } = this.#raw.basicStatus();
    const { raftId } = this.#options;
    const isLearner = role === 'follower' && this.#view.isSelfLearner;
    return {
      raftId,
      term,
      leaderRaftId: this.#isActive() ? leader : NO_NODE,
      role: isLearner ? 'learner' : this.#isActive() ? role : 'follower',
      committedIndex: commit,
      appliedIndex: this.appliedIndex,
      removed: this.removed,
      diskFull: this.#diskFull,
    };
  }

  /** Ascending by raft id. See `RaftMember` for what a node that does not lead can know. */
  members(): RaftMember[] {
    return this.#view.list(this.#leadership.soft.leader);
  }

  /** Null when no leader is known. */
  leader(): RaftMember | null {
    const { leader } = this.#leadership.soft;
    return this.#view.describe(leader, leader);
  }

  /**
   * Called with true once this node leads and has applied everything of earlier terms, with false
   * as soon as it does not lead any more. Returns the release.
   */
  onLeadershipChange(listener: LeadershipListener): () => void {
    return this.#leadership.onChange(listener);
  }

  /**
   * Resolves with the entry's index when it is committed and applied here. Rejects with
   * `ProposalError` (see `mayCommit`), within two election timeouts when leadership or the majority
   * is lost; with `signal.reason` on abort, which does not take the proposal back.
   */
  propose(payload: Uint8Array, signal?: AbortSignal): Promise<number> {
    if (payload.length === 0 || payload.length > PAYLOAD_BYTES_MAX) {
      const rule = `is outside 1..${PAYLOAD_BYTES_MAX}`;
      return Promise.reject(
        new ProposalError('invalid-argument', `propose ${payload.length} bytes: ${rule}`, false),
      );
    }
    const refusal = this.#refusal('propose') ?? this.#leaderRefusal('propose');
    return refusal === null ? this.#proposals.push(payload, signal) : Promise.reject(refusal);
  }

  /**
   * Resolves with the cluster's commit index of some moment after the call, once it is applied here:
   * a read that follows sees all writes acknowledged before the call. Works on any member. Rejects
   * with `no-leader` after two election timeouts.
   */
  readBarrier(signal?: AbortSignal): Promise<number> {
    const refusal = this.#refusal('read');
    return refusal === null ? this.#barriers.wait(signal) : Promise.reject(refusal);
  }

  /** On the leader: adds a learner that becomes a voter by itself when it has caught up. */
  addMember(member: MemberRecord, signal?: AbortSignal): Promise<void> {
    return this.#changes.add(member, signal);
  }

  /**
   * On the leader. A removed id never comes back. A leader does not remove itself while another can
   * lead: it hands leadership over and rejects with `not-leader`, so that the caller asks that one.
   */
  async removeMember(raftId: number, signal?: AbortSignal): Promise<void> {
    const isSelf = raftId === this.#options.raftId && this.#leadership.isLeader;
    if (isSelf && this.#successor() !== null) {
      await this.transferLeadership(signal);
      throw this.#notLeader('remove this manager');
    }
    await this.#changes.remove(raftId, signal);
  }

  /** On the leader: a new address or node id for a member. */
  updateMember(member: MemberRecord, signal?: AbortSignal): Promise<void> {
    return this.#changes.update(member, signal);
  }

  /**
   * Resolves when another node is known to lead. Rejects with `not-leader`, with `failed-precondition` when
   * there is nobody to take over, with `unavailable` when it did not within an election timeout.
   */
  async transferLeadership(signal?: AbortSignal): Promise<void> {
    const action = 'transfer raft leadership';
    if (!this.#leadership.isLeader) throw this.#notLeader(action);
    const to = this.#successor();
    if (to === null) {
      throw new SkepError('failed-precondition', `${action}: no other voting manager is reachable`);
    }
    this.#raw.transferLeader(to);
    this.#wake();
    const deadline = this.#ticks + this.#electionTicks + 1;
    const isDone = (): boolean =>
      ![NO_NODE, this.#options.raftId].includes(this.#leadership.soft.leader);
    while (!isDone() && this.#isActive()) {
      signal?.throwIfAborted();
      if (this.#ticks >= deadline) {
        throw new SkepError('unavailable', `${action} to ${to.toString(16)}: it did not take over`);
      }
      await this.#leadership.changed();
    }
  }

  // Making the parts.

  #createCore(applied: number): RawNode {
    const { raftId, random, onEvent } = this.#options;
    return new RawNode({
      ...FLOW,
      id: raftId,
      electionTicks: this.#electionTicks,
      heartbeatTicks: 1,
      storage: this.#image,
      random,
      applied,
      asyncStorageWrites: true,
      checkQuorum: true,
      preVote: true,
      stepDownOnRemoval: true,
      disableProposalForwarding: true,
      ...(onEvent === undefined ? {} : { onEvent }),
    });
  }

  #createAppends(recovered: RecoveredState): AppendLoop {
    return new AppendLoop({
      durable: this.#durable,
      image: this.#image,
      hardState: recovered.hardState,
      clock: this.#options.clock,
      keepEntries: this.#options.keepEntries ?? DEFAULTS.keepEntries,
      hooks: {
        publish: (id) => this.#receiver.publish(id),
        installed: (snapshot) => this.#installed(snapshot),
        written: (message) => this.#guarded(() => this.#respond(message.responses)),
        full: (isFull) => this.#guarded(() => this.#setDiskFull(isFull)),
        idle: () => this.#guarded(() => this.#proposals.drain()),
        failed: (err) => this.#fail(err),
      },
    });
  }

  #createApplies(appliedIndex: number): ApplyLoop {
    const { stateMachine, clock } = this.#options;
    return new ApplyLoop(stateMachine, clock, appliedIndex, {
      applyConfChange: (entry) => this.#applyConfChange(entry),
      applied: (entry) => this.#applied(entry),
      finished: (message) => {
        this.#respond(message.responses);
        this.#barriers.applied();
        this.#snapshotIfDue();
      },
      restored: (snapshot) => this.#restored(snapshot),
      failed: (err) => this.#fail(err),
    });
  }

  #createTaker(): SnapshotTaker {
    const { stateMachine, clock, log } = this.#options;
    return new SnapshotTaker({
      dir: this.#durable.snapshots,
      stateMachine,
      clock,
      log,
      intervalEntries: this.#options.snapshotIntervalEntries ?? DEFAULTS.snapshotIntervalEntries,
      intervalBytes: this.#options.snapshotIntervalBytes ?? DEFAULTS.snapshotIntervalBytes,
      taken: (head) => this.#appends.snapshotTaken(head),
    });
  }

  #createSender(): SnapshotSender {
    const { transport, log } = this.#options;
    return new SnapshotSender({
      ...{ transport, log, tasks: this.#tasks, dir: this.#durable.snapshots },
      report: (to, outcome) => {
        this.#guarded(() => this.#raw.reportSnapshot(to, outcome));
        this.#wake();
      },
    });
  }

  #createProposals(): ProposalQueue {
    return new ProposalQueue({
      raw: this.#raw,
      isBusy: () => this.#appends.busy,
      schedule: () => queueMicrotask(() => this.#guarded(() => this.#proposals.drain())),
      wake: () => this.#wake(),
      notLeader: (action) => this.#notLeader(action),
    });
  }

  #handler(): PeerHandler {
    return {
      receive: (from, messages) => this.#receive(from, messages),
      beginSnapshot: (from, offer) => this.#beginSnapshot(from, offer),
      unreachable: (raftId) => {
        this.#guarded(() => this.#raw.reportUnreachable(raftId));
        this.#wake();
      },
      removed: (by) => this.#guarded(() => this.#toldRemoved(by)),
    };
  }

  // Driving the core.

  #isActive(): boolean {
    return ACTIVE.has(this.#state);
  }

  /** The core's assertions end the process through the owner, not through a stray rejection. */
  #guarded(act: () => void): void {
    if (!this.#isActive()) return;
    try {
      act();
    } catch (err) {
      this.#fail(err);
    }
  }

  #tick(): void {
    this.#ticks++;
    this.#view.tick();
    this.#raw.tick();
    this.#barriers.tick();
    if (this.#ticks === this.#orphansUntilTick) this.#rejectOrphans();
    this.#proposals.drain();
    this.#appends.flushCommit();
    if (this.#leadership.isSettled) this.#leaderChores();
    this.#askIfRemoved();
    this.#departIfOver();
    this.#wake();
    this.#leadership.wake();
  }

  #wake(): void {
    if (this.#wakeScheduled) return;
    this.#wakeScheduled = true;
    queueMicrotask(() => {
      this.#wakeScheduled = false;
      this.#guarded(() => this.#pump());
    });
  }

  /** Takes out everything that the core wants. */
  #pump(): void {
    while (this.#isActive() && this.#raw.hasReady()) {
      const ready = this.#raw.ready();
      this.#noteLeader(ready.softState ?? this.#leadership.soft);
      this.#route(ready.messages);
      for (const { requestContext, index } of ready.readStates) {
        this.#barriers.confirmed(requestContext, index);
      }
    }
    this.#snapshotIfDue();
  }

  #route(messages: readonly Message[]): void {
    const outgoing: Message[] = [];
    for (const message of messages) {
      if (message.to === LOCAL_APPEND_THREAD) {
        const { snapshot } = message;
        if (snapshot !== null && !isEmptySnapshot(snapshot)) this.#claimed = snapshot.metadata;
        this.#appends.push(message);
      } else if (message.to === LOCAL_APPLY_THREAD) this.#applies.push(message);
      else if (message.type === 'snapshot') this.#sender.send(message);
      else outgoing.push(message);
    }
    if (outgoing.length > 0) this.#options.transport.send(outgoing);
  }

  /** Delivers what waited for a write or for entries to be applied. */
  #respond(responses: readonly Message[]): void {
    if (!this.#isActive()) return;
    const { raftId } = this.#options;
    for (const response of responses) if (response.to === raftId) this.#raw.step(response);
    this.#route(responses.filter(({ to }) => to !== raftId));
    this.#wake();
  }

  #receive(from: PeerAddress, messages: readonly Message[]): void {
    if (!this.#view.admit(from, this.#appends.durableCommit) || !this.#isActive()) return;
    if (this.#view.hear(from)) this.#publishPeers();
    for (const message of messages) {
      if (message.to !== this.#options.raftId || message.from !== from.raftId) {
        throw new SkepError(
          'failed-precondition',
          `accept raft message for ${message.to.toString(16)}: this is ${this.#options.raftId.toString(16)}`,
        );
      }
      if (message.type === 'propose' || message.type === 'snapshot') continue; // have their own ways
      this.#guarded(() => this.#step(message));
    }
    this.#wake();
  }

  #step(message: Message): void {
    try {
      this.#raw.step(message);
    } catch (err) {
      const expected = [LocalMessageError, UnknownPeerError, ProposalDroppedError];
      if (!expected.some((type) => err instanceof type)) throw err;
      this.#options.log.debug({ err, from: message.from }, 'dropped a raft message');
    }
  }

  // Roles.

  #noteLeader(soft: SoftState): void {
    const { term } = this.#raw.basicStatus();
    const news = this.#leadership.note(soft, term);
    if (news.lost) this.#lostLeadership();
    if (news.leader) this.#barriers.retry();
    if (!news.leader && !news.role) return;
    const { log, raftId } = this.#options;
    const leader = soft.leader === NO_NODE ? null : soft.leader.toString(16);
    log.info({ raftId: raftId.toString(16), raftTerm: term, role: soft.role, leader }, 'raft role');
  }

  #lostLeadership(): void {
    const { commit } = this.#raw.basicStatus();
    this.#proposals.waiters.rejectAbove(commit, () => this.#notLeader('propose', true));
    this.#orphansUntilTick = this.#ticks + this.#electionTicks;
    this.#sender.abortUnless(() => false);
  }

  /** What was committed before the loss is normally applied by now. */
  #rejectOrphans(): void {
    const { term } = this.#raw.basicStatus();
    const { leadingTerm } = this.#leadership;
    const words = 'propose: committed, but not yet applied here';
    this.#proposals.waiters.rejectBefore(leadingTerm === 0 ? term + 1 : leadingTerm, () => {
      return new ProposalError('unavailable', words, true);
    });
  }

  #leaderChores(): void {
    const { signal } = this.#tasks;
    if (this.#view.confState.learners.length > 0) {
      const promotion = this.#changes.promote(this.#raw.status(), signal);
      if (promotion !== null) this.#inBackground(promotion, 'promotion of a manager failed');
    }
    if (this.#ticks % this.#electionTicks !== 0) return;
    // A member that came back under another address is found by its id.
    for (const record of this.#view.moved()) {
      const update = this.#changes.update(record, signal);
      this.#inBackground(update, 'update of a manager address failed');
    }
  }

  /**
   * A learner never campaigns, and one that leaves asks nobody for votes: they would not hear that
   * they were removed.
   */
  #askIfRemoved(): void {
    const isLeaving = this.#state === 'leaving' || this.#departure.isTold;
    const periodTicks = isLeaving ? Math.ceil(this.#electionTicks / 2) : 2 * this.#electionTicks;
    if (this.#ticks % periodTicks !== 0) return;
    const { leader } = this.#leadership.soft; // a learner keeps the last one that it knew
    const isAlone = leader === NO_NODE || !this.#view.isReachable(leader);
    if (isLeaving || isAlone) this.#options.transport.greet();
  }

  #inBackground(work: Promise<unknown>, failure: string): void {
    this.#tasks.run(async () => {
      try {
        await work;
      } catch (err) {
        this.#options.log.warn({ err }, failure); // tried again at a later tick
      }
    });
  }

  #successor(): number | null {
    const { raftId } = this.#options;
    const { progress, confState } = this.#raw.status();
    const others = confState.voters.filter((id) => id !== raftId && this.#view.isReachable(id));
    const match = (id: number): number => progress.get(id)?.match ?? 0;
    return others.sort((a, b) => match(b) - match(a))[0] ?? null;
  }

  // Proposals.

  async #proposeChange(change: ConfChange, signal?: AbortSignal): Promise<void> {
    const action = 'change members';
    const refusal = this.#refusal(action) ?? this.#leaderRefusal(action);
    if (refusal !== null) throw refusal;
    if (!this.#leadership.isSettled) {
      throw new ProposalError('unavailable', `${action}: the leader has just been elected`, false);
    }
    await this.#proposals.change(change, signal);
  }

  #notLeader(action: string, mayCommit = false): ProposalError {
    const leader = this.leader();
    if (leader === null || leader.raftId === this.#options.raftId) {
      return new ProposalError('no-leader', `${action}: the managers have no leader`, mayCommit);
    }
    const words = `${action}: ${leader.nodeId} at ${leader.address} is the leader`;
    const details = { leaderAddress: leader.address };
    return new ProposalError('not-leader', words, mayCommit, { details });
  }

  #leaderRefusal(action: string): ProposalError | null {
    if (!this.#leadership.isLeader) return this.#notLeader(action);
    if (!this.#diskFull) return null;
    return new ProposalError('unavailable', `${action}: no space left for the raft log`, false);
  }

  /** Why nothing can be asked of this node; null when it can. */
  #refusal(action: string): ProposalError | null {
    if (this.#state === 'running') return null;
    if (this.#state === 'removed' || this.#state === 'leaving') {
      const words = `${action}: this manager was removed from the cluster`;
      return new ProposalError('not-a-manager', words, false);
    }
    return new ProposalError('unavailable', `${action}: this manager is ${this.#state}`, false);
  }

  #setDiskFull(isFull: boolean): void {
    this.#diskFull = isFull;
    const { dir, log } = this.#options;
    if (!isFull) {
      log.info({ dir }, 'the raft log has space again');
      return;
    }
    log.error({ dir }, 'no space left for the raft log: free some; reads go on');
    const words = 'propose: no space left for the raft log';
    this.#proposals.waiters.rejectAbove(0, () => new ProposalError('unavailable', words, true));
    const to = this.#leadership.isLeader ? this.#successor() : null;
    if (to === null) return;
    this.#raw.transferLeader(to);
    this.#wake();
  }

  // Applying.

  #applied(entry: Entry): void {
    this.#appliedTerm = entry.term;
    this.#taker.count(entry);
    this.#proposals.waiters.applied(entry);
    this.#leadership.applied(entry.term);
  }

  #applyConfChange(entry: Entry): void {
    const change = decodeConfChange(entry);
    this.#view.apply(change, entry.index, this.#raw.applyConfChange(change));
    this.#image.requireSnapshotFrom(entry.index);
    this.#membershipChanged();
  }

  #membershipChanged(): void {
    this.#sender.abortUnless((raftId) => this.#view.membership.members.has(raftId));
    this.#publishPeers();
    if (this.#view.isSelfRemoved) this.#leave();
    this.#wake();
  }

  #publishPeers(): void {
    this.#options.transport.setPeers(this.#view.peers());
  }

  // Snapshots.

  #snapshotIfDue(): void {
    if (!this.#isActive() || this.#taker.busy) return;
    const wanted = this.#image.takeSnapshotWanted();
    if (!wanted && !this.#taker.due) return;
    if (this.appliedIndex <= this.#image.snapshotIndex) return;
    const head: SnapshotHead = {
      index: this.appliedIndex,
      term: this.#appliedTerm,
      confState: this.#view.confState,
      membership: this.#view.membership,
    };
    this.#tasks.run((signal) => this.#taker.take(head, signal));
  }

  async #beginSnapshot(from: PeerAddress, offer: SnapshotOffer): Promise<SnapshotSink> {
    const isAdmitted = this.#view.admit(from, this.#appends.durableCommit) && this.#isActive();
    const { to, from: sender } = offer.message;
    if (to !== this.#options.raftId || sender !== from.raftId || !isAdmitted) {
      throw new SkepError('failed-precondition', 'receive snapshot: it is for another raft node');
    }
    if (this.#view.hear(from)) this.#publishPeers();
    return this.#receiver.begin(offer);
  }

  #deliverSnapshot(message: Message): boolean {
    this.#claimed = null;
    this.#guarded(() => {
      this.#step(message);
      this.#pump();
    });
    const claimed = this.#claimed as SnapshotId | null; // set by #route
    return claimed !== null && claimed.index === message.snapshot?.metadata.index;
  }

  async #installed(snapshot: Snapshot): Promise<void> {
    // Opened before older files are deleted; stays readable when it is itself replaced.
    const reader = await this.#durable.snapshots.read(snapshot.metadata);
    this.#applies.restore(snapshot, dataOf(reader));
  }

  #restored(snapshot: Snapshot): void {
    const { index, term, confState } = snapshot.metadata;
    this.#appliedTerm = term;
    this.#view.replace(decodeSnapshotState(snapshot.data).membership, confState);
    this.#image.requireSnapshotFrom(0);
    this.#taker.restart();
    this.#proposals.waiters.passed(index);
    this.#barriers.applied();
    this.#options.log.info({ raftIndex: index }, 'raft snapshot installed');
    this.#membershipChanged();
  }

  // Ends.

  #toldRemoved(by: number): void {
    this.#departure.tell(by, this.#ticks);
    this.#departIfOver();
  }

  /** This node has applied its own removal; others may yet need its vote to do the same. */
  #leave(): void {
    if (this.#state !== 'running') return;
    this.#state = 'leaving';
    this.#barriers.rejectAll(() => this.#refusal('read'));
    this.#departIfOver();
  }

  #departIfOver(): void {
    if (this.#state !== 'running' && this.#state !== 'leaving') return;
    if (!this.#departure.isOver(this.#view.others, this.#ticks)) return;
    this.#state = 'removed';
    this.#options.log.warn({}, 'this manager was removed from the cluster');
    this.#quit('removed from the cluster');
    this.#options.onRemoved?.();
  }

  #fail(err: unknown): void {
    if (this.#state === 'failed' || this.#state === 'stopped') return;
    this.#state = 'failed';
    this.#quit('failed');
    this.#options.onFailure(err);
  }

  /** Nothing is asked of the core any more, nobody waits any more. */
  #quit(why: string): void {
    this.#ticker?.cancel();
    const words = `propose: this manager is ${why}`;
    this.#proposals.end(words);
    this.#barriers.rejectAll(() => new ProposalError('unavailable', words, false));
    this.#leadership.end();
  }

  async #stop(): Promise<void> {
    const { transport, log } = this.#options;
    if (this.#state === 'running' || this.#state === 'leaving') {
      this.#state = 'stopping';
      if (this.#leadership.isLeader && this.#successor() !== null) {
        await this.transferLeadership().catch((err) =>
          log.warn({ err }, 'leadership was not moved'),
        );
      }
    }
    const failed = this.#state === 'failed';
    this.#state = 'stopped';
    this.#quit('stopped');
    await this.#tasks.stop();
    await this.#applies.stop();
    await this.#appends.stop();
    await transport.stop();
    await this.#receiver.stop();
    await this.#durable.close().catch((err) => {
      if (!failed) throw err;
    });
  }
}
