/**
 * The course of one run: a cluster is founded, faults strike while clients work, then all faults end
 * and everything must come right; at times all members but one are lost in the end.
 */
import { Availability } from './availability.ts';
import type { InvariantViolation } from './checker.ts';
import { WORLD } from './clock.ts';
import { FaultHand } from './faults.ts';
import { ELECTION_MS, type Machine } from './machine.ts';
import { Operator } from './members.ts';
import { type Plan, planOf } from './plan.ts';
import { World } from './world.ts';

/** Founding has to succeed over links that lose a fifth. */
const FOUNDING_MS = 120 * ELECTION_MS;
const LIVENESS = 13;
const ANSWER = 'everybody gets an answer';
/** Invariant 13 of docs/design/simulation.md: a leader within 20 election timeouts. */
const HEALING_MS = 20 * ELECTION_MS;

export interface RunReport {
  readonly seed: number;
  readonly violation: InvariantViolation | null;
  readonly traceHash: string;
  readonly traceLines: number;
  readonly virtualMs: number;
  /** While a majority was up and whole; null when nothing had to be done in time. */
  readonly longestOutageMs: number | null;
  readonly counts: readonly (readonly [string, number])[];
  /** Last lines of the trace; empty unless something is wrong. */
  readonly lastLines: readonly string[];
}

export class Life {
  readonly world: World;
  readonly #plan: Plan;
  readonly #operator: Operator;
  readonly #hand: FaultHand;
  readonly #availability: Availability;

  constructor(plan: Plan, traceLines: number) {
    this.#plan = plan;
    this.world = new World(plan, traceLines);
    this.#operator = new Operator(this.world);
    this.#hand = new FaultHand(this.world, this.#operator, this.world.fork());
    this.#availability = new Availability(this.world);
  }

  /** See `RunReport`. */
  get longestOutageMs(): number | null {
    return this.#availability.longestMs;
  }

  async run(): Promise<void> {
    const steps = [
      () => this.#found(),
      () => this.#suffer(),
      () => this.#heal(),
      () => (this.#plan.endsForced ? this.#force() : Promise.resolve()),
    ];
    for (const step of steps) {
      if (this.world.checks.violation !== null) return;
      await step();
    }
  }

  async #found(): Promise<void> {
    const { world } = this;
    const first = world.addMachine();
    await this.#during(first.bootstrap());
    await this.#mustBe('the founder leads', FOUNDING_MS, () => world.leader() !== null);
    await this.#growTo(this.#plan.voters);
  }

  async #growTo(voters: number): Promise<void> {
    const { world } = this;
    const count = (): number => world.facts.configs.at(-1)!.voters.length;
    const isDone = (): boolean => count() >= voters;
    const round = (): void => {
      if (isDone()) return;
      const { learners } = world.facts.configs.at(-1)!;
      if (!this.#operator.busy && learners.length === 0) void this.#operator.grow();
      world.clock.schedule(ELECTION_MS, WORLD, 'fault', round);
    };
    round();
    await this.#mustBe(`${voters} voters`, FOUNDING_MS, isDone);
  }

  async #suffer(): Promise<void> {
    this.world.note('faults begin');
    this.world.workload.start();
    this.#operator.start();
    this.#hand.start();
    this.#availability.start();
    await this.world.run(this.#plan.faultyMs);
    this.#availability.stop();
    this.#hand.stop();
    this.#operator.stop();
    this.world.workload.stop();
  }

  async #heal(): Promise<void> {
    const { world } = this;
    world.note('faults end');
    world.network.heal();
    world.network.isHealed = true;
    for (const machine of world.machines.values()) {
      machine.rate = 1;
      machine.diskMs = Math.min(machine.diskMs, 2);
      machine.disk.capacityBytes = Number.POSITIVE_INFINITY;
      machine.syncFails = false;
      world.resume(machine);
      void world.restart(machine);
    }
    if (!this.#hasMajority()) {
      world.count('ends without a majority');
      return;
    }
    await this.#settle();
  }

  /** A leader, an accepted write, one state everywhere, no caller waits. */
  async #settle(): Promise<void> {
    const { world } = this;
    await this.#mustBe('a leader', HEALING_MS, () => world.leader() !== null);
    await this.#mustWrite();
    await this.#mustBe('one state everywhere and an answer to all', HEALING_MS, () =>
      this.#isSettled(),
    );
    if (world.checks.violation === null) world.checks.tell('ended', this.#whole());
  }

  async #mustWrite(): Promise<void> {
    const { world } = this;
    let done = false;
    const attempt = (): void => {
      const leader = world.leader();
      if (done || world.checks.violation !== null) return;
      if (leader === null) {
        world.clock.schedule(100, WORLD, 'client', attempt);
        return;
      }
      void world.workload.write(leader).then(({ outcome }) => {
        if (outcome === 'ok') done = true;
        else world.clock.schedule(100, WORLD, 'client', attempt);
      });
    };
    attempt();
    await this.#mustBe('an accepted write', HEALING_MS, () => done);
  }

  #whole(): Machine[] {
    return this.world.members().filter(({ isUp, node }) => isUp && !node!.removed);
  }

  #isSettled(): boolean {
    if (this.world.workload.open.length > 0) return false;
    const members = this.world.members();
    const first = members[0]?.node;
    if (!first) return false;
    const { committedIndex } = first.status();
    // They may agree on less: a leader that leaves with its last commit told only its client so far.
    if (committedIndex < this.world.facts.acknowledged) return false;
    return members.every(({ node }) => {
      return (
        node?.appliedIndex === committedIndex && node.status().committedIndex === committedIndex
      );
    });
  }

  #hasMajority(): boolean {
    const { voters } = this.world.facts.configs.at(-1)!;
    return voters.filter((id) => !this.world.machine(id).gone).length > voters.length / 2;
  }

  async #force(): Promise<void> {
    const { world } = this;
    const candidates = this.#whole().filter(({ starting, state }) => !starting && state!.index > 0);
    const survivor = candidates[world.plan.seed % Math.max(1, candidates.length)];
    if (survivor === undefined) return;
    world.note(`only ${survivor.raftId} is left`);
    for (const machine of world.machines.values()) {
      if (machine === survivor) continue;
      if (machine.isUp || machine.starting) world.end(machine, 'crash', 'lost for good');
      machine.gone = true;
    }
    world.end(survivor, 'crash', 'fault');
    const { truth } = survivor;
    world.facts.forgetSeen(Math.max(truth.hardState.commit, truth.mark.index));
    world.onStarted = (machine) => this.#acceptForced(machine);
    await this.#during(world.restart(survivor, { forceNewCluster: true }));
    world.onStarted = null;
    if (world.checks.violation !== null) return;
    await this.#settle();
    await this.#growTo(3);
    await this.#settle();
  }

  /** What the survivor did not know to be committed was given up; its new entries count. */
  #acceptForced({ node, truth }: Machine): void {
    const { facts } = this.world;
    const { commit } = node!.core.basicStatus();
    let index = truth.firstWritten - 1;
    facts.forget(index);
    for (index++; index <= commit; index++) {
      const term = node!.core.logTerm(index);
      if (typeof term === 'number') facts.commit(index, term, term);
    }
  }

  async #during(work: Promise<void>): Promise<void> {
    let settled = false;
    const settle = (): void => {
      settled = true;
    };
    work.then(settle, (err) => {
      settle();
      this.world.checks.report(0, 'no surprises', String(err));
    });
    await this.#mustBe('a start', FOUNDING_MS, () => settled);
  }

  async #mustBe(what: string, limitMs: number, test: () => boolean): Promise<void> {
    const { world } = this;
    if (world.checks.violation !== null) return;
    if (await world.run(limitMs, test)) return;
    world.checks.report(LIVENESS, ANSWER, `no ${what} within ${limitMs} ms: ${this.#describe()}`);
  }

  #describe(): string {
    return [...this.world.machines.values()]
      .filter(({ gone }) => !gone)
      .map(({ raftId, node, paused }) => {
        const status = node === null ? 'down' : JSON.stringify(node.status());
        return `${raftId}${paused ? ' stopped' : ''} ${status}`;
      })
      .join('; ');
  }
}

/** Lives through one seed. Never rejects: what goes wrong is in the report. */
export async function runSeed(seed: number, traceLines = 60): Promise<RunReport> {
  const life = new Life(planOf(seed), traceLines);
  const { world } = life;
  const { checks, trace, clock, statistics } = world;
  const onRejection = (reason: unknown): void => checks.report(0, 'no surprises', stackOf(reason));
  process.on('unhandledRejection', onRejection);
  try {
    await life.run();
  } catch (err) {
    checks.report(0, 'no surprises', stackOf(err));
  } finally {
    process.off('unhandledRejection', onRejection);
  }
  return {
    seed,
    violation: checks.violation,
    traceHash: trace.hash,
    traceLines: trace.count,
    virtualMs: clock.nowMs,
    longestOutageMs: life.longestOutageMs,
    counts: [...statistics.counts],
    lastLines: checks.violation === null ? [] : trace.last,
  };
}

function stackOf(err: unknown): string {
  return err instanceof Error ? (err.stack ?? err.message) : String(err);
}
