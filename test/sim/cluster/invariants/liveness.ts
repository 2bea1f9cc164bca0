/** A node that speaks is not called down; one that does not is, in time. */
import type { NodeId } from '../../../../common/model/ids.ts';
import type { AgentMessage } from '../../../../common/model/session.ts';
import type { Commit } from '../../../../manager/store/types.ts';
import { expect } from '../../checker.ts';
import { Calm } from '../calm.ts';
import type { ClusterChecker } from '../checker.ts';
import type { Host } from '../host.ts';
import type { ClusterWorld } from '../world.ts';

/** Who was heard within so many periods is up, */
const SPEAKS_PERIODS = 1.5;
/** unless that is so fresh that the word of its being down was under way already. */
const FRESH_PERIODS = 0.5;
/**
 * How long a node may be silent and not be called down, by what it said last (docs/decisions/0060): missed
 * periods, or ms. One that works has three periods, and more when its connection breaks just before.
 */
const WORKS = { periods: 3, graceMs: 2_000 };
/** It said that it comes back, or had nothing in force yet. */
const RETURNS = { periods: 6, graceMs: 15_000 };
/** This leader has not heard of it. */
const UNHEARD = { periods: 6, graceMs: 20_000 };
/** Commits, and a look now and then. */
const SLACK_MS = 3_000;

export class LivenessIsTrue implements ClusterChecker {
  readonly number = 9;
  readonly name = 'who speaks is up, who is silent is down';
  readonly #world: ClusterWorld;
  /** When the present leader heard of a node. */
  readonly #heardMs = new Map<NodeId, number[]>();
  /** Of those heard of: has a set in force, and did not say that it ends its session. */
  readonly #works = new Set<NodeId>();
  readonly #calm: Calm;

  constructor(world: ClusterWorld) {
    this.#world = world;
    this.#calm = new Calm(world);
  }

  heard({ nodeId }: Host, { kind }: AgentMessage, by: Host): void {
    this.#followLeader();
    if (by !== this.#calm.leader) return;
    if (kind === 'applied') this.#works.add(nodeId);
    else if (kind === 'hello' || kind === 'pause') this.#works.delete(nodeId);
    const nowMs = this.#world.clock.nowMs;
    const recent = (this.#heardMs.get(nodeId) ?? []).filter((ms) => nowMs - ms < this.#periods(2));
    this.#heardMs.set(nodeId, [...recent, nowMs]);
  }

  committed({ changes }: Commit): void {
    const nowMs = this.#world.clock.nowMs;
    this.#followLeader();
    for (const change of changes) {
      if (change.kind !== 'node' || change.action !== 'update') continue;
      const { object, previous } = change;
      if (object.status.state !== 'down' || previous.status.state !== 'ready') continue;
      if (nowMs - this.#calm.sinceMs < this.#periods(SPEAKS_PERIODS)) continue;
      const word = (this.#heardMs.get(object.id) ?? []).find((ms) => {
        return (
          nowMs - ms < this.#periods(SPEAKS_PERIODS) && nowMs - ms > this.#periods(FRESH_PERIODS)
        );
      });
      expect(word === undefined, () => {
        return `node ${object.id} is called down ${(nowMs - word!).toFixed(0)} ms after it was heard`;
      });
    }
  }

  second(): void {
    const { clock, hosts } = this.#world;
    this.#followLeader();
    for (const { nodeId, id } of hosts.values()) {
      const limitMs = this.#quietLimitMs(nodeId);
      const lastMs = this.#heardMs.get(nodeId)?.at(-1) ?? 0;
      if (clock.nowMs - Math.max(lastMs, this.#calm.sinceMs) < limitMs) continue;
      const state = this.#world.view((view) => view.get('node', nodeId))?.status.state ?? 'down';
      expect(
        state === 'down',
        () => `machine ${id} is silent for ${limitMs} ms, and still ${state}`,
      );
    }
  }

  #quietLimitMs(nodeId: NodeId): number {
    if (!this.#heardMs.has(nodeId)) {
      return Math.max(this.#periods(UNHEARD.periods), UNHEARD.graceMs) + SLACK_MS;
    }
    if (this.#works.has(nodeId)) return this.#periods(WORKS.periods) + WORKS.graceMs + SLACK_MS;
    return Math.max(this.#periods(RETURNS.periods), RETURNS.graceMs) + SLACK_MS;
  }

  #periods(count: number): number {
    return count * this.#world.plan.heartbeatMs;
  }

  /** Another leader has heard of nobody. */
  #followLeader(): void {
    if (!this.#calm.look()) return;
    this.#heardMs.clear();
    this.#works.clear();
  }
}
