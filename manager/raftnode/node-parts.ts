/**
 * The parts of a raft node, made and joined: what each is given, and the news that several of them have to
 * hear of. Promises nothing to callers; that is `RaftNode`.
 *
 * Two ways lead through them: that of a Ready (`CoreDriver`), and that of a proposal (`ProposalQueue`).
 * What happens beside them: `LeaderDuties`, `NodeSnapshots`, `MemberChanges`, `Leaving`, `NodeLife`.
 */
import type { Timer } from '../../common/base/clock.ts';
import { TaskSet } from '../../common/base/lifecycle.ts';
import { decodeConfChange } from '../raft/conf-change.ts';
import type { RaftTiming } from '../raft/config.ts';
import type { RawNode } from '../raft/raw-node.ts';
import { type Entry, NO_NODE, type Snapshot, type SoftState } from '../raft/types.ts';
import { AppendLoop } from './append-loop.ts';
import { ApplyLoop } from './apply-loop.ts';
import { CoreDriver } from './core-driver.ts';
import { type DurableState, decodeSnapshotState, type RecoveredState } from './durable-state.ts';
import { ElectionPace } from './election-pace.ts';
import { KeyRotation } from './key-rotation.ts';
import { LeaderDuties } from './leader-duties.ts';
import { LeaderLoss } from './leader-loss.ts';
import { Leadership } from './leadership.ts';
import { Leaving } from './leaving.ts';
import { LogImage } from './log-image.ts';
import { MemberChanges } from './member-changes.ts';
import { MemberView } from './member-view.ts';
import { createCore, timingOf } from './node-core.ts';
import { NodeLife } from './node-life.ts';
import { DEFAULTS, type RaftNodeOptions } from './node-options.ts';
import { NodeSnapshots } from './node-snapshots.ts';
import type { StartState } from './node-start.ts';
import { PeerReception } from './peer-reception.ts';
import { ProposalQueue } from './proposal-queue.ts';
import { notLeaderError, type ProposalError } from './proposals.ts';
import { ReadBarriers } from './read-barriers.ts';
import { SnapshotPolicy } from './snapshot-policy.ts';

export class NodeParts {
  readonly #options: RaftNodeOptions;
  /** as the cluster says */
  #timing: RaftTiming;
  readonly durable: DurableState;
  readonly #image: LogImage;
  readonly raw: RawNode;
  readonly life: NodeLife;
  readonly tasks: TaskSet;
  readonly leadership = new Leadership();
  readonly view: MemberView;
  readonly appends: AppendLoop;
  readonly applies: ApplyLoop;
  readonly driver: CoreDriver;
  readonly snapshots: NodeSnapshots;
  readonly policy: SnapshotPolicy;
  readonly proposals: ProposalQueue;
  readonly barriers: ReadBarriers;
  readonly changes: MemberChanges;
  readonly duties: LeaderDuties;
  readonly #pace: ElectionPace;
  readonly #leaving: Leaving;
  readonly #loss: LeaderLoss;
  readonly keys: KeyRotation;
  readonly #memberListeners = new Set<() => void>();
  #ticker: Timer | null = null;

  constructor(options: RaftNodeOptions, { durable, recovered }: StartState) {
    this.#options = options;
    this.#timing = timingOf(options);
    this.durable = durable;
    this.policy = new SnapshotPolicy(options);
    const { onFailure } = options;
    this.life = new NodeLife({ quit: (why) => this.#quit(why), onFailure });
    this.tasks = new TaskSet((err) => this.life.fail(err));
    this.#image = new LogImage(recovered);
    const applied = recovered.snapshot?.index ?? 0;
    this.raw = createCore(options, this.#image, applied, this.#timing);
    this.view = new MemberView({
      self: { raftId: options.raftId, address: options.address },
      membership: recovered.membership,
      confState: this.#image.initialState().confState,
      silenceTicksMax: () => this.#timing.electionTicks,
    });
    this.appends = this.#createAppends(recovered);
    this.applies = this.#createApplies(applied);
    this.driver = this.#createDriver();
    this.snapshots = this.#createSnapshots(recovered.snapshot?.term ?? 0);
    this.proposals = this.#createProposals();
    this.barriers = this.#createBarriers();
    this.changes = this.#createChanges();
    this.duties = this.#createDuties();
    this.#pace = new ElectionPace({
      electionTicks: () => this.#timing.electionTicks,
      random: options.random,
      rank: () => this.view.rank,
      setTimeoutTicks: (ticks) => this.raw.overrideElectionTimeout(ticks),
    });
    this.#leaving = this.#createLeaving();
    this.#loss = new LeaderLoss({
      ...{ raftId: options.raftId, clock: options.clock, transport: options.transport },
      ...{ raw: this.raw, life: this.life, tasks: this.tasks },
      ...{ view: this.view, leadership: this.leadership },
      wake: () => this.driver.wake(),
    });
    this.keys = this.#createKeys();
  }

  // Making the parts.

  #createAppends(recovered: RecoveredState): AppendLoop {
    const guarded = (act: () => void): void => this.life.guarded(act);
    return new AppendLoop({
      durable: this.durable,
      image: this.#image,
      hardState: recovered.hardState,
      clock: this.#options.clock,
      policy: this.policy,
      hooks: {
        publish: (id) => this.snapshots.publish(id),
        installed: (snapshot) => this.snapshots.install(snapshot),
        written: (message) => guarded(() => this.driver.respond(message.responses)),
        full: (isFull) => guarded(() => this.#setDiskFull(isFull)),
        failed: (err) => this.life.fail(err),
      },
    });
  }

  #createApplies(appliedIndex: number): ApplyLoop {
    const { stateMachine, clock } = this.#options;
    return new ApplyLoop(stateMachine, clock, appliedIndex, {
      applyConfChange: (entry) => this.#applyConfChange(entry),
      applied: (entry) => this.#applied(entry),
      finished: (message) => {
        this.driver.respond(message.responses);
        this.barriers.applied();
        this.snapshots.takeIfDue();
      },
      restored: (snapshot) => this.#restored(snapshot),
      failed: (err) => this.life.fail(err),
    });
  }

  #createDriver(): CoreDriver {
    const { raftId, transport, log } = this.#options;
    return new CoreDriver({
      ...{ raftId, log, raw: this.raw, life: this.life },
      ...{ appends: this.appends, applies: this.applies },
      hooks: {
        roles: (soft) => this.#noteRoles(soft ?? this.leadership.soft),
        send: (messages) => transport.send(messages),
        sendSnapshot: (message) => this.snapshots.send(message),
        storageAppend: (message) => this.snapshots.noteClaim(message),
        readState: (context, index) => this.barriers.confirmed(context, index),
        pumped: () => {
          this.proposals.startRound();
          this.snapshots.takeIfDue();
        },
      },
    });
  }

  #createSnapshots(appliedTerm: number): NodeSnapshots {
    return new NodeSnapshots({
      ...{ node: this.#options, durable: this.durable, image: this.#image, view: this.view },
      ...{ appends: this.appends, applies: this.applies, life: this.life, tasks: this.tasks },
      policy: this.policy,
      appliedTerm,
      deliver: (message) =>
        this.life.guarded(() => {
          this.driver.step(message);
          this.driver.pump();
        }),
      report: (to, outcome) => {
        this.life.guarded(() => this.raw.reportSnapshot(to, outcome));
        this.driver.wake();
      },
    });
  }

  #createProposals(): ProposalQueue {
    return new ProposalQueue({
      ...{ raw: this.raw, life: this.life, leadership: this.leadership },
      clock: this.#options.clock,
      appliedIndex: () => this.applies.appliedIndex,
      orphanTicks: () => this.#timing.electionTicks,
      wake: () => this.driver.wake(),
      notLeader: (action) => this.notLeader(action),
    });
  }

  #createBarriers(): ReadBarriers {
    return new ReadBarriers({
      nonce: this.#options.random.bytes(8),
      limitTicks: () => 2 * this.#timing.electionTicks,
      issue: (context) => {
        this.raw.readIndex(context);
        this.driver.wake();
      },
      appliedIndex: () => this.applies.appliedIndex,
    });
  }

  #createChanges(): MemberChanges {
    return new MemberChanges({
      view: this.view,
      propose: (change, signal) => this.proposals.change(change, signal),
    });
  }

  #createDuties(): LeaderDuties {
    const { raftId, log } = this.#options;
    return new LeaderDuties({
      ...{ raftId, log, raw: this.raw, life: this.life },
      electionTicks: () => this.#timing.electionTicks,
      ...{ view: this.view, leadership: this.leadership, changes: this.changes },
      tasks: this.tasks,
      wake: () => this.driver.wake(),
      notLeader: (action) => this.notLeader(action),
    });
  }

  #createKeys(): KeyRotation {
    const { dek, olderDeks = [], saveKeys: save, random, log } = this.#options;
    return new KeyRotation({
      ...{ save, random, log, durable: this.durable, appends: this.appends },
      keys: { dek, olderDeks },
      retryTicks: () => 5 * this.#timing.electionTicks,
      replaceFiles: (index) => this.snapshots.replaceIfCovering(index),
      run: (work) => this.tasks.run(work),
    });
  }

  #createLeaving(): Leaving {
    const { log, transport, onRemoved } = this.#options;
    return new Leaving({
      ...{ log, life: this.life, electionTicks: () => this.#timing.electionTicks },
      ...{ view: this.view, leadership: this.leadership },
      greet: () => transport.greet(),
      left: () => this.barriers.rejectAll(() => this.life.refusal('read')),
      removed: () => onRemoved?.(),
    });
  }

  setTiming(timing: RaftTiming): void {
    this.#timing = timing;
    this.raw.setTiming(timing);
  }

  /** For the transport. */
  createReception(): PeerReception {
    return new PeerReception({
      raftId: this.#options.raftId,
      ...{ view: this.view, life: this.life, driver: this.driver },
      durableCommit: () => this.appends.durableCommit,
      beginSnapshot: (offer) => this.snapshots.begin(offer),
      unreachable: (raftId) => {
        this.life.guarded(() => this.raw.reportUnreachable(raftId));
        this.driver.wake();
      },
      lost: (raftId) => this.life.guarded(() => this.#loss.told(raftId)),
      removed: (by) => this.life.guarded(() => this.#leaving.told(by)),
      moved: () => this.publishPeers(),
    });
  }

  // What several parts have to hear of.

  /** Lets time pass for all parts, until the node quits. */
  startTicking(): void {
    const { clock, tickMs = DEFAULTS.tickMs } = this.#options;
    this.#ticker = clock.setPeriodic(tickMs, () => this.life.guarded(() => this.#tick()));
  }

  /** Called when `leader()` or `members()` of the view may answer otherwise. Returns the release. */
  onMembersChange(listener: () => void): () => void {
    this.#memberListeners.add(listener);
    return () => this.#memberListeners.delete(listener);
  }

  #tick(): void {
    this.view.tick();
    this.raw.tick();
    // The core looks once per election timeout, so that it may be late by another one.
    if (this.leadership.isLeader && !this.view.hearsMajority) this.raw.checkQuorum();
    this.barriers.tick();
    this.proposals.tick();
    this.appends.flushCommit();
    this.duties.tick();
    this.#leaving.tick();
    this.keys.tick();
    this.driver.wake();
    this.leadership.wake();
  }

  #noteRoles(soft: SoftState): void {
    const { term } = this.raw.basicStatus();
    this.#pace.note(soft, term);
    const news = this.leadership.note(soft, term);
    if (news.lost) {
      this.proposals.leadershipLost();
      this.snapshots.abortUnless(() => false);
    }
    if (news.leader) {
      this.barriers.retry();
      this.#tellMemberListeners();
    }
    if (!news.leader && !news.role) return;
    const { log, raftId } = this.#options;
    const leader = soft.leader === NO_NODE ? null : soft.leader.toString(16);
    log.info({ raftId: raftId.toString(16), raftTerm: term, role: soft.role, leader }, 'raft role');
  }

  #applied(entry: Entry): void {
    this.snapshots.applied(entry);
    this.proposals.waiters.applied(entry);
    this.leadership.applied(entry.term);
  }

  #applyConfChange(entry: Entry): void {
    const change = decodeConfChange(entry);
    this.view.apply(change, entry.index, this.raw.applyConfChange(change));
    this.#image.requireSnapshotFrom(entry.index);
    this.#membershipChanged();
  }

  #restored(snapshot: Snapshot): void {
    const { index, confState } = snapshot.metadata;
    this.view.replace(decodeSnapshotState(snapshot.data).membership, confState);
    this.snapshots.restored(snapshot);
    this.proposals.waiters.passed(index);
    this.barriers.applied();
    this.#options.log.info({ raftIndex: index }, 'raft snapshot installed');
    this.#membershipChanged();
  }

  #membershipChanged(): void {
    this.snapshots.abortUnless((raftId) => this.view.membership.members.has(raftId));
    this.publishPeers();
    if (this.view.isSelfRemoved) this.#leaving.leave();
    this.driver.wake();
    this.#tellMemberListeners();
  }

  #tellMemberListeners(): void {
    for (const listener of [...this.#memberListeners]) listener();
  }

  /** Tells the transport who and where the peers are. */
  publishPeers(): void {
    this.#options.transport.setPeers(this.view.peers());
  }

  #setDiskFull(isFull: boolean): void {
    const { dir, log } = this.#options;
    this.proposals.setDiskFull(isFull);
    if (isFull) {
      log.error({ dir }, 'no space left for the raft log: free some; reads go on');
      this.duties.yieldLeadership();
    } else {
      log.info({ dir }, 'the raft log has space again');
    }
  }

  /** A refusal that names the leader, as far as one is known. */
  notLeader(action: string): ProposalError {
    const { leader: id } = this.leadership.soft;
    const leader = this.view.describe(id, id);
    const other = leader?.raftId === this.#options.raftId ? null : leader;
    return notLeaderError(action, other);
  }

  /** Nothing is asked of the core any more, nobody waits any more. */
  #quit(why: string): void {
    this.#ticker?.cancel();
    this.#loss.stop();
    this.proposals.end(`propose: this manager is ${why}`);
    this.barriers.rejectAll(() => this.life.refusal('read'));
    this.leadership.end();
    this.#tellMemberListeners();
  }
}
