/**
 * What can go wrong, one function for each kind, and the hand that throws them: how often and which
 * is the plan's affair. No fault takes more machines for good than the cluster can spare.
 */
import type { SeededRandom } from '../../common/base/random.ts';
import { shuffled } from '../../common/base/random.ts';
import { WORLD } from './clock.ts';
import { ELECTION_MS, type Machine } from './machine.ts';
import type { Operator } from './members.ts';
import type { FaultKind } from './plan.ts';
import { rotLog, rotSnapshot } from './rot.ts';
import type { World } from './world.ts';

type Fault = (hand: FaultHand, machine: Machine) => void;

const FAULTS: Readonly<Record<FaultKind, Fault>> = {
  isolate: (hand, { raftId }) => hand.partition((a, b) => a === raftId || b === raftId),
  /** The leader is cut off and goes on taking proposals: its log comes to differ from the others'. */
  strand: (hand) => {
    const leader = hand.world.leader();
    if (leader === null) return;
    const side = hand.random.below(2) === 0 ? hand.side() : new Set<number>();
    side.add(leader.raftId);
    hand.partition((a, b) => side.has(a) !== side.has(b));
    hand.world.workload.burst(leader, 1 + hand.random.below(20));
  },
  halves: (hand) => {
    const side = hand.side();
    hand.partition((a, b) => side.has(a) !== side.has(b));
  },
  /** Two halves that only one machine can reach both of. */
  bridge: (hand, { raftId }) => {
    const side = hand.side();
    hand.partition((a, b) => a !== raftId && b !== raftId && side.has(a) !== side.has(b));
  },
  'one-way': (hand, { raftId }) => {
    const isSender = hand.random.below(2) === 0;
    const peers = hand.side();
    hand.partition((a, b) =>
      isSender ? a === raftId && peers.has(b) : b === raftId && peers.has(a),
    );
  },
  clog: (hand, { raftId }) => {
    for (const peer of hand.side()) hand.world.network.clog(raftId, peer, hand.spell());
  },
  heal: (hand) => hand.world.network.heal(),
  pause: (hand, machine) => {
    if (machine.paused) return;
    const { life } = machine;
    hand.world.pause(machine);
    hand.later(hand.random.unit() ** 2 * 10 * ELECTION_MS, () => {
      if (machine.life === life) hand.world.resume(machine);
    });
  },
  crash: (hand, machine) => hand.fell(machine, 'crash'),
  kill: (hand, machine) => hand.fell(machine, 'kill'),
  stop: (hand, machine) => {
    const { node, life } = machine;
    if (node === null || machine.starting || machine.paused) return;
    const end = (): void => {
      if (machine.life === life) hand.fell(machine, 'kill');
    };
    machine.whenAwake(() => {
      if (machine.life !== life) return;
      machine.stopping = true;
      node.stop().then(end, end);
    });
  },
  blackout: (hand) => {
    for (const machine of hand.world.running()) hand.fell(machine, 'crash');
  },
  'sync-error': (_, machine) => {
    machine.syncFails = true;
  },
  'full-disk': (hand, machine) => {
    const { disk } = machine;
    disk.capacityBytes = disk.usedBytes + hand.random.below(20_000);
    const makeSpace = (): void => {
      disk.capacityBytes = Number.POSITIVE_INFINITY;
    };
    // An operator may stop the node before he makes space.
    const isStopped = hand.random.below(2) === 0;
    hand.later(2 * hand.spell(), () => {
      if (isStopped) {
        FAULTS.stop(hand, machine);
        hand.later(hand.spell(), makeSpace);
      } else makeSpace();
    });
  },
  rot: (hand, machine) => {
    if (!hand.canSpare(machine)) return;
    hand.world.end(machine, 'kill', 'rot');
    if (rotLog(machine.disk, hand.random)) machine.damage = 'rot';
    hand.restartLater(machine);
  },
  'snapshot-rot': (hand, machine) => {
    if (!hand.canSpare(machine)) return;
    hand.world.end(machine, 'kill', 'rot of a snapshot');
    if (rotSnapshot(machine.disk, hand.random)) machine.damage = 'snapshot-rot';
    hand.restartLater(machine);
  },
  'lost-disk': (hand, machine) => {
    if (!hand.canSpare(machine)) return;
    hand.world.end(machine, 'crash', 'disk lost');
    machine.damage = 'lost-disk';
    machine.gone = true;
  },
  grow: (hand) => {
    const { plan, facts } = hand.world;
    const { voters, learners } = facts.configs.at(-1)!;
    if (hand.operator.busy || voters.length + learners.length >= plan.membersMax) return;
    void hand.operator.grow();
  },
  shrink: (hand, machine) => {
    if (!hand.operator.busy && hand.isWhole()) void hand.operator.remove(machine);
  },
  transfer: (hand) => {
    const leader = hand.world.leader();
    leader?.whenAwake(() => void leader.node?.transferLeadership().catch(() => {}));
  },
  burst: (hand) => {
    const leader = hand.world.leader();
    if (leader !== null) hand.world.workload.burst(leader, 5 + hand.random.below(120));
  },
  'slow-disk': (hand, machine) => {
    machine.diskMs = 20 + hand.random.below(300);
    hand.later(2 * hand.spell(), () => {
      machine.diskMs = hand.world.plan.diskMs;
    });
  },
  'rotate-key': (_, machine) => {
    machine.whenAwake(() => void machine.node?.rotateKey().catch(() => {}));
  },
};

export class FaultHand {
  readonly world: World;
  readonly operator: Operator;
  readonly random: SeededRandom;
  readonly #total: number;
  #stopped = false;
  #partitions = 0;

  constructor(world: World, operator: Operator, random: SeededRandom) {
    this.world = world;
    this.operator = operator;
    this.random = random;
    this.#total = [...world.plan.weights.values()].reduce((sum, weight) => sum + weight, 0);
  }

  start(): void {
    const waitMs = -this.world.plan.meanPauseMs * Math.log(1 - this.random.unit());
    this.world.clock.schedule(waitMs, WORLD, 'fault', () => {
      if (this.#stopped) return;
      this.#strike();
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  later(delayMs: number, act: () => void): void {
    this.world.clock.schedule(delayMs, WORLD, 'fault', act);
  }

  /** How long a fault lasts: mostly about an election, at times many. */
  spell(): number {
    return this.random.unit() ** 2 * 6 * ELECTION_MS;
  }

  /** A random part of all machines. */
  side(): Set<number> {
    const ids = shuffled(
      this.world.members().map(({ raftId }) => raftId),
      this.random,
    );
    return new Set(ids.slice(0, 1 + this.random.below(Math.max(1, ids.length - 1))));
  }

  /** Cuts all ways for which `isCut`, in place of what was cut before. */
  partition(isCut: (from: number, to: number) => boolean): void {
    const { network, machines } = this.world;
    if (this.random.below(3) > 0) network.heal();
    for (const from of machines.keys()) {
      for (const to of machines.keys()) if (from !== to && isCut(from, to)) network.cut(from, to);
    }
    const partition = ++this.#partitions;
    this.later(200 + this.spell(), () => {
      if (partition === this.#partitions) network.heal();
    });
  }

  fell(machine: Machine, how: 'crash' | 'kill'): void {
    if (!machine.isUp && !machine.starting) return;
    this.world.end(machine, how, 'fault');
    this.restartLater(machine);
  }

  restartLater(machine: Machine): void {
    const quick = this.random.below(3) === 0;
    const delayMs = quick ? 20 : this.random.unit() ** 2 * 5 * ELECTION_MS;
    this.later(delayMs, () => void this.world.restart(machine));
  }

  /** Whether the cluster survives the loss of this one for good. */
  canSpare(machine: Machine): boolean {
    const { voters } = this.world.facts.configs.at(-1)!;
    if (voters.length < 3 || !machine.isUp || machine.starting) return false;
    return this.isWhole() && this.world.members().includes(machine) && !this.#isChanging();
  }

  /**
   * All members can come back if they are down, and will then know who the members are: a change is
   * in force on a node from when the node knows that it is committed.
   */
  isWhole(): boolean {
    const { voters, learners, index } = this.world.facts.configs.at(-1)!;
    return [...voters, ...learners].every((id) => {
      const { damage, gone, born, truth } = this.world.machine(id);
      const isInformed = Math.max(truth.hardState.commit, truth.mark.index) >= index;
      return damage === null && !gone && born && isInformed;
    });
  }

  /** A change of members is asked for, or in some log and may yet be committed. */
  #isChanging(): boolean {
    const { facts, machines } = this.world;
    if (this.operator.busy) return true;
    for (const { truth } of machines.values()) {
      for (let index = truth.lastIndex; index > facts.lastCommitted; index--) {
        const term = truth.term(index);
        const seen = term === undefined ? undefined : facts.seen(index, term);
        if (seen !== undefined && seen.type !== 'normal') return true;
      }
    }
    return false;
  }

  #strike(): void {
    const machines = this.world.members();
    let left = this.random.unit() * this.#total;
    for (const [kind, weight] of this.world.plan.weights) {
      left -= weight;
      if (left >= 0) continue;
      const machine = machines[this.random.below(Math.max(1, machines.length))];
      if (machine === undefined) return;
      this.world.count(`fault.${kind}`);
      this.world.note(`fault ${kind} on ${machine.raftId}`);
      FAULTS[kind](this, machine);
      return;
    }
  }
}
