/**
 * Who is there: when a node is lost, what is written of it then, and that one which is connected is called so.
 * Knows times and the store, no streams.
 */
import type { Clock } from '../../common/base/clock.ts';
import type { Logger } from '../../common/base/log.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../common/model/cluster.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { UNDERLAY_MTU_MIN } from '../../common/model/network.ts';
import type { Store, StoreChange } from '../store/types.ts';
import { heartbeatPeriodMs } from './heartbeat-period.ts';
import { type Absence, Liveness } from './liveness.ts';
import { NodeStates } from './node-states.ts';
import type { NodeWords } from './registrations.ts';
import { isTransient } from './status-writer.ts';

/** Tasks of a node that was down for this long are given up. */
const ORPHAN_DELAY_MS = 24 * 3600 * 1000;
const NANOS_PER_MS = 1e6;

export interface AttendanceOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly isConnected: (nodeId: NodeId) => boolean;
  /** What a connected node said of itself last; null = it is not connected, or has not registered. */
  readonly wordsOf: (nodeId: NodeId) => NodeWords | null;
  /** how often `silent` and `check` are called */
  readonly lookPeriodMs: number;
}

export class Attendance {
  readonly #options: AttendanceOptions;
  readonly #nodes: NodeStates;
  readonly #liveness: Liveness;
  /** by the monotonic clock */
  readonly #downSince = new Map<NodeId, number>();
  #periodMs = 0;

  constructor(options: AttendanceOptions) {
    this.#options = options;
    const { clock, lookPeriodMs } = options;
    this.#nodes = new NodeStates(options);
    this.#liveness = new Liveness(() => clock.monotonicMs(), lookPeriodMs);
  }

  /** Of heartbeats, as agents are to be told. */
  get periodMs(): number {
    return this.#periodMs;
  }

  /** True when the period is another one now, which is to be announced. */
  choosePeriod(): boolean {
    const chosenMs = this.#options.store.view((view) => {
      const nanos = view.list('cluster')[0]?.spec.dispatcherHeartbeatNanos ?? 0;
      return (nanos > 0 ? nanos : DEFAULT_CLUSTER_SPEC.dispatcherHeartbeatNanos) / NANOS_PER_MS;
    });
    const before = this.#periodMs;
    this.#periodMs = heartbeatPeriodMs(chosenMs, this.#liveness.size, before);
    return this.#periodMs !== before;
  }

  /** A new leader knows nothing about who is alive. */
  async expectAll(): Promise<void> {
    const { store, clock, isConnected } = this.#options;
    const nodes = store.view((view) => view.list('node'));
    const nowMs = clock.monotonicMs();
    for (const { id, status } of nodes) {
      if (isConnected(id)) continue;
      if (status.state === 'down') this.#downSince.set(id, nowMs);
      else this.#liveness.miss(id, 'unheard', this.#periodMs);
    }
    const ready = nodes.filter(({ status }) => status.state === 'ready');
    await this.#nodes.forgetLiveness(ready.map(({ id }) => id));
  }

  /** It has a session. */
  connect(nodeId: NodeId): void {
    this.#liveness.connect(nodeId);
    this.#downSince.delete(nodeId);
  }

  heard(nodeId: NodeId): void {
    this.#liveness.heard(nodeId);
  }

  /** The node was told of the period. */
  promise(nodeId: NodeId): void {
    this.#liveness.promise(nodeId, this.#periodMs);
  }

  /** A node without a session; one that was removed is no longer waited for. */
  miss(nodeId: NodeId, absence: Absence): void {
    const exists = this.#options.store.view((view) => view.get('node', nodeId) !== undefined);
    if (exists) this.#liveness.miss(nodeId, absence, this.#periodMs);
    else this.#liveness.forget(nodeId);
  }

  forget(nodeId: NodeId): void {
    this.#liveness.forget(nodeId);
    this.#downSince.delete(nodeId);
  }

  /** See `NodeStates.register`. */
  async register(nodeId: NodeId, words: NodeWords): Promise<void> {
    await this.#nodes.register(nodeId, words);
    const { log } = this.#options;
    const { address, underlayMtu } = words.description;
    log.info({ nodeId, address }, 'node registered');
    if (underlayMtu > 0 && underlayMtu < UNDERLAY_MTU_MIN) {
      log.warn(
        { nodeId, underlayMtu, least: UNDERLAY_MTU_MIN },
        'MTU that the node tells of is left out: networks could not live with it',
      );
    }
  }

  /** See `NodeStates.observe`. */
  observe(changes: readonly StoreChange[]): void {
    this.#nodes.observe(changes);
  }

  /** See `NodeStates.doubt`. */
  doubt(nodeIds: Iterable<NodeId>): void {
    this.#nodes.doubt(nodeIds);
  }

  /** Connected nodes that are silent for too long: their sessions are to be ended, and they given to `check`. */
  silent(): NodeId[] {
    this.#liveness.listen();
    return this.#liveness.silent();
  }

  /** Writes what became of `silent` nodes, and of those without a session. */
  async check(silent: readonly NodeId[], signal: AbortSignal): Promise<void> {
    const down = [...this.#liveness.overdue(), ...silent];
    const nowMs = this.#options.clock.monotonicMs();
    for (const nodeId of down) {
      this.#liveness.forget(nodeId);
      this.#downSince.set(nodeId, nowMs);
    }
    const lost = [...this.#downSince].filter(([, sinceMs]) => nowMs - sinceMs >= ORPHAN_DELAY_MS);
    for (const [nodeId] of lost) this.#downSince.delete(nodeId);
    if (down.length > 0) await this.#markDown(down, signal);
    for (const [nodeId, sinceMs] of lost) await this.#orphanTasks(nodeId, sinceMs, signal);
    await this.#nodes.reassert(this.#options.wordsOf);
  }

  async #markDown(nodeIds: readonly NodeId[], signal: AbortSignal): Promise<void> {
    const { log, isConnected } = this.#options;
    log.warn({ nodeIds }, 'nodes down');
    try {
      await this.#nodes.markDown(nodeIds, signal);
    } catch (err) {
      if (!isTransient(err)) throw err;
      for (const nodeId of nodeIds) {
        if (isConnected(nodeId)) continue;
        this.#downSince.delete(nodeId);
        this.miss(nodeId, 'broken');
      }
    }
  }

  async #orphanTasks(nodeId: NodeId, sinceMs: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#nodes.orphanTasks(nodeId, signal);
    } catch (err) {
      if (!isTransient(err)) throw err;
      if (!this.#options.isConnected(nodeId)) this.#downSince.set(nodeId, sinceMs);
    }
  }
}
