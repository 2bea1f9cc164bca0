/** What can go wrong in a cluster, one function for each kind, and the hand that throws them. */
import { type SeededRandom, shuffled } from '../../../common/base/random.ts';
import { WORLD } from '../clock.ts';
import type { Host } from './host.ts';
import type { ClusterFault } from './plan.ts';
import type { ClusterWorld } from './world.ts';

type Fault = (hand: ClusterFaultHand, host: Host) => void;

const FAULTS: Readonly<Record<ClusterFault, Fault>> = {
  isolate: (hand, { id }) => hand.partition((a, b) => a === id || b === id),
  halves: (hand) => {
    const side = hand.side();
    hand.partition((a, b) => side.has(a) !== side.has(b));
  },
  /** What one says gets nowhere, and it hears all others; or the other way round. */
  'one-way': (hand, { id }) => {
    const isMute = hand.random.below(2) === 0;
    const peers = hand.side();
    hand.partition((a, b) => (isMute ? a === id && peers.has(b) : b === id && peers.has(a)));
  },
  heal: (hand) => hand.world.wires.heal(),
  reset: (hand) => {
    const { connections } = hand.world.wires;
    for (const connection of connections) if (hand.random.below(3) === 0) connection.reset();
  },
  pause: (hand, host) => {
    const { life } = host;
    hand.world.pause(host);
    hand.later(hand.spell(), () => {
      if (host.life === life) hand.world.resume(host);
    });
  },
  kill: (hand, host) => hand.fell(host, 'kill'),
  crash: (hand, host) => hand.fell(host, 'crash'),
  stop: (hand, host) => {
    const { life } = host;
    if (!host.isUp || host.paused) return;
    const end = (): void => {
      if (host.life === life) hand.fell(host, 'kill');
    };
    host.whenAwake(() => {
      if (host.life === life) void host.stop().then(end, end);
    });
  },
  blackout: (hand) => {
    for (const host of hand.world.hosts.values()) hand.fell(host, 'crash');
  },
  transfer: (hand) => {
    const leader = hand.world.leader();
    if (leader === null) return;
    const end = hand.random.below(2) === 0 ? 'kill' : null;
    if (end === null) hand.world.pause(leader);
    else hand.fell(leader, end);
    const { life } = leader;
    hand.later(hand.spell(), () => {
      if (leader.life === life) hand.world.resume(leader);
    });
  },
  'container-ends': (hand, host) => {
    hand.endOne(host, hand.random.below(3));
  },
  /** What the agent wrote of it is not on the disk yet when the power goes. */
  'end-forgotten': (hand, host) => {
    const { life } = host;
    if (!hand.endOne(host, 0)) return;
    hand.later(200 + 800 * hand.random.unit(), () => {
      if (host.life === life) hand.fell(host, 'crash');
    });
  },
  'stale-report': (hand) => hand.world.replayReport(hand.random),
  /** Its agent is heard, and what it says of its tasks is old. */
  'late-reports': (hand, host) => {
    const reporter = host.daemon?.reporter;
    if (!reporter) return;
    reporter.hold();
    hand.later(hand.spell(), () => reporter.release());
  },
  /** As by a fault of who made the step. */
  'lost-entry': (_hand, host) => {
    host.losesEntry = true;
  },
};

export class ClusterFaultHand {
  readonly world: ClusterWorld;
  readonly random: SeededRandom;
  readonly #total: number;
  #stopped = false;
  #partitions = 0;

  constructor(world: ClusterWorld) {
    this.world = world;
    this.random = world.fork();
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
    for (const host of this.world.hosts.values()) {
      host.daemon?.reporter?.release();
      // The last of the faults: no session that breaks heals it.
      host.losesEntry = this.world.plan.weights.has('lost-entry');
    }
  }

  later(delayMs: number, act: () => void): void {
    this.world.clock.schedule(delayMs, WORLD, 'fault', () => {
      if (!this.#stopped) act();
    });
  }

  /** How long a fault lasts: mostly shorter than a node's grace, at times longer than any. */
  spell(): number {
    const longestMs = 6_000 + 9 * this.world.plan.heartbeatMs;
    return this.random.unit() ** 3 * longestMs;
  }

  /** A random part of all machines. */
  side(): Set<number> {
    const ids = shuffled([...this.world.hosts.keys()], this.random);
    return new Set(ids.slice(0, 1 + this.random.below(Math.max(1, ids.length - 1))));
  }

  /** Cuts all ways for which `isCut`, in place of what was cut before. */
  partition(isCut: (from: number, to: number) => boolean): void {
    const { wires, hosts } = this.world;
    if (this.random.below(3) > 0) wires.heal();
    for (const from of hosts.keys()) {
      for (const to of hosts.keys()) if (from !== to && isCut(from, to)) wires.cut(from, to);
    }
    const partition = ++this.#partitions;
    this.later(200 + this.spell(), () => {
      if (partition === this.#partitions) wires.heal();
    });
  }

  /** A container of the machine, if one runs. */
  endOne({ containers }: Host, exitCode: number): boolean {
    const running = [...containers.all.values()].filter(({ state }) => state === 'running');
    const one = running[this.random.below(Math.max(1, running.length))];
    if (one !== undefined) containers.exit(one, exitCode);
    return one !== undefined;
  }

  fell(host: Host, how: 'crash' | 'kill'): void {
    if (host.daemon === null) return;
    this.world.end(host, how, 'fault');
    if (this.#stopped) {
      // It was stopping when the faults ended: what was down then has been started already.
      void this.world.start(host);
      return;
    }
    const quick = this.random.below(3) === 0;
    this.later(quick ? 20 : this.spell(), () => void this.world.start(host));
  }

  #strike(): void {
    const hosts = [...this.world.hosts.values()].filter(({ gone }) => !gone);
    let left = this.random.unit() * this.#total;
    for (const [kind, weight] of this.world.plan.weights) {
      left -= weight;
      if (left >= 0) continue;
      const host = hosts[this.random.below(hosts.length)]!;
      this.world.count(`fault.${kind}`);
      this.world.note(WORLD, `fault ${kind} on ${host.id}`);
      FAULTS[kind](this, host);
      return;
    }
  }
}
