/**
 * The operator: adds and removes members through whoever leads, and replaces machines that cannot
 * come back by new ones under new ids.
 */
import type { SeededRandom } from '../../common/base/random.ts';
import { WORLD } from './clock.ts';
import type { Machine } from './machine.ts';
import type { World } from './world.ts';

const REPLACE_EVERY_MS = 700;

export class Operator {
  readonly #world: World;
  readonly #random: SeededRandom;
  /** Changes asked for and not answered. */
  #busy = 0;
  #works = false;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.fork();
  }

  get busy(): boolean {
    return this.#busy > 0;
  }

  start(): void {
    this.#works = true;
    const round = (): void => {
      if (!this.#works) return;
      this.#replaceOne();
      this.#world.clock.schedule(REPLACE_EVERY_MS, WORLD, 'fault', round);
    };
    round();
  }

  stop(): void {
    this.#works = false;
  }

  /** Adds a new machine and starts it once it is a learner. Resolves when that is over. */
  async grow(): Promise<void> {
    const leader = this.#world.leader();
    if (leader === null) return;
    const machine = this.#world.addMachine();
    const { raftId, nodeId, address } = machine;
    const members = await this.#ask(leader, async (node, signal) => {
      await node.addMember({ raftId, nodeId, address }, signal);
      return node.members();
    });
    if (members === null) {
      // It may be a member for all we know, and will never answer.
      machine.damage = 'never-joined';
      machine.gone = true;
      return;
    }
    this.#world.count('member.added');
    await this.#world.join(machine, members);
  }

  async remove(target: Machine): Promise<boolean> {
    const leader = this.#world.leader();
    if (leader === null) return false;
    const done = await this.#ask(leader, async (node, signal) => {
      await node.removeMember(target.raftId, signal);
      return true;
    });
    if (done) this.#world.count('member.removed');
    return done ?? false;
  }

  /** Null when it failed, or the process that was asked died. */
  #ask<T>(
    machine: Machine,
    what: (node: NonNullable<Machine['node']>, signal?: AbortSignal) => Promise<T>,
  ): Promise<T | null> {
    const { life } = machine;
    this.#busy++;
    return new Promise((resolve) => {
      let isOver = false;
      const end = (result: T | null): void => {
        if (isOver) return;
        isOver = true;
        this.#busy--;
        resolve(result);
      };
      this.#world.onDeath(machine, () => end(null));
      machine.whenAwake(() => {
        if (machine.life !== life || machine.node === null) return;
        what(machine.node, this.#impatience()).then(end, () => end(null));
      });
    });
  }

  /** At times the operator does not wait for the end: the next change meets one that is unapplied. */
  #impatience(): AbortSignal | undefined {
    if (!this.#works || this.#random.below(4) > 0) return undefined;
    const abort = new AbortController();
    const afterMs = this.#random.unit() ** 2 * 500;
    this.#world.clock.schedule(afterMs, WORLD, 'fault', () => abort.abort(new Error('called off')));
    return abort.signal;
  }

  #replaceOne(): void {
    const { voters, learners } = this.#world.facts.configs.at(-1)!;
    const lost = [...voters, ...learners]
      .map((id) => this.#world.machine(id))
      .find(({ damage, gone }) => damage !== null && gone);
    if (lost === undefined || this.busy) return;
    void this.remove(lost).then((done) => {
      if (!done || lost.damage === 'never-joined' || !this.#works) return;
      this.#world.count('member.replaced');
      void this.grow();
    });
  }
}
