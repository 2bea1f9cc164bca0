/**
 * Whether the cluster serves while it can: some majority is up and whole, whatever happens around it.
 * Looks at what machines and links are, never at what nodes believe. Writes on its own when clients
 * get nothing done, so that nobody can say that nobody asked.
 */
import { OutageWatch, type Reach } from '../support/availability.ts';
import { WORLD } from './clock.ts';
import { ELECTION_MS, type Machine } from './machine.ts';
import type { World } from './world.ts';

const AVAILABILITY = 18;
const NAME = 'a whole majority serves';
const LOOK_EVERY_MS = 100;
/** Nothing was written for so long: it is tried. */
const TRY_AFTER_MS = ELECTION_MS / 2;
/**
 * Two leaders lost one after the other, each with an election timeout until it is noticed, up to another one
 * until somebody campaigns, and a split vote.
 */
const LIMIT_MS = 4 * ELECTION_MS;

export class Availability {
  readonly #world: World;
  readonly #watch = new OutageWatch();
  readonly #asked = new Map<Machine, number>();
  #committed = 0;
  #pictured = '';
  #stopped = false;

  constructor(world: World) {
    this.#world = world;
  }

  /** Null when nothing is judged. */
  get longestMs(): number | null {
    const { longest } = this.#watch;
    return longest && longest.toMs - longest.fromMs;
  }

  start(): void {
    if (this.#world.plan.isCalm) this.#look();
  }

  stop(): void {
    this.#stopped = true;
  }

  #look(): void {
    if (this.#stopped) return;
    const { clock, facts, checks } = this.#world;
    if (facts.lastCommitted > this.#committed) this.#watch.success(clock.nowMs);
    this.#committed = facts.lastCommitted;
    const reach = this.#reach();
    const picture = JSON.stringify(reach);
    if (picture !== this.#pictured) this.#watch.reach(clock.nowMs, reach);
    this.#pictured = picture;
    const lastsMs = this.#watch.look(clock.nowMs);
    if (lastsMs > LIMIT_MS) {
      checks.report(AVAILABILITY, NAME, `nothing was committed for ${lastsMs} ms: ${picture}`);
    }
    if (lastsMs > TRY_AFTER_MS) this.#try();
    clock.schedule(LOOK_EVERY_MS, WORLD, 'client', () => this.#look());
  }

  #try(): void {
    const leader = this.#world.leader();
    if (leader === null || this.#asked.get(leader) === leader.life) return;
    const { life } = leader;
    this.#asked.set(leader, life);
    void this.#world.workload.write(leader).then(() => {
      if (this.#asked.get(leader) === life) this.#asked.delete(leader);
    });
  }

  #reach(): Reach {
    const { network } = this.#world;
    const up = this.#world.members().filter((machine) => this.#isWhole(machine));
    const cut = up.flatMap(({ raftId: from }) =>
      up.flatMap(({ raftId: to }) => {
        const isBroken = network.isCut(from, to) || network.isClogged(from, to);
        return from !== to && isBroken ? [`${from}>${to}`] : [];
      }),
    );
    return { up: up.map(({ raftId }) => `${raftId}`), cut, voters: this.#voters(up) };
  }

  #isWhole(machine: Machine): boolean {
    const { isUp, starting, stopping, paused, damage, disk, diskMs, syncFails, syncFailed } =
      machine;
    const isOut = starting || stopping || paused || syncFails || syncFailed;
    const isSlow =
      diskMs > this.#world.plan.diskMs || disk.capacityBytes < Number.POSITIVE_INFINITY;
    return isUp && !isOut && damage === null && !isSlow;
  }

  /** Of the newest members, and of older ones while somebody may not know that they are replaced. */
  #voters(up: readonly Machine[]): string[][] {
    const { facts } = this.#world;
    const known = Math.min(...up.map(({ node }) => node!.status().committedIndex));
    const oldest = facts.configAt(known).index;
    return facts.configs
      .filter(({ index }) => index >= oldest)
      .map(({ voters }) => voters.map((id) => `${id}`));
  }
}
