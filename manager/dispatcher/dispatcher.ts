/**
 * The leader's side of the conversation with agents: one session per node, its liveness, its
 * assignment set at each revision. Writes node state and task status; decides nothing about tasks.
 */
import { isIP } from 'node:net';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { QueueState } from '../../common/base/queue.ts';
import type { Random } from '../../common/base/random.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { AgentMessage, ManagerPeer } from '../../common/model/session.ts';
import { checkSize } from '../../common/model/spec-size.ts';
import { type DesiredState, isTerminal } from '../../common/model/task-state.ts';
import { splitHostPort } from '../../common/rpc/listener.ts';
import { FEED_COMMITS_MAX } from '../store/feed.ts';
import type { Commit, Store, StoreChange, Watch } from '../store/types.ts';
import { AgentSession, type AgentStream, sessionMessage } from './agent-session.ts';
import { Attendance } from './attendance.ts';
import { NetworkTables } from './network-tables.ts';
import { taskChangesByNode } from './node-assignments.ts';
import { type Drained, PendingDrains } from './pending-drains.ts';
import { sameJson } from './registrations.ts';
import { StatusWriter } from './status-writer.ts';
import { gatherStep } from './step-gathering.ts';

export type { AgentStream } from './agent-session.ts';

/** The managers that agents may turn to. */
export interface ManagerList {
  managers(): readonly ManagerPeer[];
  /** Returns the function that ends the subscription. */
  onChange(listener: () => void): () => void;
}

export interface DispatcherOptions {
  readonly store: Store;
  readonly managers: ManagerList;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

/** How often liveness is looked at; a part of the shortest grace. */
const SWEEP_PERIOD_MS = 200;
/** Between two whole sets that one agent asks for. */
const RESYNC_PAUSE_MS = 1_000;
/** Commits that are gathered for one step. With so many the step goes; what came with the last of them is at most the feed. */
const GATHERED_MAX = FEED_COMMITS_MAX;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #background: TaskSet;
  readonly #statuses: StatusWriter;
  readonly #attendance: Attendance;
  readonly #sessions = new Map<NodeId, AgentSession>();
  readonly #drains = new PendingDrains();
  #tables: NetworkTables | null = null;
  #watch: Watch | null = null;
  /** taken from the watch, not yet in the tables */
  #pending: Commit[] = [];
  #stopped = false;
  #sweep: Timer | null = null;
  #unsubscribe: (() => void) | null = null;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#background = new TaskSet(options.onFailure);
    this.#statuses = new StatusWriter(options.store, options.clock, options.onFailure);
    const { store, clock, log } = options;
    this.#attendance = new Attendance({
      ...{ store, clock, log, lookPeriodMs: SWEEP_PERIOD_MS },
      isConnected: (nodeId) => this.#sessions.has(nodeId),
      wordsOf: (nodeId) => this.#sessions.get(nodeId)?.words ?? null,
    });
  }

  async start(): Promise<void> {
    const { clock, managers } = this.#options;
    this.#attendance.choosePeriod();
    await this.#attendance.expectAll();
    this.#resync();
    this.#background.run((signal) => this.#follow(signal));
    this.#sweep = clock.setPeriodic(SWEEP_PERIOD_MS, () =>
      this.#background.run((signal) => this.#checkLiveness(signal)),
    );
    this.#unsubscribe = managers.onChange(() => this.#announce(this.#greeted()));
  }

  /** Idempotent. Ends every session. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#sweep?.cancel();
    this.#unsubscribe?.();
    this.#watch?.close();
    for (const session of this.#sessions.values()) session.end(notLeader());
    this.#sessions.clear();
    await this.#statuses.stop();
    await this.#background.stop();
  }

  queues(): QueueState[] {
    const limit = GATHERED_MAX + FEED_COMMITS_MAX;
    return [
      { name: 'commits to be told to agents', length: this.#pending.length, limit },
      ...this.#statuses.queues(),
      ...this.#drains.queues(),
    ];
  }

  /** Serves one agent's stream until it ends. `nodeId` is the certificate's. */
  async serve(nodeId: NodeId, peerAddress: string, stream: AgentStream): Promise<void> {
    const hello = await stream.receive();
    if (hello === null) return;
    if (hello.kind !== 'hello') {
      throw new SkepError('invalid-argument', `agent session: first message is '${hello.kind}'`);
    }
    if (this.#stopped) throw notLeader();
    this.#sessions
      .get(nodeId)
      ?.end(new SkepError('unavailable', 'agent session: replaced by a newer one'));
    const session = new AgentSession(nodeId, stream);
    // Before it is registered, so that nobody finds it down from now on.
    this.#sessions.set(nodeId, session);
    this.#attendance.connect(nodeId);
    try {
      for (let left = hello.reports; left > 0; left--) {
        if (!(await this.#takeReport(session))) return;
      }
      await this.#register(session, peerAddress, hello.description);
      this.#greet(session);
      for (;;) {
        const message = await session.receive();
        if (message === null) return;
        if (this.#sessions.get(nodeId) === session) this.#attendance.heard(nodeId);
        await this.#handle(session, peerAddress, message);
      }
    } finally {
      const { returns } = session;
      session.end(null);
      if (this.#sessions.get(nodeId) === session) {
        this.#sessions.delete(nodeId);
        this.#attendance.miss(nodeId, returns ? 'returning' : 'broken');
        // One that comes back soon still sends in the meantime, and will confirm.
        if (!returns) this.#tellDrained(this.#drains.gone(nodeId));
      }
    }
  }

  /** One of those that come before the registration; false when the agent is gone. */
  async #takeReport(session: AgentSession): Promise<boolean> {
    const message = await session.receive();
    if (message === null) return false;
    if (message.kind !== 'statuses') {
      throw new SkepError(
        'invalid-argument',
        `agent session: '${message.kind}' in the place of a report`,
      );
    }
    await this.#statuses.write(session.nodeId, message.updates);
    session.stored(message.sequence);
    return true;
  }

  async #handle(session: AgentSession, peerAddress: string, message: AgentMessage): Promise<void> {
    switch (message.kind) {
      case 'heartbeat':
        session.send({ kind: 'heartbeat-heard', storedSequence: session.takeStored() });
        return;
      case 'pause':
        session.returns = true;
        return;
      case 'applied':
        this.#applied(session, message.revision);
        return;
      case 'resync':
        this.#resyncSession(session);
        return;
      case 'hello':
      case 'description':
        return this.#register(session, peerAddress, message.description);
      case 'statuses': {
        const { sequence, updates, appliedRevision } = message;
        if (appliedRevision > 0) this.#applied(session, appliedRevision);
        // Not awaited: the next batch may come while this one is being committed.
        this.#background.run(async () => {
          try {
            await this.#statuses.write(session.nodeId, updates);
            session.stored(sequence);
          } catch (err) {
            // Not stored, so not acknowledged: the agent sends them again on its next session.
            session.end(err);
          }
        });
      }
    }
  }

  /** An agent whose set differs however often it gets it must not keep the leader busy. */
  #resyncSession(session: AgentSession): void {
    if (session.awaitsResync) return;
    const { clock } = this.#options;
    const leftMs = session.resyncedAtMs + RESYNC_PAUSE_MS - clock.monotonicMs();
    if (leftMs <= 0) {
      this.#sendAsked(session);
      return;
    }
    session.awaitsResync = true;
    this.#background.run(async (signal) => {
      await clock.sleep(leftMs, signal);
      session.awaitsResync = false;
      if (this.#sessions.get(session.nodeId) === session) this.#sendAsked(session);
    });
  }

  #sendAsked(session: AgentSession): void {
    const { clock, log } = this.#options;
    log.warn({ nodeId: session.nodeId }, 'assignments of an agent differ');
    session.resyncedAtMs = clock.monotonicMs();
    this.#catchUp();
    this.#sendWhole(session);
  }

  #applied(session: AgentSession, revision: number): void {
    if (!session.applied(revision)) return;
    this.#tellDrained(this.#drains.applied(session.nodeId, revision));
  }

  #tellDrained(drained: Drained): void {
    for (const [nodeId, taskIds] of drained) {
      this.#sessions.get(nodeId)?.send({ kind: 'drained', taskIds });
    }
  }

  /** The first session message and the whole set. */
  #greet(session: AgentSession): void {
    this.#catchUp();
    session.greeted = true;
    this.#announce([session]);
    this.#sendWhole(session);
  }

  #sendWhole(session: AgentSession): void {
    const wasBehind = session.behind;
    this.#options.store.view((view) => {
      if (this.#tables) session.sendComplete(view, this.#tables);
    });
    if (session.behind && !wasBehind) this.#awaitSlow(session);
  }

  /** An agent that cannot keep up with the steps is spared them: it gets the whole set when it has taken those. */
  #awaitSlow(session: AgentSession): void {
    this.#background.run(async () => {
      const missed = await session.caughtUp().catch(() => false); // the session ended
      if (!missed || this.#stopped) return;
      this.#catchUp();
      this.#sendWhole(session);
    });
  }

  /** The session message, with what it says now. A node that is gone is told so otherwise. */
  #announce(sessions: Iterable<AgentSession>): void {
    const managers = this.#options.managers.managers();
    this.#options.store.view((view) => {
      const rootCaPem = view.list('cluster')[0]?.rootCa.certPem ?? '';
      for (const session of sessions) {
        const node = view.get('node', session.nodeId);
        if (!node) continue;
        const heartbeatPeriodMs = this.#attendance.periodMs;
        session.send(sessionMessage(node, { heartbeatPeriodMs, managers, rootCaPem }));
        this.#attendance.promise(session.nodeId);
      }
    });
  }

  #greeted(): AgentSession[] {
    return [...this.#sessions.values()].filter(({ greeted }) => greeted);
  }

  async #register(
    session: AgentSession,
    peerAddress: string,
    description: NodeDescription,
  ): Promise<void> {
    checkSize('agent session: description of the node', description);
    // Packets and calls of other nodes go there: one of another form is refused here, where its agent hears of it.
    if (description.address !== '') splitHostPort(description.address);
    if (description.dataPathAddress !== '') requireIp(description.dataPathAddress);
    const words = { peerAddress, description };
    await this.#attendance.register(session.nodeId, words);
    session.words = words;
  }

  /** Opens the feed, then builds the tables from the view: no commit is lost between the two. */
  #resync(): void {
    const { store } = this.#options;
    this.#watch?.close();
    this.#watch = store.watch();
    this.#pending = [];
    this.#tables = store.view((view) => new NetworkTables(view));
    this.#attendance.doubt(this.#sessions.keys());
    for (const session of this.#greeted()) this.#sendWhole(session);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    let tookMs = 0;
    while (this.#watch && !this.#stopped) {
      const watch = this.#watch;
      try {
        const commits = await watch.next(signal);
        if (watch !== this.#watch) continue; // started over in the meantime
        if (!commits) return;
        this.#pending.push(...commits);
        const { clock } = this.#options;
        const isOpen = () => watch === this.#watch && this.#pending.length < GATHERED_MAX;
        const take = () => (isOpen() ? this.#take() : []);
        await gatherStep({ first: commits, take, tookMs, clock, signal });
        const startMs = clock.monotonicMs();
        this.#catchUp();
        tookMs = clock.monotonicMs() - startMs;
      } catch (err) {
        if (!hasCode(err, 'resource-exhausted')) throw err;
        if (watch === this.#watch) this.#startOver(err);
      }
    }
  }

  /** What was committed since the last look, now pending. Throws `resource-exhausted` when that was too long ago. */
  #take(): readonly Commit[] {
    const commits = this.#watch?.poll() ?? [];
    this.#pending.push(...commits);
    return commits;
  }

  /**
   * Brings tables and sessions to the store's revision of this very moment. A view must never be
   * newer than the changes that are applied with it, nor a new session's set newer than the tables.
   */
  #catchUp(): void {
    if (!this.#watch) return;
    try {
      this.#take();
      const commits = this.#pending;
      this.#pending = [];
      if (commits.length > 0) this.#step(commits);
    } catch (err) {
      if (!hasCode(err, 'resource-exhausted')) throw err;
      this.#startOver(err);
    }
  }

  #startOver(err: unknown): void {
    this.#options.log.warn({ err }, 'dispatcher fell behind the change feed');
    this.#resync();
  }

  #step(commits: readonly Commit[]): void {
    const tables = this.#tables;
    if (!tables) return;
    const changes = commits.flatMap((commit) => commit.changes);
    const { ingressId } = tables;
    this.#attendance.observe(changes);
    this.#options.store.view((view) => {
      const tableChanges = tables.apply(view, changes);
      const ofNodes = taskChangesByNode(changes);
      // Most commits concern a few nodes: the others are asked only when something that many hold changed.
      const isShared = tableChanges.byNetwork.size + tableChanges.ports.length > 0;
      const nodeIds =
        isShared || tables.ingressId !== ingressId ? this.#sessions.keys() : ofNodes.keys();
      const told: NodeId[] = [];
      for (const nodeId of nodeIds) {
        const session = this.#sessions.get(nodeId);
        if (!session?.greeted) continue;
        const wasBehind = session.behind;
        const ofNode = ofNodes.get(nodeId) ?? [];
        if (session.sendStep(view, tables, ofNode, tableChanges)) told.push(nodeId);
        if (session.behind && !wasBehind) this.#awaitSlow(session);
      }
      const nowMs = this.#options.clock.monotonicMs();
      this.#tellDrained(this.#drains.begin(view.revision, endingTasks(changes), told, nowMs));
      for (const change of changes) {
        if (change.kind === 'node' && change.action === 'remove')
          this.#forgetNode(change.object.id);
      }
    });
    this.#announce(this.#concerned(changes));
  }

  /** Sessions whose message says something else after these changes. */
  #concerned(changes: readonly StoreChange[]): Iterable<AgentSession> {
    if (changes.some(({ kind, action }) => kind === 'cluster' && action === 'update')) {
      this.#attendance.choosePeriod();
      return this.#greeted();
    }
    const concerned = new Set<AgentSession>();
    for (const change of changes) {
      if (change.kind !== 'node' || change.action !== 'update') continue;
      const session = this.#sessions.get(change.object.id);
      const { object, previous } = change;
      const isSame =
        sameJson(object.spec, previous.spec) &&
        object.renewCertificate === previous.renewCertificate;
      if (session?.greeted && !isSame) concerned.add(session);
    }
    return concerned;
  }

  #forgetNode(nodeId: NodeId): void {
    this.#attendance.forget(nodeId);
    this.#tellDrained(this.#drains.gone(nodeId));
    this.#sessions
      .get(nodeId)
      ?.end(
        new SkepError(
          'permission-denied',
          `agent session: node ${nodeId} was removed from the swarm`,
        ),
      );
  }

  async #checkLiveness(signal: AbortSignal): Promise<void> {
    const silent = this.#attendance.silent();
    if (this.#attendance.choosePeriod()) this.#announce(this.#greeted());
    for (const nodeId of silent) {
      const reason = new SkepError('deadline-exceeded', 'agent session: heartbeat failure');
      this.#sessions.get(nodeId)?.end(reason);
      this.#sessions.delete(nodeId);
      this.#tellDrained(this.#drains.gone(nodeId));
    }
    await this.#attendance.check(silent, signal);
  }
}

/** Tasks that are no longer wanted to run and have not ended yet, by node. */
function endingTasks(changes: readonly StoreChange[]): Drained {
  const byNode = new Map<NodeId, TaskId[]>();
  for (const change of changes) {
    if (change.kind !== 'task' || change.action !== 'update') continue;
    const { id, nodeId, networks, desiredState, status } = change.object;
    const ends = isWantedToRun(change.previous.desiredState) && !isWantedToRun(desiredState);
    if (!ends || nodeId === null || networks.length === 0 || isTerminal(status.state)) continue;
    byNode.set(nodeId, [...(byNode.get(nodeId) ?? []), id]);
  }
  return byNode;
}

const isWantedToRun = (desired: DesiredState): boolean =>
  desired !== 'shutdown' && desired !== 'remove';

function notLeader(): SkepError {
  return new SkepError('not-leader', 'agent session: this manager is no longer the leader');
}

function requireIp(address: string): void {
  if (isIP(address) !== 0) return;
  throw new SkepError('invalid-argument', `data path address ${address}: it is no IP address`);
}
