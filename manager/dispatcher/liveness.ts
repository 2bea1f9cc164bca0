/**
 * Which nodes are lost, and when: a session that is silent for too long, a node without a session that does
 * not come back in time. Keeps times only; knows neither streams nor the store.
 */
import type { NodeId } from '../../common/model/ids.ts';

/** Missed periods until a silent node is lost: Swarm's number. */
const MISSED_PERIODS = 3;

/** Why a node has no session, and how long it then has to come back: so long, but at least so many periods. */
const GRACE = {
  /**
   * The connection broke without a word. The daemon died, or something between cut the connection; an
   * agent that lives tries again within 100 ms, and soon once more.
   */
  broken: { graceMs: 2_000, periods: 0 },
  /**
   * The agent said that it would be back (a restart or an upgrade of the daemon), or the leader itself ended
   * the session. As long as Swarm's grace.
   */
  returning: { graceMs: 15_000, periods: MISSED_PERIODS },
  /** This leader is new and has not heard of it: agents notice within some 5 s that the old one is gone. */
  unheard: { graceMs: 20_000, periods: 2 * MISSED_PERIODS },
} as const;

export type Absence = keyof typeof GRACE;

/**
 * When many are gone at once, it is the leader that takes its time to take them back: a handshake, a
 * registration and a whole set are 6 to 8 ms of CPU each.
 */
const RETURN_MS_PER_NODE = 12;

interface Absent {
  readonly sinceMs: number;
  readonly graceMs: number;
}

/**
 * Times are those of a clock that stands still while this process does: see `listen`.
 * INVARIANT: a node is connected, absent or not known here, one of the three.
 */
export class Liveness {
  readonly #connected = new Map<NodeId, { heardMs: number; periodMs: number }>();
  readonly #absent = new Map<NodeId, Absent>();
  /** most nodes that were absent at one time since nobody was */
  #absentMost = 0;
  #deafMs = 0;
  #lookedMs: number | null = null;
  readonly #monotonicMs: () => number;
  readonly #lookPeriodMs: number;

  /** @param lookPeriodMs how often the owner calls `listen` */
  constructor(monotonicMs: () => number, lookPeriodMs: number) {
    this.#monotonicMs = monotonicMs;
    this.#lookPeriodMs = lookPeriodMs;
  }

  /** Connected and absent nodes. */
  get size(): number {
    return this.#connected.size + this.#absent.size;
  }

  /** It has a session. Silence is held against it from the first `promise` on. */
  connect(nodeId: NodeId): void {
    this.#present(nodeId);
    this.#connected.set(nodeId, { heardMs: this.#nowMs(), periodMs: Number.POSITIVE_INFINITY });
  }

  heard(nodeId: NodeId): void {
    const session = this.#connected.get(nodeId);
    if (session) session.heardMs = this.#nowMs();
  }

  /** The node was told to beat with this period from now on: what it was silent before is not judged by a shorter one. */
  promise(nodeId: NodeId, periodMs: number): void {
    const session = this.#connected.get(nodeId);
    if (!session) return;
    if (periodMs < session.periodMs) session.heardMs = this.#nowMs();
    session.periodMs = periodMs;
  }

  miss(nodeId: NodeId, absence: Absence, periodMs: number): void {
    this.#connected.delete(nodeId);
    const { graceMs, periods } = GRACE[absence];
    this.#absent.set(nodeId, {
      sinceMs: this.#nowMs(),
      graceMs: Math.max(graceMs, periods * periodMs),
    });
    this.#absentMost = Math.max(this.#absentMost, this.#absent.size);
  }

  forget(nodeId: NodeId): void {
    this.#connected.delete(nodeId);
    this.#present(nodeId);
  }

  /**
   * To be called before `silent` and `overdue`, periodically. A process that was stopped, or busy for long, has
   * not listened meanwhile: that time is nobody's silence.
   */
  listen(): void {
    const nowMs = this.#monotonicMs();
    if (this.#lookedMs !== null) {
      this.#deafMs += Math.max(0, nowMs - this.#lookedMs - 2 * this.#lookPeriodMs);
    }
    this.#lookedMs = nowMs;
  }

  /** Connected nodes that missed MISSED_PERIODS. */
  silent(): NodeId[] {
    const nowMs = this.#nowMs();
    const silent: NodeId[] = [];
    for (const [nodeId, { heardMs, periodMs }] of this.#connected) {
      if (nowMs - heardMs >= MISSED_PERIODS * periodMs) silent.push(nodeId);
    }
    return silent;
  }

  /** Absent nodes whose grace is over. */
  overdue(): NodeId[] {
    const nowMs = this.#nowMs();
    const queueMs = (this.#absentMost - 1) * RETURN_MS_PER_NODE;
    const overdue: NodeId[] = [];
    for (const [nodeId, { sinceMs, graceMs }] of this.#absent) {
      if (nowMs - sinceMs >= graceMs + queueMs) overdue.push(nodeId);
    }
    return overdue;
  }

  #present(nodeId: NodeId): void {
    this.#absent.delete(nodeId);
    if (this.#absent.size === 0) this.#absentMost = 0;
  }

  #nowMs(): number {
    return this.#monotonicMs() - this.#deafMs;
  }
}
