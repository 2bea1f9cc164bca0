/**
 * The leader's side of the conversation with agents: one session per node, its liveness, its
 * assignment set at each revision. Writes node state and task status; decides nothing about tasks.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { Node, NodeDescription, NodeStatus } from '../../common/model/node.ts';
import type { AgentMessage, DispatcherMessage, ManagerPeer } from '../../common/model/session.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import type { Commit, Store, Watch, WriteTx } from '../store/types.ts';
import { AgentSession, type AgentStream } from './agent-session.ts';
import { NetworkTables } from './network-tables.ts';
import { isTransient, StatusWriter } from './status-writer.ts';

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

/** Missed periods until a node counts as down: Swarm's number. */
const MISSED_PERIODS = 3;
/** The same for nodes that a new leader has not heard of yet. */
const MISSED_PERIODS_UNKNOWN = 6;
/** Tasks of a node that was down for this long are given up. */
const ORPHAN_DELAY_MS = 24 * 3600 * 1000;
/** How often liveness is looked at; a part of the smallest period. */
const SWEEP_PERIOD_MS = 500;
/** Commits wait this long for others to share their message. */
const STEP_DELAY_MS = 10;
const NANOS_PER_MS = 1e6;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #background: TaskSet;
  readonly #statuses: StatusWriter;
  readonly #sessions = new Map<NodeId, AgentSession>();
  /** nodes without a session: when they count as down, by the monotonic clock */
  readonly #deadlines = new Map<NodeId, number>();
  readonly #downSince = new Map<NodeId, number>();
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
  }

  async start(): Promise<void> {
    const { store, clock, managers } = this.#options;
    await this.#forgetLiveness();
    this.#resync();
    this.#background.run((signal) => this.#follow(signal));
    this.#sweep = clock.setPeriodic(SWEEP_PERIOD_MS, () =>
      this.#background.run((signal) => this.#checkLiveness(signal)),
    );
    this.#unsubscribe = managers.onChange(() => this.#announce(store));
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
  async serve(
    nodeId: NodeId,
    peerAddress: string,
    stream: AgentStream,
    signal: AbortSignal,
  ): Promise<void> {
    const hello = await stream.receive(signal);
    if (hello === null) return;
    if (hello.kind !== 'hello') {
      throw new SkepError('invalid-argument', `agent session: first message is '${hello.kind}'`);
    }
    if (this.#stopped) throw notLeader();
    this.#sessions
      .get(nodeId)
      ?.end(new SkepError('unavailable', 'agent session: replaced by a newer one'));
    const session = new AgentSession(nodeId, stream, this.#options.clock.monotonicMs());
    // Before it is registered, so that nobody finds it down from now on.
    this.#sessions.set(nodeId, session);
    this.#deadlines.delete(nodeId);
    this.#downSince.delete(nodeId);
    try {
      await this.#register(nodeId, peerAddress, hello.description);
      this.#greet(session);
      for (;;) {
        const message = await session.receive(signal);
        if (message === null) return;
        session.lastHeardMs = this.#options.clock.monotonicMs();
        await this.#handle(session, peerAddress, message);
      }
    } finally {
      session.end(null);
      if (this.#sessions.get(nodeId) === session) {
        this.#sessions.delete(nodeId);
        this.#expect(nodeId, session.lastHeardMs + MISSED_PERIODS * this.#periodMs());
      }
    }
  }

  /** A node without a session counts as down from `deadlineMs` on. */
  #expect(nodeId: NodeId, deadlineMs: number): void {
    const exists = this.#options.store.view((view) => view.get('node', nodeId) !== undefined);
    if (exists) this.#deadlines.set(nodeId, deadlineMs);
  }

  async #handle(session: AgentSession, peerAddress: string, message: AgentMessage): Promise<void> {
    switch (message.kind) {
      case 'heartbeat':
        return;
      case 'applied':
        session.appliedRevision = message.revision;
        return;
      case 'hello':
      case 'description':
        return this.#register(session.nodeId, peerAddress, message.description);
      case 'statuses': {
        const { sequence, updates } = message;
        // Not awaited: the next batch may come while this one is being committed.
        this.#background.run(async () => {
          try {
            await this.#statuses.write(session.nodeId, updates);
            session.send({ kind: 'statuses-stored', sequence });
          } catch (err) {
            // Not stored, so not acknowledged: the agent sends them again on its next session.
            session.end(err);
          }
        });
      }
    }
  }

  /** The first session message and the whole set. */
  #greet(session: AgentSession): void {
    const { store } = this.#options;
    this.#catchUp();
    store.view((view) => {
      const node = view.require('node', session.nodeId);
      session.greeted = true;
      session.send(this.#sessionMessage(view.list('cluster')[0]?.rootCa.certPem ?? '', node));
      if (this.#tables) session.sendComplete(view, this.#tables);
    });
  }

  #announce(store: Store): void {
    store.view((view) => {
      const rootCaPem = view.list('cluster')[0]?.rootCa.certPem ?? '';
      for (const session of this.#greeted()) {
        const node = view.get('node', session.nodeId);
        if (node) session.send(this.#sessionMessage(rootCaPem, node));
      }
    });
  }

  #greeted(): AgentSession[] {
    return [...this.#sessions.values()].filter(({ greeted }) => greeted);
  }

  #sessionMessage(rootCaPem: string, node: Node): DispatcherMessage {
    return {
      kind: 'session',
      heartbeatPeriodMs: this.#periodMs(),
      managers: this.#options.managers.managers(),
      rootCaPem,
      nodeSpec: {
        desiredRole: node.spec.desiredRole,
        availability: node.spec.availability,
        labels: node.spec.labels,
      },
      renewCertificate: false,
    };
  }

  #periodMs(): number {
    return this.#options.store.view((view) => {
      const nanos = view.list('cluster')[0]?.spec.dispatcherHeartbeatNanos ?? 0;
      return nanos > 0 ? nanos / NANOS_PER_MS : 5_000;
    });
  }

  async #register(
    nodeId: NodeId,
    peerAddress: string,
    description: NodeDescription,
  ): Promise<void> {
    const status: NodeStatus = { state: 'ready', message: '', address: peerAddress };
    await this.#options.store.update((tx) => {
      const node = tx.get('node', nodeId);
      if (!node) throw new SkepError('not-found', `agent session: node ${nodeId} not registered`);
      if (sameJson(node.description, description) && sameJson(node.status, status)) return;
      tx.update('node', { ...node, description, status });
    });
    this.#options.log.info({ nodeId, address: description.address }, 'node registered');
  }

  /** A new leader knows nothing about who is alive: ready nodes are unknown until they register. */
  async #forgetLiveness(): Promise<void> {
    const { store, clock } = this.#options;
    const nodes = store.view((view) => view.list('node'));
    const nowMs = clock.monotonicMs();
    for (const node of nodes) {
      if (this.#sessions.has(node.id)) continue;
      if (node.status.state === 'down') this.#downSince.set(node.id, nowMs);
      else this.#deadlines.set(node.id, nowMs + MISSED_PERIODS_UNKNOWN * this.#periodMs());
    }
    await store.batch(
      nodes.filter((node) => node.status.state === 'ready'),
      (tx, { id }) => {
        const node = tx.get('node', id);
        if (node?.status.state !== 'ready' || this.#sessions.has(id)) return;
        const message = 'node moved to unknown: leadership changed';
        tx.update('node', { ...node, status: { ...node.status, state: 'unknown', message } });
      },
    );
  }

  /** Opens the feed, then builds the tables from the view: no commit is lost between the two. */
  #resync(): void {
    const { store } = this.#options;
    this.#watch?.close();
    this.#watch = store.watch();
    this.#pending = [];
    store.view((view) => {
      const tables = new NetworkTables(view);
      this.#tables = tables;
      for (const session of this.#greeted()) session.sendComplete(view, tables);
    });
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (this.#watch && !this.#stopped) {
      const watch = this.#watch;
      try {
        const commits = await watch.next(signal);
        if (watch !== this.#watch) continue; // started over in the meantime
        if (!commits) return;
        this.#pending.push(...commits);
        await this.#options.clock.sleep(STEP_DELAY_MS, signal);
        this.#catchUp();
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
    this.#options.store.view((view) => {
      const tableChanges = tables.apply(view, changes);
      for (const session of this.#greeted()) {
        session.sendStep(view, tables, changes, tableChanges);
      }
      for (const change of changes) {
        if (change.kind === 'node' && change.action === 'remove')
          this.#forgetNode(change.object.id);
      }
    });
    if (changes.some(concernsSessions)) this.#announce(this.#options.store);
  }

  #forgetNode(nodeId: NodeId): void {
    this.#deadlines.delete(nodeId);
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
    const nowMs = this.#options.clock.monotonicMs();
    const graceMs = MISSED_PERIODS * this.#periodMs();
    for (const session of this.#sessions.values()) {
      if (nowMs - session.lastHeardMs < graceMs) continue;
      session.end(new SkepError('deadline-exceeded', 'agent session: heartbeat failure'));
      this.#sessions.delete(session.nodeId);
      this.#expect(session.nodeId, nowMs);
    }
    const down = [...this.#deadlines].filter(([, deadlineMs]) => nowMs >= deadlineMs);
    for (const [nodeId] of down) {
      this.#deadlines.delete(nodeId);
      this.#downSince.set(nodeId, nowMs);
    }
    const lost = [...this.#downSince].filter(([, sinceMs]) => nowMs - sinceMs >= ORPHAN_DELAY_MS);
    for (const [nodeId] of lost) this.#downSince.delete(nodeId);
    if (down.length > 0)
      await this.#markDown(
        down.map(([nodeId]) => nodeId),
        signal,
      );
    for (const [nodeId, sinceMs] of lost) await this.#orphanTasks(nodeId, sinceMs, signal);
  }

  async #markDown(nodeIds: readonly NodeId[], signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#options;
    log.warn({ nodeIds }, 'nodes down');
    try {
      await store.batch(
        nodeIds,
        (tx, nodeId) => {
          const node = tx.get('node', nodeId);
          if (!node || node.status.state === 'down' || this.#sessions.has(nodeId)) return;
          const message = 'heartbeat failure';
          tx.update('node', { ...node, status: { ...node.status, state: 'down', message } });
        },
        signal,
      );
    } catch (err) {
      if (!isTransient(err)) throw err;
      for (const nodeId of nodeIds) {
        if (this.#sessions.has(nodeId)) continue;
        this.#downSince.delete(nodeId);
        this.#expect(nodeId, clock.monotonicMs() + SWEEP_PERIOD_MS);
      }
    }
  }

  async #orphanTasks(nodeId: NodeId, sinceMs: number, signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const tasks = store.view((view) => view.tasksByNode(nodeId));
    try {
      await store.batch(tasks, (tx, { id }) => this.#orphanTask(tx, nodeId, id), signal);
    } catch (err) {
      if (!isTransient(err)) throw err;
      if (!this.#sessions.has(nodeId)) this.#downSince.set(nodeId, sinceMs);
    }
  }

  #orphanTask(tx: WriteTx, nodeId: NodeId, id: TaskId): void {
    const task = tx.get('task', id);
    if (!task || this.#sessions.has(nodeId)) return;
    if (isBefore(task.status.state, 'assigned') || isTerminal(task.status.state)) return;
    const status = {
      ...task.status,
      state: 'orphaned' as const,
      timestampMs: this.#options.clock.wallMs(),
      message: 'node was down for 24 hours',
    };
    tx.update('task', { ...task, status });
  }
}

function notLeader(): SkepError {
  return new SkepError('not-leader', 'agent session: this manager is no longer the leader');
}

/** Roles, labels, availability and the trust root are part of the session message. */
function concernsSessions(change: Commit['changes'][number]): boolean {
  if (change.action !== 'update') return false;
  if (change.kind === 'cluster') return true;
  return change.kind === 'node' && !sameJson(change.object.spec, change.previous.spec);
}

function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
