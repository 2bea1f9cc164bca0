/** A node that speaks is not called down; one that does not is, in time. */
import type { NodeId } from '../../../../common/model/ids.ts';
import type { Commit } from '../../../../manager/store/types.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { Host } from '../host.ts';
import type { ClusterWorld } from '../world.ts';

/** Periods without a word until a node may be called down. */
const QUIET_PERIODS_MIN = 1.5;
/** Periods until it must be, by a leader who has to hear of everybody first. */
const QUIET_PERIODS_MAX = 6;
/** Elections, commits, and a look each half second. */
const SLACK_MS = 5_000;

export class LivenessIsTrue implements ClusterChecker {
  readonly number = 9;
  readonly name = 'who speaks is up, who is silent is down';
  readonly #world: ClusterWorld;
  readonly #heardMs = new Map<NodeId, number>();
  /** Since when nothing hinders the managers. */
  #calmSinceMs = 0;
  #leader: Host | null = null;
  #leaderLife = 0;

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  heard({ nodeId }: Host): void {
    this.#heardMs.set(nodeId, this.#world.clock.nowMs);
  }

  committed({ changes }: Commit): void {
    const { heartbeatMs } = this.#world.plan;
    for (const change of changes) {
      if (change.kind !== 'node' || change.action !== 'update') continue;
      const { object, previous } = change;
      if (object.status.state !== 'down' || previous.status.state === 'down') continue;
      const quietMs = this.#world.clock.nowMs - (this.#heardMs.get(object.id) ?? 0);
      expect(quietMs >= QUIET_PERIODS_MIN * heartbeatMs, () => {
        return `node ${object.id} is called down ${quietMs.toFixed(0)} ms after its last word`;
      });
    }
  }

  second(): void {
    const { clock, plan, hosts } = this.#world;
    this.#followLeader();
    const limitMs = QUIET_PERIODS_MAX * plan.heartbeatMs + SLACK_MS;
    if (clock.nowMs - this.#calmSinceMs < limitMs) return;
    for (const { nodeId, id } of hosts.values()) {
      if (clock.nowMs - (this.#heardMs.get(nodeId) ?? 0) < limitMs) continue;
      const state = this.#world.view((view) => view.get('node', nodeId))?.status.state ?? 'down';
      expect(
        state === 'down',
        () => `machine ${id} is silent for ${limitMs} ms, and still ${state}`,
      );
    }
  }

  /** The same leader, and a majority that it can talk with. */
  #followLeader(): void {
    const { clock, wires } = this.#world;
    const leader = this.#world.leader();
    const managers = this.#world.managers();
    const isWith = (other: Host): boolean => {
      if (!other.isUp || other.paused || leader === null) return false;
      return !wires.isCut(leader.id, other.id) && !wires.isCut(other.id, leader.id);
    };
    const isSame = leader === this.#leader && leader?.life === this.#leaderLife;
    const isCalm = isSame && managers.filter(isWith).length > managers.length / 2;
    this.#leader = leader;
    this.#leaderLife = leader?.life ?? 0;
    if (!isCalm) this.#calmSinceMs = clock.nowMs;
  }
}
