/**
 * Clients: each does one thing after the other to a few registers, mostly through the leader, and
 * remembers what it was told. Knows nothing of faults.
 */
import type { SeededRandom } from '../../common/base/random.ts';
import { ProposalError } from '../../manager/raftnode/proposals.ts';
import { WORLD } from './clock.ts';
import type { Machine } from './machine.ts';
import { encodeWrite, type Write } from './registers.ts';
import type { World } from './world.ts';

export interface Operation {
  readonly client: number;
  readonly kind: 'read' | 'put' | 'swap';
  readonly key: string;
  readonly machine: Machine;
  /** Null for reads. */
  readonly write: Write | null;
  /** Highest index that any client knew of when it began. */
  readonly floor: number;
  /** Places in the order of all that happens. */
  readonly began: number;
  outcome: 'open' | 'ok' | 'unknown' | 'refused';
  /** Place in the log; of a read that whose state it saw. */
  index: number;
  /** What a read saw. */
  value: number;
  /** Of a swap: it took effect. */
  done: boolean;
  ended: number;
}

/** A client that waits longer than its patience goes on; its request may still be served. */
const PATIENCE_MIN_MS = 100;
const PATIENCE_MAX_MS = 3_000;
/** Share of requests that are called off. */
const ABORT_SHARE = 0.03;

export class Workload {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #open = new Map<Operation, number>();
  readonly history: Operation[] = [];
  #nextId = 1;
  #stopped = false;

  constructor(world: World, random: SeededRandom) {
    this.#world = world;
    this.#random = random;
  }

  start(): void {
    for (let client = 1; client <= this.#world.plan.clients; client++) this.#think(client);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Requests without an answer whose server still lives. */
  get open(): readonly Operation[] {
    return [...this.#open.keys()];
  }

  /** The callers of a process that died hear nothing any more. */
  died(machine: Machine): void {
    for (const [operation, life] of this.#open) {
      if (operation.machine === machine && life !== machine.life) {
        this.#end(operation, operation.write === null ? 'refused' : 'unknown');
      }
    }
  }

  burst(machine: Machine, count: number): void {
    for (let i = 0; i < count; i++) this.#request(0, machine, 'put', () => {});
  }

  /** One write that has to succeed. */
  write(machine: Machine): Promise<Operation> {
    return new Promise((resolve) => this.#request(0, machine, 'put', resolve));
  }

  #think(client: number): void {
    const { plan, clock } = this.#world;
    const delayMs = -plan.thinkMs * Math.log(1 - this.#random.unit());
    clock.schedule(delayMs, WORLD, 'client', () => this.#act(client));
  }

  #act(client: number): void {
    if (this.#stopped) return;
    const { clock } = this.#world;
    const machine = this.#choose();
    if (machine === null) {
      this.#think(client);
      return;
    }
    let isOver = false;
    const next = (): void => {
      if (isOver) return;
      isOver = true;
      patience.cancelled = true;
      this.#think(client);
    };
    const patienceMs = PATIENCE_MIN_MS + this.#random.unit() ** 2 * PATIENCE_MAX_MS;
    const patience = clock.schedule(patienceMs, WORLD, 'client', next);
    this.#request(client, machine, this.#kind(), next);
  }

  #kind(): Operation['kind'] {
    const { readShare, swapShare } = this.#world.plan;
    if (this.#random.unit() < readShare) return 'read';
    return this.#random.unit() < swapShare ? 'swap' : 'put';
  }

  /** Whoever leads or thinks so, or anybody. */
  #choose(): Machine | null {
    const up = this.#world.running();
    if (up.length === 0) return null;
    const leaders = up.filter(({ node }) => node!.status().role === 'leader');
    const from = leaders.length > 0 && this.#random.unit() < 0.8 ? leaders : up;
    return from[this.#random.below(from.length)]!;
  }

  #request(
    client: number,
    machine: Machine,
    kind: Operation['kind'],
    then: (operation: Operation) => void,
  ): void {
    const { facts, trace } = this.#world;
    const operation: Operation = {
      ...{ client, kind, machine, key: this.#key(), floor: facts.acknowledged },
      write: null,
      began: trace.count,
      ...{ outcome: 'open', index: 0, value: 0, done: false, ended: 0 },
    };
    const complete: Operation =
      kind === 'read' ? operation : { ...operation, write: this.#write(operation) };
    const { life } = machine;
    this.history.push(complete);
    this.#open.set(complete, life);
    machine.whenAwake(() => {
      if (!machine.isUp || machine.life !== life) {
        this.#end(complete, 'refused');
        then(complete);
        return;
      }
      if (complete.write !== null) machine.openWrites++;
      const signal = this.#signal();
      void this.#perform(complete, signal).then(() => {
        if (machine.life !== life) return; // the caller died with the process
        if (complete.write !== null) machine.openWrites--;
        then(complete);
      });
    });
  }

  async #perform(operation: Operation, signal: AbortSignal | undefined): Promise<void> {
    const { machine, write, key } = operation;
    const { life } = machine;
    const node = machine.node!;
    try {
      if (write === null) {
        await node.readBarrier(signal);
        if (machine.life !== life) return;
        operation.value = machine.state!.registers.values.get(key) ?? 0;
        operation.index = Math.max(machine.state!.index, node.appliedIndex);
      } else {
        const filler = this.#random.below(this.#world.plan.payloadBytesMax + 1);
        const index = await node.propose(encodeWrite(write, filler), signal);
        if (machine.life !== life) return;
        operation.index = index;
        operation.done = this.#world.tookEffect(index);
      }
      this.#end(operation, 'ok');
    } catch (err) {
      if (machine.life !== life) return;
      const isExpected = err instanceof ProposalError || (signal?.aborted && err === signal.reason);
      if (!isExpected) this.#world.checks.report(0, 'no surprises', `${operation.kind}: ${err}`);
      const isOver = write === null || (err instanceof ProposalError && !err.mayCommit);
      this.#end(operation, isOver ? 'refused' : 'unknown');
    }
  }

  #end(operation: Operation, outcome: Operation['outcome']): void {
    if (!this.#open.delete(operation)) return;
    operation.outcome = outcome;
    operation.ended = this.#world.trace.count;
    this.#world.operationEnded(operation);
  }

  #write({ key, kind }: Operation): Write {
    const id = this.#nextId++;
    const known = this.#world.facts.valueAt(key, Number.MAX_SAFE_INTEGER);
    const isGuess = this.#random.below(4) === 0;
    const expected = kind === 'put' ? null : isGuess ? this.#random.below(id) : known;
    return { id, key, value: id, expected };
  }

  #key(): string {
    return `k${this.#random.below(this.#world.plan.keys)}`;
  }

  #signal(): AbortSignal | undefined {
    if (this.#random.unit() >= ABORT_SHARE) return undefined;
    const abort = new AbortController();
    const afterMs = this.#random.unit() * 500;
    this.#world.clock.schedule(afterMs, WORLD, 'client', () =>
      abort.abort(new Error('called off')),
    );
    return abort.signal;
  }
}
