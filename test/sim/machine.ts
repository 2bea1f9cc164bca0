/**
 * One machine: a disk that lasts, and the lives of the process on it. Knows how a raft node is
 * started, stopped and killed, not when.
 */
import { silentLogger } from '../../common/base/log.ts';
import type { SeededRandom } from '../../common/base/random.ts';
import type { RaftEvent } from '../../manager/raft/events.ts';
import type { BasicStatus, Status } from '../../manager/raft/status.ts';
import { Keyring } from '../../manager/raftnode/crypt.ts';
import type { RaftKeys } from '../../manager/raftnode/key-rotation.ts';
import type { RaftMember } from '../../manager/raftnode/membership.ts';
import type { RaftNodeOptions } from '../../manager/raftnode/node-options.ts';
import { RaftNode } from '../../manager/raftnode/raft-node.ts';
import { SimDisk } from '../support/sim-disk.ts';
import { type EventKind, ProcessClock, type SimClock } from './clock.ts';
import { DurableLog, type DurableLogObserver } from './durable-log.ts';
import { type SimNetwork, SimTransport } from './network.ts';
import type { Plan } from './plan.ts';
import { RegisterMachine, type RegisterObserver } from './registers.ts';

export const TICK_MS = 100;
export const ELECTION_MS = 10 * TICK_MS;

/** Why a machine cannot come back. */
export type Damage = 'rot' | 'snapshot-rot' | 'lost-disk' | 'never-joined';

export interface MachineObserver extends DurableLogObserver, RegisterObserver {
  event(event: RaftEvent): void;
  /** The process died of `err`. */
  failed(err: unknown): void;
  /** The node is back with what it found; it does nothing yet. */
  started(): void;
  removed(): void;
}

export interface Late {
  readonly kind: EventKind;
  readonly run: () => void;
}

export interface MachineOptions {
  readonly raftId: number;
  readonly plan: Plan;
  readonly clock: SimClock;
  readonly network: SimNetwork;
  readonly random: SeededRandom;
  readonly rate: number;
  readonly observe: (machine: Machine) => MachineObserver;
}

export class Machine {
  readonly raftId: number;
  readonly nodeId: string;
  address: string;
  readonly disk: SimDisk;
  readonly truth: DurableLog;
  /** Lives so far; the process of an earlier one does nothing any more. */
  life = 0;
  /** Null while the process is down or starting. */
  node: RaftNode | null = null;
  state: RegisterMachine | null = null;
  starting = false;
  /** Told to stop in an orderly way: it soon takes no part any more. */
  stopping = false;
  /** Anything was ever durable here, so that a restart must work. */
  born = false;
  damage: Damage | null = null;
  /** No member any more, or given up: not to be started again. */
  gone = false;
  paused = false;
  /** What came for the process while it was stopped. */
  readonly backlog: Late[] = [];
  /** Callers of this life that wait for their writes. */
  openWrites = 0;
  rate: number;
  diskMs: number;
  /** A sync of the log fails soon: the process has to die of it. */
  syncFails = false;
  syncFailed = false;
  /** In this life. */
  ticks = 0;
  /** Tick of this life at which somebody was heard last. */
  readonly heard = new Map<number, number>();
  lastView: { status: BasicStatus; appliedIndex: number } | null = null;
  lastDetails: Status | null = null;
  readonly #options: MachineOptions;
  readonly #random: SeededRandom;
  /** What is saved of them, beside the disk. */
  keys: RaftKeys;
  /** Being saved: after an end now either these or those before are kept. */
  #savingKeys: RaftKeys | null = null;
  readonly #allKeys: Uint8Array[];
  readonly #observer: MachineObserver;
  #transport: SimTransport | null = null;

  constructor(options: MachineOptions) {
    const { raftId, clock, plan, random } = options;
    this.#options = options;
    this.#random = random.fork();
    this.raftId = raftId;
    this.nodeId = `node-${raftId}`;
    this.address = `10.0.0.${raftId}:2377`;
    this.rate = options.rate;
    this.diskMs = plan.diskMs;
    this.keys = { dek: new Uint8Array(32).fill(raftId), olderDeks: [] };
    this.#allKeys = [this.keys.dek];
    this.#observer = options.observe(this);
    this.truth = new DurableLog(() => {
      const [first, ...others] = this.#allKeys;
      return new Keyring(first!, others);
    }, this.#observer);
    const latencies = random.fork();
    this.disk = new SimDisk({
      random: random.fork(),
      latency: () =>
        this.diskMs === 0 ? null : clock.sleep(latencies.unit() * this.diskMs, this.raftId, 'disk'),
    });
    this.disk.observer = this.truth;
    this.disk.failsSync = (file, path) => {
      const isLog = this.truth.isSegment(file) || path.endsWith('.wal');
      if (!this.syncFails || !isLog) return false;
      this.syncFails = false;
      this.syncFailed = true;
      return true;
    };
  }

  get isUp(): boolean {
    return this.node !== null;
  }

  bootstrap(): Promise<void> {
    return this.#start((options) => RaftNode.bootstrap(options));
  }

  join(members: readonly RaftMember[]): Promise<void> {
    return this.#start((options) => RaftNode.join(options, members));
  }

  restart(extra = { forceNewCluster: false }): Promise<void> {
    return this.#start((options) => RaftNode.restart(options, extra));
  }

  /** Runs what a client or an operator wants of the process, as an event of its own. */
  whenAwake(act: () => void): void {
    this.#options.clock.schedule(0, this.raftId, 'client', act);
  }

  /** The machine loses power, or (`kill`) the process dies and the page cache stays. */
  end(how: 'crash' | 'kill'): void {
    if (how === 'crash') {
      this.disk.crash();
      this.#transport?.vanish();
    } else {
      this.disk.kill();
      this.#transport?.kill();
    }
    this.#transport = null;
    this.life++;
    this.node = null;
    this.starting = false;
    this.stopping = false;
    this.paused = false;
    this.backlog.length = 0;
    this.openWrites = 0;
    this.syncFails = false;
    this.syncFailed = false;
    this.#keepKeys();
    this.truth.restart();
  }

  async #start(make: (options: RaftNodeOptions) => Promise<RaftNode>): Promise<void> {
    const life = ++this.life;
    this.starting = true;
    this.ticks = 0;
    this.heard.clear();
    this.lastView = null;
    this.lastDetails = null;
    this.state = new RegisterMachine(this.#observer);
    this.#transport = new SimTransport(this.#options.network);
    const node = await make(this.#nodeOptions(life, this.state, this.#transport));
    this.node = node;
    this.born = true;
    this.#observer.started();
    this.#adoptTruth(node);
    await node.start();
    this.starting = false;
  }

  async #saveKeys(keys: RaftKeys): Promise<void> {
    this.#allKeys.push(keys.dek);
    this.#savingKeys = keys;
    await this.#options.clock.sleep(this.#random.unit() * 50, this.raftId, 'disk');
    if (this.#savingKeys !== keys) return await new Promise(() => {}); // the process is gone
    if (this.#random.below(8) > 0) {
      this.#savingKeys = null;
      this.keys = keys;
      return;
    }
    this.#keepKeys();
    throw new Error('save keys: simulated failure');
  }

  #keepKeys(): void {
    if (this.#savingKeys !== null && this.#random.below(2) === 0) this.keys = this.#savingKeys;
    this.#savingKeys = null;
  }

  #adoptTruth({ core }: RaftNode): void {
    const { term, vote, commit, lastIndex } = core.basicStatus();
    const terms: number[] = [];
    let index = lastIndex;
    for (; index > 0; index--) {
      const own = core.logTerm(index);
      if (typeof own !== 'number') break;
      terms.push(own);
    }
    this.truth.adopt({
      hardState: { term, vote, commit },
      firstIndex: index + 1,
      terms: terms.reverse(),
    });
  }

  #nodeOptions(
    life: number,
    stateMachine: RegisterMachine,
    transport: SimTransport,
  ): RaftNodeOptions {
    const { raftId, nodeId, address, disk } = this;
    const { plan, clock } = this.#options;
    const isAlive = (): boolean => this.life === life;
    return {
      ...{ dir: '/raft', raftId, nodeId, address, clusterId: 'sim', ...this.keys },
      saveKeys: (keys) => this.#saveKeys(keys),
      ...{ stateMachine, transport, disk: disk.mount(), log: silentLogger, tickMs: TICK_MS },
      clock: new ProcessClock(clock, {
        ...{ owner: raftId, rate: () => this.rate, isAlive },
        ticked: () => this.ticks++,
      }),
      random: this.#random.fork(),
      flow: plan.flow,
      snapshotIntervalEntries: plan.snapshotIntervalEntries,
      keepEntries: plan.keepEntries,
      segmentBytes: plan.segmentBytes,
      smallSegmentBytes: plan.segmentBytes / 2,
      onEvent: (event) => {
        if (isAlive()) this.#observer.event(event);
      },
      onFailure: (err) => {
        if (isAlive()) this.#observer.failed(err);
      },
      onRemoved: () => {
        if (isAlive()) this.#observer.removed();
      },
    };
  }
}
