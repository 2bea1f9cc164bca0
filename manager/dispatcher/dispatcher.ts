/**
 * The leader's side of the conversation with agents: one session per node, its liveness, its
 * assignment set at each revision. Writes node state and task status; decides nothing about tasks.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../common/model/cluster.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { AgentMessage, ManagerPeer } from '../../common/model/session.ts';
import { type DesiredState, isTerminal } from '../../common/model/task-state.ts';
import type { Commit, Store, StoreChange, Watch } from '../store/types.ts';
import { AgentSession, type AgentStream, sessionMessage } from './agent-session.ts';
import { heartbeatPeriodMs } from './heartbeat-period.ts';
import { type Absence, Liveness } from './liveness.ts';
import { NetworkTables } from './network-tables.ts';
import { taskChangesByNode } from './node-assignments.ts';
import { NodeStates, sameJson } from './node-states.ts';
import { type Drained, PendingDrains } from './pending-drains.ts';
import { isTransient, StatusWriter } from './status-writer.ts';
import { stepDelayMs } from './step-delay.ts';

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

/** Tasks of a node that was down for this long are given up. */
const ORPHAN_DELAY_MS = 24 * 3600 * 1000;
/** How often liveness is looked at; a part of the shortest grace. */
const SWEEP_PERIOD_MS = 200;
const NANOS_PER_MS = 1e6;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #background: TaskSet;
  readonly #statuses: StatusWriter;
  readonly #nodes: NodeStates;
  readonly #sessions = new Map<NodeId, AgentSession>();
  readonly #liveness: Liveness;
  readonly #drains = new PendingDrains();
  /** by the monotonic clock */
  readonly #downSince = new Map<NodeId, number>();
  /** what agents were told last */
  #periodMs = 0;
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
    const { store, clock } = options;
    const isConnected = (nodeId: NodeId): boolean => this.#sessions.has(nodeId);
    this.#nodes = new NodeStates({ store, clock, isConnected });
    this.#liveness = new Liveness(() => clock.monotonicMs(), SWEEP_PERIOD_MS);
  }

  async start(): Promise<void> {
    const { clock, managers } = this.#options;
    this.#choosePeriod();
    await this.#expectAll();
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
    this.#liveness.connect(nodeId);
    this.#downSince.delete(nodeId);
    try {
      await this.#register(session, peerAddress, hello.description);
      this.#greet(session);
      for (;;) {
        const message = await session.receive();
        if (message === null) return;
        if (this.#sessions.get(nodeId) === session) this.#liveness.heard(nodeId);
        await this.#handle(session, peerAddress, message);
      }
    } finally {
      const { returns } = session;
      session.end(null);
      if (this.#sessions.get(nodeId) === session) {
        this.#sessions.delete(nodeId);
        this.#expect(nodeId, returns ? 'returning' : 'broken');
      }
    }
  }

  /** A node without a session; one that was removed is no longer waited for. */
  #expect(nodeId: NodeId, absence: Absence): void {
    const exists = this.#options.store.view((view) => view.get('node', nodeId) !== undefined);
    if (exists) this.#liveness.miss(nodeId, absence, this.#periodMs);
    else this.#liveness.forget(nodeId);
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
        const heartbeatPeriodMs = this.#periodMs;
        session.send(sessionMessage(node, { heartbeatPeriodMs, managers, rootCaPem }));
        this.#liveness.promise(session.nodeId, heartbeatPeriodMs);
      }
    });
  }

  #greeted(): AgentSession[] {
    return [...this.#sessions.values()].filter(({ greeted }) => greeted);
  }

  /** True when it is another one now, which is to be announced. */
  #choosePeriod(): boolean {
    const chosenMs = this.#options.store.view((view) => {
      const nanos = view.list('cluster')[0]?.spec.dispatcherHeartbeatNanos ?? 0;
      return (nanos > 0 ? nanos : DEFAULT_CLUSTER_SPEC.dispatcherHeartbeatNanos) / NANOS_PER_MS;
    });
    const before = this.#periodMs;
    this.#periodMs = heartbeatPeriodMs(chosenMs, this.#liveness.size, before);
    return this.#periodMs !== before;
  }

  async #register(
    session: AgentSession,
    peerAddress: string,
    description: NodeDescription,
  ): Promise<void> {
    const { nodeId } = session;
    await this.#nodes.register(nodeId, { peerAddress, description });
    session.words = { peerAddress, description };
    this.#options.log.info({ nodeId, address: description.address }, 'node registered');
  }

  /** A new leader knows nothing about who is alive. */
  async #expectAll(): Promise<void> {
    const { store, clock } = this.#options;
    const nodes = store.view((view) => view.list('node'));
    const nowMs = clock.monotonicMs();
    for (const { id, status } of nodes) {
      if (this.#sessions.has(id)) continue;
      if (status.state === 'down') this.#downSince.set(id, nowMs);
      else this.#liveness.miss(id, 'unheard', this.#periodMs);
    }
    const ready = nodes.filter(({ status }) => status.state === 'ready');
    await this.#nodes.forgetLiveness(ready.map(({ id }) => id));
  }

  /** Opens the feed, then builds the tables from the view: no commit is lost between the two. */
  #resync(): void {
    const { store } = this.#options;
    this.#watch?.close();
    this.#watch = store.watch();
    this.#pending = [];
    this.#tables = store.view((view) => new NetworkTables(view));
    this.#nodes.doubt(this.#sessions.keys());
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
        await clock.sleep(stepDelayMs(tookMs), signal);
        const startMs = clock.monotonicMs();
        this.#catchUp();
        tookMs = clock.monotonicMs() - startMs;
      } catch (err) {
        if (!hasCode(err, 'resource-exhausted')) throw err;
        if (watch === this.#watch) this.#startOver(err);
      }
    }
  }

  /**
   * Brings tables and sessions to the store's revision of this very moment. A view must never be
   * newer than the changes that are applied with it, nor a new session's set newer than the tables.
   */
  #catchUp(): void {
    if (!this.#watch) return;
    try {
      const commits = [...this.#pending, ...this.#watch.poll()];
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
    this.#nodes.observe(changes);
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
      this.#choosePeriod();
      return this.#greeted();
    }
    const concerned = new Set<AgentSession>();
    for (const change of changes) {
      if (change.kind !== 'node' || change.action !== 'update') continue;
      const session = this.#sessions.get(change.object.id);
      if (!session?.greeted || sameJson(change.object.spec, change.previous.spec)) continue;
      concerned.add(session);
    }
    return concerned;
  }

  #forgetNode(nodeId: NodeId): void {
    this.#liveness.forget(nodeId);
    this.#downSince.delete(nodeId);
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
    this.#liveness.listen();
    if (this.#choosePeriod()) this.#announce(this.#greeted());
    const down = this.#liveness.overdue();
    for (const nodeId of this.#liveness.silent()) {
      const silent = new SkepError('deadline-exceeded', 'agent session: heartbeat failure');
      this.#sessions.get(nodeId)?.end(silent);
      this.#sessions.delete(nodeId);
      down.push(nodeId);
    }
    const nowMs = this.#options.clock.monotonicMs();
    for (const nodeId of down) {
      this.#liveness.forget(nodeId);
      this.#downSince.set(nodeId, nowMs);
    }
    const lost = [...this.#downSince].filter(([, sinceMs]) => nowMs - sinceMs >= ORPHAN_DELAY_MS);
    for (const [nodeId] of lost) this.#downSince.delete(nodeId);
    if (down.length > 0) await this.#markDown(down, signal);
    for (const [nodeId, sinceMs] of lost) await this.#orphanTasks(nodeId, sinceMs, signal);
    await this.#nodes.reassert((nodeId) => this.#sessions.get(nodeId)?.words ?? null);
  }

  async #markDown(nodeIds: readonly NodeId[], signal: AbortSignal): Promise<void> {
    this.#options.log.warn({ nodeIds }, 'nodes down');
    try {
      await this.#nodes.markDown(nodeIds, signal);
    } catch (err) {
      if (!isTransient(err)) throw err;
      for (const nodeId of nodeIds) {
        if (this.#sessions.has(nodeId)) continue;
        this.#downSince.delete(nodeId);
        this.#expect(nodeId, 'broken');
      }
    }
  }

  async #orphanTasks(nodeId: NodeId, sinceMs: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#nodes.orphanTasks(nodeId, signal);
    } catch (err) {
      if (!isTransient(err)) throw err;
      if (!this.#sessions.has(nodeId)) this.#downSince.set(nodeId, sinceMs);
    }
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
