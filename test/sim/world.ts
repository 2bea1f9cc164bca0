/**
 * A cluster under one seed: machines, links, clients, and what watches them. Knows how events go and
 * what they tell; what happens when is decided in `life.ts`.
 */
import { hasCode } from '../../common/base/errors.ts';
import { SeededRandom } from '../../common/base/random.ts';
import type { RaftEvent } from '../../manager/raft/events.ts';
import type { Status } from '../../manager/raft/status.ts';
import type { Message } from '../../manager/raft/types.ts';
import type { RaftMember } from '../../manager/raftnode/membership.ts';
import type { DiskOperation } from '../support/sim-disk.ts';
import { Checks } from './checker.ts';
import { type EventKind, SimClock, type SimEvent, WORLD } from './clock.ts';
import { Facts } from './facts.ts';
import { allInvariants } from './invariants/all.ts';
import { Machine, type MachineObserver } from './machine.ts';
import { SimNetwork } from './network.ts';
import type { Plan } from './plan.ts';
import { Statistics } from './statistics.ts';
import { Trace } from './trace.ts';
import { type Operation, Workload } from './workload.ts';

/** Operations on a disk that change which files there are. */
const TRACED: ReadonlySet<DiskOperation> = new Set(['create', 'rename', 'unlink']);

export class World {
  readonly plan: Plan;
  readonly clock = new SimClock();
  readonly trace: Trace;
  readonly statistics = new Statistics();
  readonly network: SimNetwork;
  readonly machines = new Map<number, Machine>();
  readonly facts = new Facts(this.machines);
  readonly checks: Checks;
  readonly workload: Workload;
  readonly #random: SeededRandom;
  readonly #deaths = new Map<number, (() => void)[]>();
  readonly #effects = new Map<number, boolean>();
  #last: SimEvent | null = null;
  /** Told of a node that knows what is on its disk, and does nothing yet. */
  onStarted: ((machine: Machine) => void) | null = null;

  /** @param traceLines to be kept */
  constructor(plan: Plan, traceLines: number) {
    this.plan = plan;
    this.trace = new Trace(traceLines);
    this.#random = new SeededRandom(plan.seed);
    this.checks = new Checks(allInvariants(this.facts, plan));
    this.network = new SimNetwork(this.clock, this.#random.fork(), plan.link, {
      sending: (from, message) => this.#sending(from, message),
      delivering: (to, message) => this.#delivering(to, message),
      lost: (from, to, count) => {
        this.statistics.add('network.lost');
        this.#note(from, `lost ${count} to ${to}`);
      },
      duplicated: () => this.statistics.add('network.duplicated'),
      overtaken: () => this.statistics.add('network.overtaken'),
    });
    this.workload = new Workload(this, this.#random.fork());
  }

  /** Randomness of a concern of its own. */
  fork(): SeededRandom {
    return this.#random.fork();
  }

  addMachine(): Machine {
    const raftId = this.machines.size + 1;
    const { plan, clock, network } = this;
    const random = this.#random.fork();
    const [slowest, fastest] = plan.clockRates;
    const rate = slowest * (fastest / slowest) ** random.unit();
    const observe = (made: Machine): MachineObserver => this.#observe(made);
    const machine = new Machine({ raftId, plan, clock, network, random, rate, observe });
    machine.disk.onOperation = (operation, path) => {
      this.statistics.add(`disk.${operation}`);
      if (TRACED.has(operation)) this.#note(raftId, `${operation} ${path}`);
    };
    this.machines.set(raftId, machine);
    return machine;
  }

  machine(raftId: number): Machine {
    return this.machines.get(raftId)!;
  }

  /** Processes that take part, or could. */
  running(): Machine[] {
    return [...this.machines.values()].filter(({ isUp, starting }) => isUp && !starting);
  }

  /** Whoever leads in the highest term, as far as it knows. */
  leader(): Machine | null {
    let best: Machine | null = null;
    let bestTerm = 0;
    for (const machine of this.running()) {
      const { role, term } = machine.node!.status();
      if (role !== 'leader' || term <= bestTerm) continue;
      best = machine;
      bestTerm = term;
    }
    return best;
  }

  /** Members by the log, that can still come back. */
  members(): Machine[] {
    const { voters, learners } = this.facts.configs.at(-1)!;
    return [...voters, ...learners].map((id) => this.machine(id)).filter(({ gone }) => !gone);
  }

  /** The process ends; who waits for it hears so. */
  end(machine: Machine, how: 'crash' | 'kill', why: string): void {
    // What a quick disk let it do in this event, and left on the disk, was done.
    this.#look(machine, 'fault');
    this.note(`${machine.raftId} ends: ${why} (${how})`);
    machine.end(how);
    this.workload.died(machine);
    for (const tell of this.#deaths.get(machine.raftId) ?? []) tell();
    this.#deaths.delete(machine.raftId);
  }

  onDeath(machine: Machine, tell: () => void): void {
    const all = this.#deaths.get(machine.raftId) ?? [];
    all.push(tell);
    this.#deaths.set(machine.raftId, all);
  }

  /** Starts what is down; a refusal is judged, and final. */
  async restart(machine: Machine, extra = { forceNewCluster: false }): Promise<void> {
    if (machine.isUp || machine.starting || machine.gone) return;
    const wasBorn = machine.born;
    if (!wasBorn) machine.damage ??= 'never-joined';
    if (this.plan.moving === machine.raftId)
      machine.address = `10.0.0.${machine.raftId}:${2377 + machine.life}`;
    await this.#begin(machine, () => machine.restart(extra));
  }

  /** Starts a new machine that the members know. */
  join(machine: Machine, members: readonly RaftMember[]): Promise<void> {
    return this.#begin(machine, () => machine.join(members));
  }

  async #begin(machine: Machine, start: () => Promise<void>): Promise<void> {
    this.note(`${machine.raftId} starts`);
    const starting = start();
    const { life } = machine;
    try {
      await starting;
      if (machine.life === life) machine.damage = null;
    } catch (err) {
      if (machine.life === life) this.#refused(machine, err);
    }
  }

  #refused(machine: Machine, err: unknown): void {
    // A start that fails for the moment: on a disk that fails or is full. The next one decides.
    if (machine.syncFailed || hasCode(err, 'resource-exhausted')) {
      this.end(machine, 'kill', machine.syncFailed ? 'failed sync at start' : 'full disk at start');
      this.clock.schedule(500, WORLD, 'fault', () => void this.restart(machine));
      return;
    }
    this.note(`${machine.raftId} refuses to start: ${String(err)}`);
    this.count('start.refused');
    this.checks.tell('refused', machine, err);
    machine.end('kill');
    machine.gone = true;
  }

  pause(machine: Machine): void {
    machine.paused = true;
    this.note(`${machine.raftId} is stopped`);
  }

  resume(machine: Machine): void {
    if (!machine.paused) return;
    machine.paused = false;
    this.note(`${machine.raftId} goes on`);
    for (const { kind, run } of machine.backlog.splice(0)) {
      this.clock.schedule(0, machine.raftId, kind, run);
    }
  }

  /** Runs until `isOver`, for `limitMs` at most. True when it was over. */
  async run(limitMs: number, isOver: () => boolean = () => false): Promise<boolean> {
    let over = false;
    const untilMs = this.clock.nowMs + limitMs;
    const ask = (): boolean => {
      this.#afterEvent();
      if (this.checks.violation !== null) return true;
      over = isOver();
      return over;
    };
    await this.clock.run(untilMs, (event) => this.#dispatch(event), ask);
    this.#afterEvent();
    return over;
  }

  count(name: string): void {
    this.statistics.add(name);
  }

  note(line: string): void {
    this.#note(WORLD, line);
  }

  operationEnded(operation: Operation): void {
    const { kind, outcome, client, machine, key, index, value, write } = operation;
    this.statistics.add(`operation.${kind}.${outcome}`);
    const what = write === null ? `${key} = ${value}` : `${write.id} ${key}`;
    this.#note(machine.raftId, `client ${client} ${kind} ${what} ${outcome} at ${index}`);
    this.checks.tell('operation', operation);
  }

  tookEffect(index: number): boolean {
    return this.#effects.get(index) ?? false;
  }

  #dispatch(event: SimEvent): void {
    const { owner, kind, run } = event;
    const machine = this.machines.get(owner);
    if (machine?.paused) {
      machine.backlog.push({ kind, run });
      return;
    }
    this.#last = event;
    this.statistics.add(`event.${kind}`);
    this.#note(owner, kind);
    run();
  }

  #afterEvent(): void {
    const event = this.#last;
    this.#last = null;
    if (event === null) return;
    const machine = this.machines.get(event.owner);
    if (machine !== undefined) this.#look(machine, event.kind);
  }

  #look(machine: Machine, kind: EventKind): void {
    const { node } = machine;
    if (!node || node.removed) return;
    const status = node.core.basicStatus();
    const { appliedIndex } = node;
    let details: Status | null = null;
    this.checks.tell('after', {
      ...{ machine, kind, status, appliedIndex, before: machine.lastView },
      details: () => {
        details ??= node.core.status();
        return details;
      },
      detailsBefore: machine.lastDetails,
    });
    machine.lastView = { status, appliedIndex };
    machine.lastDetails = details ?? machine.lastDetails;
  }

  #sending(from: number, message: Message): void {
    const machine = this.machine(from);
    this.statistics.add(`message.${message.type}`);
    this.#note(from, describeMessage('->', message.to, message));
    this.checks.tell('sending', machine, message);
  }

  #delivering(to: number, message: Message): void {
    const machine = this.machine(to);
    this.#note(to, describeMessage('<-', message.from, message));
    this.checks.tell('delivering', machine, message);
  }

  #observe(machine: Machine): MachineObserver {
    const { raftId } = machine;
    return {
      event: (event) => this.#event(machine, event),
      entry: (entry, previousTerm) => this.checks.tell('durable', machine, entry, previousTerm),
      unsynced: (entry) => this.facts.see(entry, null, `on the disk of ${raftId}, unsynced`),
      flushed: (records) => {
        this.#note(raftId, `flushed ${records.length} records`);
        this.checks.tell('flushed', machine, records);
      },
      applied: (index, payload, write, done, chain) => {
        this.#effects.set(index, done);
        this.#note(raftId, `applied ${index}: ${write.id}`);
        this.checks.tell('applied', { machine, index, payload, write, done, chain });
      },
      restored: (index, chain) => {
        this.#note(raftId, `restored ${index}`);
        this.statistics.add('restored');
        this.checks.tell('restored', machine, index, chain);
      },
      started: () => {
        if (machine.life > 1) this.checks.tell('restarted', machine);
        this.onStarted?.(machine);
      },
      failed: (err) => this.#failed(machine, err),
      removed: () => {
        this.#note(raftId, 'removed');
        this.statistics.add('left');
        this.clock.schedule(0, WORLD, 'fault', () => {
          machine.gone = true;
          this.end(machine, 'kill', 'removed');
        });
      },
    };
  }

  #event(machine: Machine, event: RaftEvent): void {
    const term = 'term' in event ? ` in term ${event.term}` : '';
    this.statistics.add(`raft.${event.code}`);
    this.#note(machine.raftId, `${event.code}${term}`);
    this.checks.tell('event', machine, event);
  }

  #failed(machine: Machine, err: unknown): void {
    if (!machine.syncFailed) {
      const words = err instanceof Error ? (err.stack ?? err.message) : String(err);
      this.checks.report(0, 'no assertion fails, no node dies by itself', words);
      return;
    }
    this.statistics.add('died of a failed sync');
    const how = this.#random.below(2) === 0 ? 'kill' : 'crash';
    this.clock.schedule(0, WORLD, 'fault', () => {
      if (!machine.syncFailed) return;
      this.end(machine, how, 'failed sync');
      this.clock.schedule(500, WORLD, 'fault', () => void this.restart(machine));
    });
  }

  #note(owner: number, line: string): void {
    this.trace.add(`${this.clock.nowMs.toFixed(3)} ${owner} ${line}`);
  }
}

function describeMessage(direction: string, peer: number, message: Message): string {
  const { type, term, index, logTerm, entries, commit, reject } = message;
  const words = `${direction} ${peer} ${type} t${term} i${index}/${logTerm} c${commit} +${entries.length}`;
  return reject ? `${words} rejected` : words;
}
